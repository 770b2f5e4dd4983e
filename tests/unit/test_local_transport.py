from __future__ import annotations

import asyncio
import errno
import os
import pwd
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import pytest_asyncio

from factorylink.config import LocalTransportSettings as Settings
from factorylink.errors import Gone, Misread, Refused, Unreachable
from factorylink.schedulers.command import LISTING, Command, Output, done
from factorylink.transports import gathered_reads, local
from factorylink.transports.base import Transport
from factorylink.transports.local import LocalTransport
from tests.support.door import alive, until


def words(output: Output) -> str:
    return output.stdout


def shell(text: str, stdin: str = "", timeout: float = 60, most: int = LISTING) -> Command[str]:
    return Command(("/bin/sh", "-c", text), words, stdin, timeout, most=most)


@pytest_asyncio.fixture
async def transport() -> AsyncIterator[LocalTransport]:
    made = LocalTransport(Settings())
    yield made
    await made.close()


async def test_the_local_transport_implements_the_protocols(transport: LocalTransport) -> None:
    fits: Transport = transport
    assert await fits.run(shell("cat", "from stdin")) == "from stdin"


async def test_stdout_stderr_and_code(transport: LocalTransport) -> None:
    output = await transport.run(Command(("/bin/sh", "-c", "echo out; echo err >&2; exit 3"), lambda o: o))
    assert output == Output("out\n", "err\n", 3)


async def test_a_command_that_a_signal_ended_was_not_refused(transport: LocalTransport) -> None:
    with pytest.raises(Refused, match="no space"):
        await transport.run(Command(("/bin/sh", "-c", "echo no space >&2; exit 1"), done))
    with pytest.raises(Unreachable, match="A signal ended the command"):
        await transport.run(Command(("/bin/sh", "-c", "kill -KILL $$"), done))


async def test_the_environment_is_minimal(transport: LocalTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SECRET", "x")
    got = dict(line.split("=", 1) for line in (await transport.run(Command(("env",), words))).splitlines())
    assert got.keys() == {"PATH", "HOME", "USER", "LOGNAME", "LANG"}
    assert got["USER"] == pwd.getpwuid(os.geteuid()).pw_name


async def test_prefix_and_environment_of_the_settings() -> None:
    made = LocalTransport(Settings(prefix=("env", "A=1"), env={"B": "2"}))
    ask = Command(("/bin/sh", "-c", "echo $A $B $C"), words, env={"C": "3"})
    assert await made.run(ask) == "1 2 3\n"


async def test_silence_is_unreachable_and_leaves_no_process(transport: LocalTransport, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    for seconds in (5, 60):  # on a busy machine, the shell may come to nothing in a few seconds
        with pytest.raises(Unreachable, match="within"):
            await transport.run(shell(f"sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; wait", timeout=seconds))
        if pid.exists():
            break
    child = int(pid.read_text())
    await until(lambda: not alive(child))


async def test_cancelling_leaves_no_process(transport: LocalTransport, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    running = asyncio.create_task(transport.run(shell(f"sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; wait")))
    while not pid.exists():
        await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    child = int(pid.read_text())
    await until(lambda: not alive(child))


async def test_cancelling_a_command_that_starts_leaves_no_process(
    transport: LocalTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, start = tmp_path / "pid", subprocess.Popen

    def cancelled(*argv: Any, **values: Any) -> subprocess.Popen[bytes]:
        process = start(*argv, **values)
        while not pid.exists():
            time.sleep(0.02)
        running.cancel()
        return process

    monkeypatch.setattr("subprocess.Popen", cancelled)
    running = asyncio.create_task(transport.run(shell(f"sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; wait")))
    await asyncio.wait({running}, timeout=120)
    assert running.cancelled()
    child = int(pid.read_text())
    await until(lambda: not alive(child))


async def test_closing_ends_what_runs(transport: LocalTransport, tmp_path: Path) -> None:
    running = asyncio.create_task(
        transport.run(Command(("/bin/sh", "-c", f"touch {tmp_path}/up; sleep 600"), lambda o: o.code))
    )
    while not (tmp_path / "up").exists():
        await asyncio.sleep(0.02)
    await transport.close()
    assert await running == -9


async def test_closing_ends_a_command_that_is_being_entered(
    transport: LocalTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, start = tmp_path / "pid", local._start

    async def closed_meanwhile(*arguments: Any) -> asyncio.subprocess.Process:
        process = await start(*arguments)
        while not pid.exists():
            await asyncio.sleep(0.02)
        await transport.close()
        return process

    monkeypatch.setattr(local, "_start", closed_meanwhile)
    made = await transport.enter(None, ["/bin/sh", "-c", f"sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; wait"])
    child = int(pid.read_text())
    await until(lambda: not alive(child))
    made.close()


async def test_too_much_output_is_misread(transport: LocalTransport) -> None:
    with pytest.raises(Misread):
        await transport.run(shell("yes", most=1000))
    with pytest.raises(Misread):
        await transport.run(shell("head -c 1001 /dev/zero", most=1000))
    assert len(await transport.run(shell("head -c 1000 /dev/zero", most=1000))) == 1000


async def test_a_command_may_leave_its_input_unread(transport: LocalTransport) -> None:
    assert await transport.run(shell("echo done", stdin="x" * 1_000_000)) == "done\n"


async def test_a_missing_program_is_unreachable(transport: LocalTransport) -> None:
    with pytest.raises(Unreachable, match="could not be run"):
        await transport.run(Command(("no-such-program",), words))
    with pytest.raises(Unreachable, match="could not be run"):
        await transport.run(Command(("echo", "a\0b"), words))


async def test_unparsable_output_is_misread_and_logged(
    transport: LocalTransport, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Misread):
        await transport.run(Command(("echo", "unheard-of"), lambda output: int(output.stdout)))
    assert "unheard-of" in caplog.text


async def test_bytes_that_are_no_text(transport: LocalTransport) -> None:
    assert await transport.run(shell(r"printf 'a\377b'")) == "a\ufffdb"


async def test_few_commands_at_once() -> None:
    made = LocalTransport(Settings(), parallel=2)
    for tries_left in (2, 1, 0):
        began = time.monotonic()
        # waiting for a slot does not count towards the timeout
        work = [made.run(shell(f"sleep {seconds}", timeout=5.5)) for seconds in (3, 3, 3, 3, 0, 0)]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        seconds = time.monotonic() - began
        if tries_left and any(isinstance(one, Unreachable) for one in outcomes):
            continue  # on a busy machine, a command may need more time once
        assert outcomes == [""] * 6
        assert seconds >= 6
        break


async def test_reading_files(transport: LocalTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a b"
    file.write_bytes(b"\x00\xff" * 100)
    assert await transport.read(None, str(file)) == b"\x00\xff" * 100
    assert await transport.read(None, str(file), limit=3) == b"\x00\xff\x00"
    with pytest.raises(Gone):
        await transport.read(None, str(tmp_path / "none"))
    with pytest.raises(Gone):
        await transport.read(None, str(file / "below"))
    with pytest.raises(Refused):
        await transport.read(None, str(tmp_path))
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr(gathered_reads, "ALONE_PATIENCE", 0.3)
    with pytest.raises(Unreachable):
        await transport.read(None, str(tmp_path / "fifo"))


async def test_homes_come_from_the_account_database(transport: LocalTransport) -> None:
    assert await transport.home(None) == pwd.getpwuid(os.geteuid()).pw_dir
    with pytest.raises(Gone):
        await transport.home("nobody-has-this-name")


async def test_a_connection_to_a_port_carries_bytes(transport: LocalTransport) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    made = await transport.connect(None, "127.0.0.1", port)
    channel, _ = await made.create_connection(asyncio.Protocol, "", 0)
    other, _ = listener.accept()
    channel.write(b"hello")
    assert other.recv(10) == b"hello"
    channel.close()
    made.close()
    other.close()
    listener.close()
    with pytest.raises(Unreachable, match="Connection refused"):
        await transport.connect(None, "127.0.0.1", port)
    with pytest.raises(Unreachable, match=r"The name no-such-host\.invalid does not resolve on this machine"):
        await transport.connect(None, "no-such-host.invalid", 1)


async def test_entering_a_command(transport: LocalTransport) -> None:
    heard = asyncio.get_running_loop().create_future()

    class Ear(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            heard.set_result(data)

    made = await transport.enter(None, ["cat"])
    channel, _ = await made.create_connection(Ear, "", 0)
    channel.write(b"hello")
    assert await asyncio.wait_for(heard, 60) == b"hello"
    channel.close()
    made.close()
    with pytest.raises(Unreachable):
        await transport.enter(None, ["/no/such/program"])


async def test_streams_without_free_file_descriptors_are_unreachable(
    transport: LocalTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    await transport.home(None)  # the account is known

    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", full)
        with pytest.raises(Unreachable, match="Too many open files"):
            await transport.enter(None, ["cat"])
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", full)
        with pytest.raises(Unreachable, match="port 1: Too many open files"):
            await transport.connect(None, "127.0.0.1", 1)


async def test_no_command_runs_as_root(transport: LocalTransport) -> None:
    with pytest.raises(Refused):
        await transport.run(shell("id"), "root")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may act as others")
async def test_an_ordinary_user_acts_as_nobody_else(transport: LocalTransport) -> None:
    with pytest.raises(Refused, match="cannot act as"):
        await transport.run(shell("id"), "nobody")


@pytest.mark.root
@pytest.mark.parametrize("program", [local.CHANGE_USER, "/no/such/program"])
async def test_root_acts_as_the_account_with_its_groups(
    transport: LocalTransport, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(local, "CHANGE_USER", program)
    entry = pwd.getpwnam("nobody")
    got = (await transport.run(shell("id -u; id -g; id -G; umask; echo $HOME"), "nobody")).splitlines()
    groups = " ".join(str(group) for group in sorted(os.getgrouplist("nobody", entry.pw_gid)))
    assert got[:2] == [str(entry.pw_uid), str(entry.pw_gid)]
    assert " ".join(sorted(got[2].split(), key=int)) == groups
    assert got[3:] == ["0077", entry.pw_dir]


@pytest.mark.root
async def test_a_program_that_the_account_cannot_run_is_unreachable(transport: LocalTransport) -> None:
    for missing in ("no-such-program", "/etc/hostname"):
        with pytest.raises(Unreachable, match="could not be run"):
            await transport.run(Command((missing,), words), "nobody")
    own = Command(("/bin/sh", "-c", "echo 'mine: not found' >&2; exit 127"), lambda output: output.code)
    assert await transport.run(own, "nobody") == 127


@pytest.mark.root
async def test_an_operator_s_variables_count_for_the_account_only(tmp_path: Path) -> None:
    made = LocalTransport(Settings(env={"LD_PRELOAD": "/no/such.so", "PATH": "/usr/bin", "A": "x y"}))
    output = await made.run(Command(("/bin/sh", "-c", 'echo "$LD_PRELOAD $PATH $A $B"; id -un'), lambda o: o), "nobody")
    assert output.stdout == "/no/such.so /usr/bin x y \nnobody\n"
    assert output.stderr.count("/no/such.so") == 2  # only the shell and ``id`` were asked to load it
    with pytest.raises(Unreachable, match="could not be run"):
        await made.run(Command(("no-such-program",), words, env={"B": "1"}), "nobody")


@pytest.mark.root
async def test_a_command_of_another_account_leaves_no_capability(transport: LocalTransport) -> None:
    got = await transport.run(shell("grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status"), "nobody")
    assert {line.split()[1].strip("0") for line in got.splitlines()} == {""}


@pytest.mark.root
async def test_root_reads_as_the_account(transport: LocalTransport, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    with pytest.raises(Refused, match="denied"):
        await transport.read("nobody", str(secret))
