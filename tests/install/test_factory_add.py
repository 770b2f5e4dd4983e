"""`factorygate factory add`: its questions, the files that it writes, and its refusals.

Host keys come from a real sshd.
"""

from __future__ import annotations

import asyncio
import io
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.loading import load_link_config, offered
from factorylink.cli import add_factory
from factorylink.cli.main import main
from tests.support import sshd

pytestmark = pytest.mark.skipif(sshd.PROGRAM is None, reason="needs openssh-server")

CHECKOUT = Path(__file__).parents[2]
LINK = """\
# mine
catalogue: factories
state_dir: state
socket: link.sock
hub: {token_file: service-token}
factories: {}
"""


@pytest.fixture(autouse=True)
def _on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program wait longer for a host, since other tests run at the same time."""
    monkeypatch.setattr(add_factory, "_CONNECT_SECONDS", 60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "factories").mkdir()
    for path in (CHECKOUT / "hub_config/factories").glob("*.yaml"):
        (tmp_path / "factories" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "link.yaml").write_text(LINK)
    (tmp_path / "link.yaml").chmod(0o640)
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
async def server() -> AsyncIterator[sshd.Sshd]:
    with sshd.open_folder() as place:
        made = await sshd.Sshd(place / "sshd").start()
        try:
            yield made
        finally:
            made.kill()


async def add(folder: Path, server: sshd.Sshd, *options: str) -> int:
    """Run ``factorygate factory add`` without a terminal; return the exit code.

    The command has an event loop of its own, as in a separate process.
    """
    words = ["factory", "add", "it4lia", "--link", str(folder / "link.yaml"), "--host", server.host, "--no-doctor"]
    words += ["--watcher", sshd.ME, "--account", f"ada={sshd.ME}", "--credentials", "key"]
    words += ["--job-account", "EUHPC_D00_000", "--python", "/opt/environment/bin/python", *options]
    return await asyncio.to_thread(main, words)


AGREED = ("--agreed-by", "Grace Example", "--contact", "support@example.org", "--agreed-on", "2026-11-01")


async def test_a_factory_is_added_and_can_be_offered(folder: Path, server: sshd.Sshd) -> None:
    fingerprint = server.host_key.get_fingerprint()
    assert await add(folder, server, "--fingerprint", fingerprint, *AGREED) == 0
    config = load_link_config(folder / "link.yaml")
    access = config.factories["it4lia"]
    assert [line.split()[1] for line in access.transport.host_keys] == [server.public.split()[1]]  # type: ignore[union-attr]
    known = federation.load(config.catalogue).factories
    assert known["it4lia"].agreement is not None
    assert list(offered(config, known)) == ["it4lia"]
    key = folder / "state/factories/it4lia/keys" / sshd.ME
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert asyncssh.read_private_key(key).get_algorithm() == "ssh-ed25519"
    assert (folder / "link.yaml").read_text().startswith("# mine\n")
    assert stat.S_IMODE((folder / "link.yaml").stat().st_mode) == 0o640


async def test_a_key_that_is_there_and_broken_stops_it_before_anything_is_written(
    folder: Path, server: sshd.Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = folder / "state/factories/it4lia/keys"
    keys.mkdir(parents=True)
    (keys / sshd.ME).write_text("no key")
    before = (folder / "link.yaml").read_text()
    assert await add(folder, server, "--fingerprint", server.host_key.get_fingerprint(), *AGREED) == 1
    assert "is there already, and is no key for the link" in capsys.readouterr().err
    assert (folder / "link.yaml").read_text() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_the_link_can_read_an_entry_that_root_wrote_for_itself_alone(folder: Path, server: sshd.Sshd) -> None:
    os.chown(folder / "state", 65534, 65533)
    entry = folder / "factories/it4lia.yaml"
    entry.chmod(0o600)
    assert await add(folder, server, "--fingerprint", server.host_key.get_fingerprint(), *AGREED) == 0
    found = entry.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 65533, 0o640)


class Terminal(io.StringIO):
    """A standard input that is a terminal at which a person types these lines."""

    def isatty(self) -> bool:
        return True


async def test_a_person_at_a_terminal_is_asked(
    folder: Path, server: sshd.Sshd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["it4lia", server.host, "yes", "ca", sshd.ME, f"ada={sshd.ME}", "EUHPC_D00_000", "/opt/e/bin/python"]
    monkeypatch.setattr("sys.stdin", Terminal("\n".join([*answers, "Grace Example", "support@example.org"]) + "\n"))
    words = ["factory", "add", "--link", str(folder / "link.yaml"), "--no-doctor"]
    assert await asyncio.to_thread(main, words) == 0
    said = capsys.readouterr().out
    assert server.host_key.get_fingerprint() in said
    assert "TrustedUserCAKeys" in said
    config = load_link_config(folder / "link.yaml")
    assert list(offered(config, federation.load(config.catalogue).factories)) == ["it4lia"]


@pytest.mark.parametrize(("kind", "answer", "tried"), [("wrapper", "yes", 1), ("ca", "", 0), ("key", "no", 0)])
async def test_the_way_is_tried_once_the_site_knows_the_new_key(
    folder: Path, server: sshd.Sshd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str,
    answer: str, tried: int,
) -> None:  # fmt: skip
    """The program runs ``factorygate doctor`` only if the operator says that the site has added the key.

    Otherwise the program prints the command to run later.
    """
    doctor: list[str] = []
    monkeypatch.setattr(add_factory, "_doctor", lambda _options, factory: doctor.append(factory) or 0)
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    words = ["factory", "add", "it4lia", "--link", str(folder / "link.yaml"), "--host", server.host, *AGREED]
    words += ["--watcher", sshd.ME, "--account", f"ada={sshd.ME}", "--credentials", kind]
    words += ["--fingerprint", server.host_key.get_fingerprint(), "--job-account", "EUHPC_D00_000"]
    assert await asyncio.to_thread(main, [*words, "--python", "/opt/environment/bin/python"]) == 0
    assert doctor == ["it4lia"] * tried
    said = capsys.readouterr().out
    assert "Has the site added the key?" in said
    assert ("Next: factorygate doctor it4lia" in said) == (not tried)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_tries_the_way_as_the_links_account(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, 65533)
    code = (
        "import os, pathlib, sys; from factorylink.cli import doctor; doctor._become_owner(pathlib.Path(sys.argv[1]))\n"
        "print(os.getresuid(), os.getresgid(), os.getgroups(), os.environ['HOME'], os.getcwd())"
    )
    env = {**os.environ, "PYTHONPATH": f"{CHECKOUT / 'spawners'}"}
    done = subprocess.run([sys.executable, "-c", code, str(state)], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{(65534,) * 3} {(65533,) * 3} [] {state} /\n"


async def test_another_fingerprint_than_the_sites_is_refused(
    folder: Path, server: sshd.Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await add(folder, server, "--fingerprint", "SHA256:" + "A" * 43, *AGREED) == 1
    assert "another machine" in capsys.readouterr().err
    assert (folder / "link.yaml").read_text() == LINK


async def test_the_key_that_the_site_publishes_is_pinned_among_several(folder: Path, server: sshd.Sshd) -> None:
    server.kill()
    published = server.public
    other = server.folder / "other_key"
    other.touch(mode=0o600)
    other.write_bytes(asyncssh.generate_private_key("ssh-rsa").export_private_key())
    server.options["HostKey"] = f"{other}\nHostKey {server.folder / 'host_key'}"
    await server.start()
    assert await add(folder, server, "--fingerprint", server.host_key.get_fingerprint(), *AGREED) == 0
    access = load_link_config(folder / "link.yaml").factories["it4lia"]
    assert [line.split()[1] for line in access.transport.host_keys] == [published.split()[1]]  # type: ignore[union-attr]


async def test_a_host_key_that_nobody_confirms_is_not_trusted(
    folder: Path, server: sshd.Sshd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert await add(folder, server, *AGREED) == 1
    said = capsys.readouterr()
    assert server.host_key.get_fingerprint() in said.out
    assert "--fingerprint: is needed" in said.err
    assert (folder / "link.yaml").read_text() == LINK


async def test_without_an_agreement_nothing_is_offered(
    folder: Path, server: sshd.Sshd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert await add(folder, server, "--fingerprint", server.host_key.get_fingerprint()) == 1
    assert "--agreed-by: is needed" in capsys.readouterr().err
    assert (folder / "link.yaml").read_text() == LINK


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--account", "ada"), "PERSON=ACCOUNT"),
        (("--python", "python3"), "python"),
        (("--job-account", "two words"), "job_account"),
        (("--allow", "everything"), "allows"),
        (("--key", "/nowhere"), "/nowhere"),
    ],
)
async def test_a_wrong_value_writes_nothing(
    folder: Path, server: sshd.Sshd, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    assert await add(folder, server, "--fingerprint", server.host_key.get_fingerprint(), *AGREED, *options) == 1
    assert said in capsys.readouterr().err
    assert (folder / "link.yaml").read_text() == LINK
    assert "state: template" in (folder / "factories/it4lia.yaml").read_text()


async def test_a_factory_that_is_there_is_not_written_over(
    folder: Path, server: sshd.Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    await add(folder, server, "--fingerprint", server.host_key.get_fingerprint(), *AGREED)
    before = (folder / "link.yaml").read_text()
    assert await add(folder, server, "--fingerprint", server.host_key.get_fingerprint(), *AGREED) == 1
    assert "has it already" in capsys.readouterr().err
    assert (folder / "link.yaml").read_text() == before


async def test_a_host_that_does_not_answer_is_named(
    folder: Path, server: sshd.Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    server.kill()
    assert await add(folder, server, "--fingerprint", server.host_key.get_fingerprint(), *AGREED) == 1
    assert f"--host {server.host}: does not answer" in capsys.readouterr().err
