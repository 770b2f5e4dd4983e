"""The SSH transport with a real sshd: commands, files, homes, streams."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from factorylink.errors import Gone, Misread, NotDone, Refused, Unreachable
from factorylink.schedulers.command import Command, Output
from factorylink.transports import gathered_reads
from factorylink.transports.base import Transport
from factorylink.transports.ssh import streams
from factorylink.transports.ssh.transport import SshTransport
from tests.support.door import alive
from tests.support.sshd import ME, PATIENCE, PROGRAM, Sshd, open_folder, shell, transport_to, until

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="openssh-server is not installed")

Made = Callable[..., SshTransport]


def words(output: Output) -> str:
    return output.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder in which the site account may write, too."""
    with open_folder() as made:
        yield made


@pytest_asyncio.fixture
async def sshd(folder: Path) -> AsyncIterator[Sshd]:
    server = await Sshd(folder / "sshd").start()
    yield server
    server.kill()


@pytest_asyncio.fixture
async def made(sshd: Sshd) -> AsyncIterator[Made]:
    """Return a function that makes transports, which are closed at the end."""
    all_of_them: list[SshTransport] = []

    def make(**told: object) -> SshTransport:
        all_of_them.append(one := transport_to(sshd.settings(**told), sshd.keys))
        return one

    yield make
    for one in all_of_them:
        await one.close()


@pytest.fixture
def transport(made: Made) -> SshTransport:
    return made()


async def lost(waiting: Awaitable[object]) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        await waiting
    return caught.value


async def test_the_ssh_transport_implements_the_protocols(transport: SshTransport) -> None:
    fits: Transport = transport
    assert await fits.run(shell("cat", "from stdin")) == "from stdin"


async def test_stdout_stderr_and_code(transport: SshTransport) -> None:
    output = await transport.run(Command(("/bin/sh", "-c", "echo out; echo err >&2; exit 3"), lambda o: o))
    assert output == Output("out\n", "err\n", 3)


async def test_an_end_by_a_signal(transport: SshTransport) -> None:
    code = await transport.run(Command(("/bin/sh", "-c", "kill -TERM $$"), lambda o: o.code))
    # a login shell that waits for the command, as dash does, reports the signal in its own way
    assert code in (-15, 128 + 15)


NASTY = [
    "two words",
    "single ' and double \" quotes",
    "new\nline\n",
    "$(touch /tmp/never) `id` $HOME ${PATH}",
    "-n",
    "--",
    "",
    "*",
    "~",
    "a;b|c&d>e<f",
    "back\\slash\\",
    "\ttab",
    "!history",
    "ünï¢ødé 日本語 \U0001f600",
    "#comment",
    "'\"'\"'",
]


async def test_arguments_arrive_as_they_are(transport: SshTransport) -> None:
    told = await transport.run(Command(("printf", r"%s\0", *NASTY), words))
    assert told.split("\0")[:-1] == NASTY


async def test_prefix_and_environment(made: Made) -> None:
    transport = made(prefix=("env", "A=1 x"), env={"B": "2 $HOME '"})
    ask = Command(("/bin/sh", "-c", 'echo "$A|$B|$C"'), words, env={"C": "ü\n"})
    assert await transport.run(ask) == "1 x|2 $HOME '|ü\n\n"


async def test_nothing_of_the_links_environment_is_sent(
    transport: SshTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("LC_SECRET", "x")
    assert not {"SLURM_JOB_ID", "LC_SECRET"} & {
        line.split("=")[0] for line in (await transport.run(Command(("env",), words))).splitlines()
    }


async def test_a_missing_program_is_unreachable(transport: SshTransport) -> None:
    with pytest.raises(Unreachable, match="could not be run"):
        await transport.run(Command(("no-such-program",), words))
    with pytest.raises(Unreachable, match="could not be run"):
        await transport.run(Command(("echo", "a\0b"), words))
    with pytest.raises(Refused, match="too long"):
        await transport.run(Command(("echo", "x" * 200_000), words))


async def test_a_site_that_has_stopped_us_is_unreachable(transport: SshTransport) -> None:
    with pytest.raises(NotDone, match="maintenance"):
        await transport.run(shell("echo factorygate-act: stopped by the site: maintenance >&2; exit 75"))
    # for other programs, this exit code has another meaning
    assert await transport.run(shell("echo mine; exit 75")) == "mine\n"


async def test_a_large_answer_and_a_large_question(transport: SshTransport) -> None:
    assert len(await transport.run(shell("head -c 5000000 /dev/zero | tr '\\0' x"))) == 5_000_000
    assert await transport.run(shell("wc -c", "y" * 5_000_000)) == "5000000\n"
    assert await transport.run(shell("echo done", "x" * 1_000_000)) == "done\n"  # and leaves its input unread


async def test_too_much_output_is_misread(transport: SshTransport) -> None:
    with pytest.raises(Misread):
        await transport.run(shell("yes", most=1000))
    with pytest.raises(Misread):
        await transport.run(shell("head -c 1001 /dev/zero", most=1000))
    assert len(await transport.run(shell("head -c 1000 /dev/zero", most=1000))) == 1000


async def test_unparsable_output_is_misread_and_logged(
    transport: SshTransport, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Misread):
        await transport.run(Command(("echo", "unheard-of"), lambda output: int(output.stdout)))
    assert "unheard-of" in caplog.text


async def test_silence_is_unreachable_and_leaves_no_process(transport: SshTransport, folder: Path) -> None:
    pid = folder / "pid"
    await transport.run(shell("true"))
    for seconds in (5, 60):  # on a busy machine, the shell may come to nothing in a few seconds
        with pytest.raises(Unreachable, match=f"within {seconds} s"):
            await transport.run(shell(f"sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; wait", timeout=seconds))
        if pid.exists():
            break
    assert await until(lambda: not alive(int(pid.read_text())))


async def test_cancelling_leaves_no_process(transport: SshTransport, folder: Path) -> None:
    pid = folder / "pid"
    running = asyncio.create_task(transport.run(shell(f"sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; wait")))
    assert await until(pid.exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await until(lambda: not alive(int(pid.read_text())))


async def test_a_cancelled_command_always_frees_its_place(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    transport = made(max_sessions=2, max_connections=1)
    await transport.run(shell("true"))
    for turns in range(60):
        running = asyncio.create_task(transport.run(shell("true")))
        for _ in range(turns % 12):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert await asyncio.gather(*(transport.run(shell("echo x")) for _ in range(4))) == ["x\n"] * 4


async def test_reading_files(transport: SshTransport, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "a b"
    file.write_bytes(b"\x00\xff" * 100)
    file.chmod(0o644)
    assert await transport.read(None, str(file)) == b"\x00\xff" * 100
    assert await transport.read(ME, str(file), limit=3) == b"\x00\xff\x00"
    with pytest.raises(Gone):
        await transport.read(None, str(folder / "none"))
    with pytest.raises(Gone):
        await transport.read(None, str(file / "below"))
    with pytest.raises(Refused):
        await transport.read(None, str(folder))
    os.mkfifo(folder / "fifo")
    (folder / "fifo").chmod(0o666)
    monkeypatch.setattr(gathered_reads, "ALONE_PATIENCE", 1.0)
    with pytest.raises(Unreachable):
        await transport.read(None, str(folder / "fifo"))


async def test_homes_are_looked_up_at_the_site(transport: SshTransport, sshd: Sshd) -> None:
    home = pwd.getpwnam(ME).pw_dir
    assert await transport.home(None) == await transport.home(ME) == home
    sshd.kill()
    assert await transport.home(ME) == home  # cached


async def test_an_account_without_a_key(transport: SshTransport) -> None:
    with pytest.raises(Refused, match="no key for the account nobody-here"):
        await transport.run(shell("true"), "nobody-here")


# --- streams


class Ear(asyncio.Protocol):
    """Reads from a stream until its end.

    ``heard``: all bytes so far; ``ended``: gets the error with which the stream ended, None: there was none.
    """

    def __init__(self) -> None:
        self.heard = b""
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(exc)


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[int]:
    """Run a server that sends all bytes back; yield its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_connection_to_a_port_carries_bytes(transport: SshTransport, sshd: Sshd, echo: int) -> None:
    wires = [await transport.connect(ME, "127.0.0.1", echo) for _ in range(30)]  # more than MaxSessions
    bound = [await wire.create_connection(Ear, "", 0) for wire in wires]
    for number, (channel, _) in enumerate(bound):
        channel.write(f"hello {number}".encode())
    assert await until(lambda: all(ear.heard == f"hello {n}".encode() for n, (_, ear) in enumerate(bound)))
    assert sshd.logins() == 1
    for (channel, ear), wire in zip(bound, wires, strict=True):
        channel.close()
        assert await asyncio.wait_for(ear.ended, PATIENCE) is None
        wire.close()


async def test_large_bytes_both_ways(transport: SshTransport, echo: int) -> None:
    wire = await transport.connect(ME, "127.0.0.1", echo)
    channel, ear = await wire.create_connection(Ear, "", 0)
    sent = os.urandom(3_000_000)
    channel.write(sent)
    assert await until(lambda: len(ear.heard) == len(sent))
    assert ear.heard == sent
    wire.close()


async def test_a_connection_to_a_closed_port_is_unreachable(transport: SshTransport) -> None:
    wire = await transport.connect(ME, "127.0.0.1", 1)
    with pytest.raises(Unreachable, match="Connection refused"):
        await wire.create_connection(Ear, "", 0)
    wire.close()
    wire = await transport.connect(ME, "no-such-host.invalid", 1)
    with pytest.raises(Unreachable):
        await wire.create_connection(Ear, "", 0)


async def test_forwarding_forbidden_names_the_remedy(folder: Path, echo: int) -> None:
    sshd = await Sshd(folder / "strict", AllowTcpForwarding="no").start()
    transport = transport_to(sshd.settings(), sshd.keys)
    wire = await transport.connect(ME, "127.0.0.1", echo)
    with pytest.raises(Refused, match=r"door\.carrier: stdio"):
        await wire.create_connection(Ear, "", 0)
    assert await transport.run(shell("echo still here")) == "still here\n"
    await transport.close()
    sshd.kill()


async def test_entering_a_command(transport: SshTransport) -> None:
    wire = await transport.enter(ME, ["/bin/sh", "-c", "tty >&2; exec cat"])
    channel, ear = await wire.create_connection(Ear, "", 0)
    sent = os.urandom(1_000_000)
    channel.write(sent)
    assert await until(lambda: len(ear.heard) == len(sent))
    assert ear.heard == sent
    channel.close()
    await asyncio.wait_for(ear.ended, PATIENCE)
    wire.close()


async def test_errors_of_an_entered_command_are_logged(
    transport: SshTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    wire = await transport.enter(ME, ["/bin/sh", "-c", "echo no such job >&2; exit 1"])
    _, ear = await wire.create_connection(Ear, "", 0)
    assert "no such job" in str(await asyncio.wait_for(ear.ended, PATIENCE))
    assert "no such job" in caplog.text


async def test_a_closed_entry_ends_its_command(
    transport: SshTransport, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, wait in (("cat; touch {}.clean", 100.0), ("trap '' TERM HUP; sleep 600", 4.0)):
        monkeypatch.setattr(streams, "KILL_WAIT", wait)
        file = folder / f"pid-{wait}"
        wire = await transport.enter(ME, ["/bin/sh", "-c", f"echo $$ > {file}; " + text.format(file)])
        channel, _ = await wire.create_connection(Ear, "", 0)
        assert await until(lambda file=file: file.exists() and file.read_text() != "")
        channel.abort()
        assert await until(lambda file=file: not alive(int(file.read_text())))
    assert (folder / "pid-100.0.clean").exists()  # it had the time to end by itself


async def test_entries_leave_places_for_commands(made: Made) -> None:
    transport = made(max_sessions=4, max_connections=1)
    wires = [await transport.enter(ME, ["cat"]) for _ in range(2)]
    for wire in wires:
        await wire.create_connection(Ear, "", 0)
    with pytest.raises(Unreachable, match="max_sessions"):
        await transport.enter(ME, ["cat"])
    assert await transport.run(shell("echo x"), ME) == "x\n"
    wires[0].close()
    assert await until(lambda: sum(pool.entries() for pool in transport._pools.values()) == 1)
    (await transport.enter(ME, ["cat"])).close()
    wires[1].close()


async def test_a_lost_connection_ends_wires_and_commands_at_once(
    transport: SshTransport, sshd: Sshd, echo: int, folder: Path
) -> None:
    forward, entry = await transport.connect(ME, "127.0.0.1", echo), await transport.enter(ME, ["cat"])
    _, one = await forward.create_connection(Ear, "", 0)
    _, two = await entry.create_connection(Ear, "", 0)
    running = asyncio.create_task(transport.run(shell(f"touch {folder}/up; sleep 600", timeout=600)))
    assert await until((folder / "up").exists)
    waiting = await transport.connect(ME, "127.0.0.1", echo)
    sshd.kill()
    await asyncio.wait_for(asyncio.gather(one.ended, two.ended), PATIENCE)
    assert "lost" in (await lost(asyncio.wait_for(running, PATIENCE))).message
    await lost(waiting.create_connection(Ear, "", 0))
