"""A commit is fetched exactly; a hostile repository, name or tree is refused with an explanation, and does no harm."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from factorycommon.material.archive import unpack
from tests.support.door import alive, until
from workshops.material import git
from workshops.material.fetcher import MaterialFetcher
from workshops.material.fetching import fetched, meaning_of, token_for
from workshops.models.bodies import MaterialBody
from workshops.models.material import DeployToken, FetchRequest, FetchResult, MaterialSettings
from workshops.repositories import BadRepository, check, may_be_fetched_from, parse

WHO = {
    "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org", "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@example.org", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_DATE": "2026-11-28T08:00:00Z", "GIT_COMMITTER_DATE": "2026-11-28T08:00:00Z",
}  # fmt: skip


class Repository:
    """A bare repository whose trees are made with git's plumbing, so that they may be as hostile as one likes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True, env=os.environ | WHO)

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *argv: str, given: bytes = b"") -> str:
        ran = subprocess.run(
            ["git", *argv], cwd=self.path, input=given, capture_output=True, check=True, env=os.environ | WHO
        )
        return ran.stdout.decode().strip()

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", given=content)

    def tree(self, *entries: tuple[str, bytes, str]) -> str:
        """Store a tree of (mode, name, object), with names that git itself would not write; return its id."""
        raw = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(one) for mode, name, one in entries)
        return self.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=raw)

    def commit(self, tree: str) -> str:
        made = self.git("commit-tree", tree, "-m", "x")
        self.git("update-ref", "refs/heads/main", made)
        return made

    def files(self, **files: str) -> str:
        """Commit files of the top folder, in which ``_`` in a name stands for a dot; return the commit's id."""
        entries = [
            ("100644", name.replace("_", ".").encode(), self.blob(files[name].encode())) for name in sorted(files)
        ]
        return self.commit(self.tree(*entries))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository.git")


def fetch(folder: Path, repository: str, commit: str, **settings: object) -> FetchResult:
    (folder / "store").mkdir(exist_ok=True)
    request = FetchRequest(
        repository=repository,
        commit=commit,
        folder=folder / "store",
        settings=MaterialSettings.model_validate(settings),
        schemes=("https", "file"),
    )
    result = fetched(request)
    assert not [path for path in (folder / "store").iterdir() if path.is_dir()]  # nothing of git's is left
    return result


def read(folder: Path, result: FetchResult) -> dict[str, str]:
    assert result.problem == ""
    archive = (folder / "store" / f"{result.digest}.tar.gz").read_bytes()
    return {path: file.content.decode() for path, file in unpack(archive).items()}


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path, repository: Repository) -> None:
    request = FetchRequest(
        repository=repository.url, commit=repository.files(a_txt="one"), folder=tmp_path / "nothing",
        settings=MaterialSettings(), schemes=("https", "file"),
    )  # fmt: skip
    assert fetched(request).problem == "The gateway cannot keep the material: No such file or directory"


def test_a_deploy_token_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    token = {"prefix": "https://127.0.0.1/courses/", "file": tmp_path / "nothing"}
    result = fetch(tmp_path, "https://127.0.0.1/courses/a.git", "a" * 40, tokens=(token,), networks=("127.0.0.0/8",))
    assert result.problem == (
        "The gateway's deploy token for this repository cannot be read: No such file or directory. "
        "Tell the gateway's operators."
    )


def test_exactly_the_commit_is_fetched_also_if_it_is_not_the_newest(tmp_path: Path, repository: Repository) -> None:
    first = repository.files(a_txt="one")
    second = repository.commit(
        repository.tree(
            ("100755", b"run.sh", repository.blob(b"#!/bin/sh\n")),
            ("40000", b"sub", repository.tree(("100644", b"b.txt", repository.blob(b"two")))),
        )
    )
    assert read(tmp_path, fetch(tmp_path, repository.url, first)) == {"a.txt": "one"}
    result = fetch(tmp_path, repository.url, second)
    assert read(tmp_path, result) == {"run.sh": "#!/bin/sh\n", "sub/b.txt": "two"}
    assert (result.files, result.bytes) == (2, 13)
    archive = unpack((tmp_path / "store" / f"{result.digest}.tar.gz").read_bytes())
    assert [archive[path].executable for path in ("run.sh", "sub/b.txt")] == [True, False]


def test_the_same_commit_has_the_same_digest(tmp_path: Path, repository: Repository) -> None:
    commit = repository.files(a_txt="one", b_txt="two")
    assert fetch(tmp_path, repository.url, commit) == fetch(tmp_path, repository.url, commit)


def test_a_commit_or_repository_that_is_not_there_is_told_in_words(tmp_path: Path, repository: Repository) -> None:
    repository.files(a_txt="one")
    assert "no such commit" in fetch(tmp_path, repository.url, "0" * 39 + "1").problem
    assert "no repository" in fetch(tmp_path, f"{repository.url}x", "0" * 40).problem


def test_the_id_of_a_tree_is_no_commit(tmp_path: Path, repository: Repository) -> None:
    tree = repository.tree(("100644", b"a.txt", repository.blob(b"one")))
    repository.commit(tree)
    assert fetch(tmp_path, repository.url, tree).problem


@pytest.mark.parametrize(
    "url",
    [
        "-u/tmp/x", "--upload-pack=touch /tmp/x", "ext::sh -c touch% /tmp/x", "https://host/a\nb", "http://host/a.git",
        "ssh://git@host/a.git", "git://host/a.git", "https://user:secret@host/a.git", "https://host/a.git?x=1",
        "https://host/../a.git", "https://host/a/../../b.git", "https://host//a.git", "https://host/-a.git",
        "https://host:99999/a.git", "https://HOST/a.git", "https://host", "https://host/", "https://host/%2e%2e/a",
        "https://host/a#b", "https:///a.git", "https://[::1]/a.git", "fd::17/foo", "https://host/" + "a" * 600, "",
        "file:///etc/passwd",
    ],
)  # fmt: skip
def test_hostile_addresses_are_refused(url: str) -> None:
    with pytest.raises(BadRepository, match="address such as"):
        parse(url)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://github.com/org/name", "github.com", 443),
        ("https://git.example.org:8443/a/b.c/d.git", "git.example.org", 8443),
        ("https://git.sr.ht/~someone/name", "git.sr.ht", 443),
    ],
)  # fmt: skip
def test_ordinary_addresses_are_allowed(url: str, host: str, port: int) -> None:
    found = parse(url)
    assert (found.url, found.host, found.port) == (url, host, port)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "no address",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_public_internet_are_refused(address: str) -> None:
    assert not may_be_fetched_from(address, ())
    with pytest.raises(BadRepository, match="not of the public internet"):
        check(parse("https://git.example.org/a.git"), (), lambda _host, _port: ["93.184.215.14", address])


def test_an_operator_can_allow_a_network() -> None:
    networks = MaterialSettings.model_validate({"networks": ["10.1.0.0/16", "fd00::/8"]}).networks
    assert may_be_fetched_from("10.1.2.3", networks)
    assert may_be_fetched_from("::ffff:10.1.2.3", networks)
    assert may_be_fetched_from("fd00::1", networks)
    assert not may_be_fetched_from("10.2.0.1", networks)
    assert may_be_fetched_from("93.184.215.14", ())


@pytest.mark.parametrize("host", ["git..example.org", f"{64 * 'a'}.example.org"])
def test_a_host_that_no_name_server_can_know_does_not_exist(host: str) -> None:
    with pytest.raises(BadRepository, match="There is no host"):
        check(parse(f"https://{host}/a.git"), ())


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
def test_names_and_numbers_of_this_machine_are_refused(tmp_path: Path, host: str) -> None:
    problem = fetch(tmp_path, f"https://{host}/a.git", "0" * 40).problem
    assert "not of the public internet" in problem or "There is no host" in problem


def test_git_is_bound_to_the_address_that_was_checked_and_to_its_protocols(tmp_path: Path) -> None:
    argv = git.fetch("https://host/a.git", "0" * 40, "host:443:93.184.215.14", None)
    assert "http.curloptResolve=host:443:93.184.215.14" in argv
    assert "http.followRedirects=false" in argv
    assert argv[-3:] == ["--", "https://host/a.git", "0" * 40]
    environment = git.environment_of(tmp_path, ["https"])
    assert environment["GIT_ALLOW_PROTOCOL"] == "https"
    assert not environment.keys() & {"GIT_DIR", "GIT_SSH_COMMAND", "HTTPS_PROXY", "https_proxy"}


async def test_git_connects_to_the_pinned_address_whatever_the_name_server_says(tmp_path: Path) -> None:
    came = asyncio.Event()

    def on_connection(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    repository = git.GitRepository(tmp_path, git.environment_of(tmp_path, ["https"]))
    repository.run(*git.init("0" * 40))
    argv = git.fetch(f"https://nowhere.invalid:{port}/a.git", "0" * 40, f"nowhere.invalid:{port}:127.0.0.1", None)
    with pytest.raises(git.GitFailed):
        await asyncio.to_thread(repository.run, *argv)
    assert came.is_set()
    server.close()


def test_a_deploy_token_is_for_its_prefix_only_and_in_no_argv(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("very-secret\n")
    (tmp_path / "token").chmod(0o600)
    token = DeployToken(prefix="https://git.example.org/courses/", file=tmp_path / "token")
    settings = MaterialSettings(tokens=(token,))
    for other in ("https://git.example.org/coursesx/a", "https://git.example.org/a", "https://other.org/courses/a"):
        assert token_for(parse(other), settings) is None
    found = token_for(parse("https://git.example.org/courses/a.git"), settings)
    assert found == ("https://git.example.org/courses/", "oauth2", "very-secret")
    environment = git.environment_of(tmp_path, ["https"], found)
    assert environment["GIT_CONFIG_KEY_0"] == "http.https://git.example.org/courses/.extraHeader"
    assert "very-secret" not in json.dumps(environment)  # it is encoded
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(PermissionError):
        token_for(parse("https://git.example.org/courses/a.git"), settings)


@pytest.mark.parametrize(
    "prefix", ["https://git.example.org", "http://git.example.org/", "https://a/../", "https://a/b"]
)
def test_a_prefix_of_tokens_must_end_with_a_folder(prefix: str) -> None:
    with pytest.raises(ValueError, match="slash at its end"):
        DeployToken(prefix=prefix, file=Path("x"))


# --- hostile trees


def hostile(repository: Repository, what: str) -> str:
    blob = repository.blob(b"x")
    inner = repository.tree(("100644", b"post-checkout", blob))
    trees: dict[str, tuple[tuple[str, bytes, str], ...]] = {
        "link": (("120000", b"link", repository.blob(b"/etc/passwd")),),
        "submodule": (("160000", b"sub", "1" * 40),),
        "dots": (("40000", b"..", inner),),
        "dot": (("40000", b".", inner),),
        "slash": (("100644", b"a/../../b", blob),),
        "git": (("40000", b".git", repository.tree(("40000", b"hooks", inner))),),
        "git in capitals": (("40000", b".GIT", inner),),
        "ours": (("40000", b".factorygate", inner),),
        "case": (("100644", b"A.txt", blob), ("100644", b"a.txt", blob)),
        "twice": (("100644", b"a.txt", blob), ("100644", b"a.txt", repository.blob(b"y"))),
        "dash": (("100644", b"-rf", blob),),
        "newline": (("100644", b"a\nb", blob),),
        "escape": (("100644", b"\x1b[31m", blob),),
        "no utf-8": (("100644", b"\xff\xfe", blob),),
        "windows": (("100644", b"aux.txt", blob),),
        "markup": (("100644", b"<img onerror=x>", blob),),
        "lfs": (("100644", b"big", repository.blob(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")),),
    }
    return repository.commit(repository.tree(*trees[what]))


@pytest.mark.parametrize(
    "what",
    ["link", "submodule", "dots", "dot", "slash", "git", "git in capitals", "ours", "case", "twice", "dash", "newline",
     "escape", "no utf-8", "windows", "markup", "lfs"],
)  # fmt: skip
def test_a_hostile_tree_is_refused_with_a_list(tmp_path: Path, repository: Repository, what: str) -> None:
    result = fetch(tmp_path, repository.url, hostile(repository, what))
    assert result.digest is None
    assert result.problem
    assert result.refused or what in ("dots", "dot", "slash", "twice")  # git itself refuses some of these
    assert all(one.path.isprintable() and one.why for one in result.refused)
    assert not list((tmp_path / "store").glob("*.tar.gz"))


@pytest.mark.parametrize(("old", "new"), [(b" 3\t", b" BAD\t"), (b" 3\t", b"\t"), (b" blob ", b" \xff ")])
def test_a_list_of_files_of_another_form_is_told(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, old: bytes, new: bytes
) -> None:
    run = git.GitRepository.run
    monkeypatch.setattr(
        git.GitRepository,
        "run",
        lambda self, *argv, **more: run(self, *argv, **more).replace(old, new if argv[0] == "ls-tree" else old),
    )
    result = fetch(tmp_path, repository.url, repository.files(a_txt="one"))
    assert result.digest is None
    assert result.problem.startswith("The commit could not be fetched. Git says: ")


def test_a_tree_that_explodes_is_refused_soon(tmp_path: Path, repository: Repository) -> None:
    tree = repository.tree(("100644", b"f", repository.blob(b"x")))
    for _ in range(10):
        tree = repository.tree(*(("40000", f"d{number}".encode(), tree) for number in range(10)))
    result = fetch(tmp_path, repository.url, repository.commit(tree), files=1000)
    assert "more than 1000 files" in result.problem


def test_large_files_and_many_files_are_refused(tmp_path: Path, repository: Repository) -> None:
    large = repository.files(a_txt="x" * (2 << 20), b_txt="x")
    result = fetch(tmp_path, repository.url, large, file_mib=1)
    assert [one.path for one in result.refused] == ["a.txt"]
    assert "2 MiB; at most 1 MiB" in result.refused[0].why
    assert "at most 1 MiB" in fetch(tmp_path, repository.url, large, total_mib=1, file_mib=16).problem
    assert "at most 1 are allowed" in fetch(tmp_path, repository.url, large, files=1).problem


def test_hooks_filters_and_settings_of_a_repository_do_nothing(tmp_path: Path, repository: Repository) -> None:
    mark = tmp_path / "mark"
    commit = repository.commit(
        repository.tree(
            ("100644", b".gitattributes", repository.blob(b"* filter=evil\n")),
            ("100644", b".gitmodules", repository.blob(b'[submodule "x"]\n\tpath = x\n\turl = -u./x\n')),
            ("100644", b"a.txt", repository.blob(b"as it is\r\n$Id$\n")),
        )
    )
    evil = f"touch {mark}"
    for key, value in (("filter.evil.smudge", evil), ("core.fsmonitor", evil), ("uploadpack.packObjectsHook", evil)):
        repository.git("config", key, value)
    assert read(tmp_path, fetch(tmp_path, repository.url, commit))["a.txt"] == "as it is\r\n$Id$\n"
    assert not mark.exists()


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("fatal: unable to access 'https://h/': Could not resolve host: h", "does not answer"),
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", "private"),
        ("fatal: unable to update url base from redirection:", "redirects"),
        ("error: index-pack died of signal 25", "larger than"),
        ("fatal: \x1b[31mwhatever\x07", "Git says: fatal: "),
        ("", "Git says: –"),
    ],
)
def test_gits_words_are_told_plainly(said: str, meaning: str) -> None:
    found = meaning_of(said)
    assert meaning in found
    assert found.isprintable()


# --- the process


@pytest.fixture
def found_by_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set PYTHONPATH, so that programs that the test starts find the packages that this process finds."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


@pytest.mark.usefixtures("found_by_programs")
async def test_the_process_is_not_told_file_addresses_by_any_configuration(
    tmp_path: Path, repository: Repository
) -> None:
    commit = repository.files(a_txt="one")
    fetcher = MaterialFetcher(tmp_path / "material", MaterialSettings())
    body = MaterialBody.model_construct(repository=repository.url, commit=commit)
    result = await fetcher.fetch(body)
    assert "address such as" in result.problem


@pytest.mark.usefixtures("found_by_programs")
async def test_the_process_fetches_and_its_answer_is_parsed(tmp_path: Path) -> None:
    fetcher = MaterialFetcher(tmp_path / "material", MaterialSettings())
    result = await fetcher.fetch(MaterialBody(repository="https://localhost/a.git", commit="0" * 40))
    assert "not of the public internet" in result.problem


async def test_a_fetch_that_is_cancelled_while_its_process_starts_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, start = tmp_path / "pid", subprocess.Popen
    python = tmp_path / "python"  # a process that has started another one, as the fetching one starts git
    python.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; wait\n")
    python.chmod(0o755)

    def cancelled(*argv: Any, **values: Any) -> subprocess.Popen[bytes]:
        process = start(*argv, **values)
        while not pid.exists():
            time.sleep(0.02)
        running.cancel()
        return process

    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr("subprocess.Popen", cancelled)
    fetcher = MaterialFetcher(tmp_path / "material", MaterialSettings())
    body = MaterialBody(repository="https://localhost/a.git", commit="0" * 40)
    running = asyncio.create_task(fetcher.fetch(body))
    await asyncio.wait({running}, timeout=120)
    assert running.cancelled()
    child = int(pid.read_text())
    await until(lambda: not alive(child))


def test_the_process_fetches_by_itself(tmp_path: Path, repository: Repository) -> None:
    commit = repository.files(a_txt="one")
    request = FetchRequest(
        repository=repository.url, commit=commit, folder=tmp_path, settings=MaterialSettings(), schemes=("file",)
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "workshops.material"],
        input=request.model_dump_json().encode(),
        capture_output=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)},
        check=True,
        timeout=60,
    )
    result = FetchResult.model_validate_json(ran.stdout)
    assert (result.problem, result.files) == ("", 1)
    assert (tmp_path / f"{result.digest}.tar.gz").stat().st_mode & 0o777 == 0o600


async def test_archives_that_nobody_needs_are_removed(tmp_path: Path) -> None:
    fetcher = MaterialFetcher(tmp_path, MaterialSettings())
    kept, old, new = ("a" * 64, "b" * 64, "c" * 64)
    for digest in (kept, old, new):
        fetcher.archive(digest).write_text("x")
    (tmp_path / "fetch-x").mkdir()
    for path in (fetcher.archive(kept), fetcher.archive(old), tmp_path / "fetch-x"):
        os.utime(path, (0, 0))
    await asyncio.to_thread(fetcher.sweep, [kept])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{kept}.tar.gz", f"{new}.tar.gz"]
