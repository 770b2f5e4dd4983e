"""The door with a real SSH client; its notebook is a small real server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import pytest

from factorygate import __version__
from tests.support.door import ARGV, ENVIRONMENT, PATIENCE, SESSION, RunningDoor, alive, ask, fetch, running_door, until

GIVEN = {"environment": ENVIRONMENT, "argv": ARGV}


async def up(door: RunningDoor) -> tuple[asyncssh.SSHClientConnection, dict[str, object]]:
    """Connect to the door, and wait until the notebook listens; return the connection and the status."""
    connection = await door.enter()
    await ask(connection, "environment", GIVEN)
    watch = await connection.create_process("watch")
    while (status := json.loads(await watch.stdout.readline()))["phase"] != "up":
        assert status["phase"] == "launching"
    return connection, status


async def until_ended(watch: asyncssh.SSHClientProcess[str]) -> list[dict[str, object]]:
    """Return all statuses that the door sends, up to the one that reports its end.

    The door's process ends then, perhaps before it has answered the client's last message.
    """
    seen: list[dict[str, object]] = []
    while not seen or seen[-1]["phase"] != "ended":
        seen.append(json.loads(await watch.stdout.readline()))
    return seen


async def get(connection: asyncssh.SSHClientConnection, status: dict[str, object], path: str) -> bytes:
    reader, writer = await connection.open_unix_connection(status["notebook_sock"])
    return (await fetch(reader, writer, path)).partition(b"\r\n\r\n")[2]


async def test_the_door_file_is_readable_for_its_account_only() -> None:
    began = time.time()
    async with running_door("--ports", "31000-31050", environment={"FACTORYGATE_JOB_END": "2000000000"}) as door:
        told = door.file("door.json")
        assert 31000 <= told.pop("port") <= 31050
        assert told.pop("host_key").startswith("ssh-ed25519 ")
        assert began - 1 < os.stat(door.folder / "door.json").st_mtime < time.time() + 1
        assert told.pop("started").endswith("Z")
        assert told == {
            "protocol": 1,
            "version": __version__,
            "session": SESSION,
            "job": "7",
            "host": "127.0.0.1",
            "ends": "2033-05-18T03:33:20.000Z",
            "restart": 0,
        }
        assert stat.S_IMODE((door.folder / "door.json").stat().st_mode) == 0o600
        status = await ask(await door.enter(), "hello")
        assert (status["phase"], status["environment"], status["job"]) == ("waiting", False, "7")
        node = Path(status["hub_sock"]).parent
        assert node == Path(status["notebook_sock"]).parent
        for folder in (door.folder, node, node / "run"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert not stat.S_IMODE(Path(status["hub_sock"]).stat().st_mode) & 0o077


async def test_starts_the_notebook_once_with_what_the_hub_sent() -> None:
    async with running_door() as door:
        link, status = await up(door)
        environment = json.loads(await get(link, status, "/env"))
        node = Path(str(status["notebook_sock"])).parent
        assert environment["JUPYTERHUB_API_TOKEN"] == "a-very-secret-token"
        assert environment["JUPYTERHUB_API_URL"].startswith("http+unix://%2F")
        assert environment["JUPYTERHUB_API_URL"].endswith("hub.sock/hub/api")
        assert environment["JUPYTERHUB_SERVICE_URL"] == "http+unix:///user/u/"
        assert environment["JUPYTER_RUNTIME_DIR"] == str(node / "run")
        assert environment["PYTHONNOUSERSITE"] == "1"
        assert "/of/the/hub" not in environment["PATH"]
        assert await ask(link, "token") == {"token": "a-very-secret-token"}
        again = await ask(link, "environment", GIVEN)
        assert again["notebook_pid"] == status["notebook_pid"]
        done = await link.run("environment", input=json.dumps({"environment": {}, "argv": ["x"]}))
        assert done.exit_status == 1
        assert "another environment" in str(done.stdout)
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                assert b"a-very-secret-token" not in process.read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
        assert "a-very-secret-token" not in door.log.read_text()
        assert not any(b"a-very-secret-token" in f.read_bytes() for f in door.folder.rglob("*") if f.is_file())


@pytest.mark.parametrize(
    "told",
    [[], {"environment": {"A B": "x"}, "argv": ["x"]}, {"environment": {}, "argv": []}, {"environment": {"A": 1}}],
)
async def test_an_environment_that_is_none_is_refused_in_words(told: object) -> None:
    async with running_door() as door:
        link = await door.enter()
        done = await link.run("environment", input=json.dumps(told))
        assert done.exit_status == 1
        assert json.loads(str(done.stdout))["error"]
        assert (await ask(link, "hello"))["phase"] == "waiting"


async def test_a_lost_link_costs_the_notebook_nothing() -> None:
    async with running_door() as door:
        first, status = await up(door)
        back, asked = str(door.folder.parent / "back.sock"), []

        async def hub(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()

        server = await asyncio.start_unix_server(hub, back)
        await first.forward_remote_path(str(status["hub_sock"]), back)
        asking = fetch(*await asyncio.open_unix_connection(str(status["hub_sock"])), "/hub/api")
        assert (await asking).endswith(b"ok")
        first.abort()
        # Requested while no link is connected: waits for the next one.
        waiting = asyncio.create_task(
            fetch(*await asyncio.open_unix_connection(str(status["hub_sock"])), "/hub/api/late")
        )
        second = await door.enter()
        third = await door.enter()  # the link that asked last gets the connections
        await second.forward_remote_path(str(status["hub_sock"]), back + ".nobody")
        await third.forward_remote_path(str(status["hub_sock"]), back)
        second.abort()
        await asyncio.wait_for(asyncio.wait([waiting]), PATIENCE)
        asking = fetch(*await asyncio.open_unix_connection(str(status["hub_sock"])), "/hub/api/new")
        assert (await asking).endswith(b"ok")
        assert asked[0].startswith(b"GET /hub/api ")
        assert (await ask(third, "hello"))["notebook_pid"] == status["notebook_pid"]
        assert json.loads(await get(third, status, "/env"))
        server.close()


async def test_gives_the_node_back_if_no_environment_comes() -> None:
    async with running_door("--environment-wait", "0.5") as door:
        assert await door.exit() == 3
        end = door.file("end.json")
        assert end["reason"] == "no-environment"
        assert end["message"]
        assert stat.S_IMODE((door.folder / "end.json").stat().st_mode) == 0o600
        assert not list(door.folder.parent.glob("factorygate-*"))


@pytest.mark.parametrize(
    ("name", "reason"), [(signal.SIGTERM, "stopped"), (signal.SIGUSR1, "walltime"), (None, "stopped")]
)
async def test_a_stopped_session_ends_cleanly_and_leaves_nothing(name: signal.Signals | None, reason: str) -> None:
    async with running_door() as door:
        link, status = await up(door)
        child = int(await get(link, status, "/child"))
        assert alive(child)
        watch = await link.create_process("watch")
        if name is None:
            assert (await ask(link, "stop"))["phase"] in ("up", "ending")
        else:
            door.process.send_signal(name)
        seen = await until_ended(watch)
        assert [s["phase"] for s in seen][-2:] == ["ending", "ended"]
        assert seen[-1]["end_reason"] == reason
        assert await door.exit() == 0
        assert door.file("end.json")["reason"] == reason
        assert not alive(child)
        assert not alive(int(str(status["notebook_pid"])))
        assert not list(door.folder.parent.glob("factorygate-*"))


@pytest.mark.parametrize(("code", "reason", "exit_code"), [(0, "finished", 0), (9, "failed", 1)])
async def test_the_door_reports_how_the_notebook_ended(code: int, reason: str, exit_code: int) -> None:
    async with running_door() as door:
        link, status = await up(door)
        watch = await link.create_process("watch")
        await get(link, status, f"/exit/{code}")
        seen = await until_ended(watch)
        assert (seen[-1]["phase"], seen[-1]["exit_code"]) == ("ended", code)
        assert await door.exit() == exit_code
        assert door.file("end.json")["reason"] == reason


async def test_the_session_ends_before_its_walltime() -> None:
    async with running_door(environment={"FACTORYGATE_JOB_END": str(int(time.time()) + 95)}) as door:
        link, _ = await up(door)
        notice = (await ask(link, "hello"))["notice"]
        assert (notice["kind"], notice["minutes"]) == ("walltime", 5)
        assert await door.exit() == 0
        assert door.file("end.json")["reason"] == "walltime"


def moment_in(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()


async def test_learns_that_its_time_was_moved() -> None:
    async with running_door(environment={"FACTORYGATE_JOB_END": str(int(time.time()) + 300)}) as door:
        link, status = await up(door)
        clock = Path(str(status["notebook_sock"])).with_name("clock.json")
        assert json.loads(clock.read_text())["notice"]["kind"] == "walltime"
        watch = await link.create_process("watch")
        later = moment_in(7200)
        assert (await ask(link, "ends", {"ends": later}))["ends"]
        while json.loads(await watch.stdout.readline())["notice"] is not None:
            pass
        told = json.loads(clock.read_text())
        assert told["notice"] is None
        assert abs((datetime.fromisoformat(told["ends"]) - datetime.fromisoformat(later)).total_seconds()) < 1
        door.process.send_signal(signal.SIGUSR1)  # the signal of a scheduler whose limit differs from our clock
        assert await door.exit() == 0
        assert door.file("end.json")["reason"] == "walltime"


async def test_a_scheduler_that_warns_in_time_leaves_the_end_to_the_clock() -> None:
    async with running_door(environment={"FACTORYGATE_JOB_END": str(int(time.time()) + 200)}) as door:
        link, _ = await up(door)
        door.process.send_signal(signal.SIGUSR1)
        assert (await ask(link, "hello"))["phase"] == "up"
        assert (await ask(link, "hello"))["end_reason"] is None
        await ask(link, "ends", {"ends": moment_in(61)})
        assert await door.exit() == 0
        assert door.file("end.json")["reason"] == "walltime"


@pytest.mark.parametrize("told", [None, {}, {"ends": 5}, {"ends": "soon"}, {"ends": "2030-01-01T00:00:00"}, ["ends"]])
async def test_a_new_end_that_is_none_is_refused(told: object) -> None:
    async with running_door() as door:
        link, _ = await up(door)
        done = await link.run("ends", input=json.dumps(told), timeout=PATIENCE)
        assert done.exit_status == 1
        assert "error" in json.loads(str(done.stdout))
        assert (await ask(link, "hello"))["ends"] is None


async def test_the_door_accepts_messages_for_its_person() -> None:
    async with running_door() as door:
        link, status = await up(door)
        clock = Path(str(status["notebook_sock"])).with_name("clock.json")
        assert json.loads(clock.read_text())["messages"] == []
        for _ in range(2):
            await ask(link, "tell", {"id": "one", "text": "Ten minutes break.", "kind": "info"})
        (told,) = json.loads(clock.read_text())["messages"]
        assert (told["id"], told["text"], told["kind"]) == ("one", "Ten minutes break.", "info")
        done = await link.run("tell", input=json.dumps({"id": "two", "text": ""}), timeout=PATIENCE)
        assert done.exit_status == 1
        assert "`text`" in json.loads(str(done.stdout))["error"]
        assert len(json.loads(clock.read_text())["messages"]) == 1


async def test_a_message_is_shown_in_the_language_of_its_person() -> None:
    async with running_door() as door:
        link = await door.enter()
        environment = {**ENVIRONMENT, "FACTORYGATE_LANGUAGE": "de-AT:en"}
        status = await ask(link, "environment", {"environment": environment, "argv": ARGV})
        await ask(link, "tell", {"id": "one", "text": "Hello", "texts": {"en": "Hello", "de": "Hallo"}})
        clock = Path(str(status["notebook_sock"])).with_name("clock.json")
        assert [one["text"] for one in json.loads(clock.read_text())["messages"]] == ["Hallo"]


async def test_a_run_after_a_requeue_starts_anew() -> None:
    async with running_door() as door:
        (door.folder / "end.json").write_text("{}")
        first = door.file("door.json")
        door.process.kill()  # the node failed
        await door.process.wait()
        left = next(door.folder.parent.glob("factorygate-*"))
        again = await asyncio.create_subprocess_exec(
            *("env", "FACTORYGATE_JOB_RESTARTS=1", f"PYTHONPATH={Path(__file__).parents[2] / 'extensions'}"),
            *(ARGV[0], "-P", "-m", "factorygate.session", "--id", SESSION, "--folder", str(door.folder)),
            *("--authorized", door.key.export_public_key().decode().split()[1], "--listen", "127.0.0.1"),
            *("--tmp", str(door.folder.parent)),
        )
        try:
            await until(lambda: (door.folder / "door.json").exists() and door.file("door.json")["restart"] == 1)
            assert not (door.folder / "end.json").exists()
            assert not left.exists()
            assert door.file("door.json")["host_key"] != first["host_key"]
            await ask(await door.enter(), "hello")
        finally:
            again.terminate()
            await again.wait()


async def test_a_folder_that_others_can_enter_is_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        *(
            ARGV[0],
            "-P",
            "-m",
            "factorygate.session",
            "--id",
            SESSION,
            "--folder",
            str(tmp_path),
            "--authorized",
            "AAAA",
        ),
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "extensions")},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"can be entered by others" in said


async def test_a_command_is_logged_with_the_id_of_the_request_that_it_is_for() -> None:
    async with running_door() as door:
        link = await door.enter()
        for id in ("from-the-link-1", "x\nforged line"):
            process = await link.create_process("hello", env={"FACTORYGATE_REQUEST": id})
            assert json.loads(await process.stdout.readline())["session"] == SESSION
            await process.wait_closed()
        await ask(link, "hello")
        lines = [line for line in door.log.read_text().splitlines() if "command hello" in line]
        assert lines[0].endswith("command hello [from-the-link-1]")
        assert len(lines) == 2
        assert "forged" not in door.log.read_text()
