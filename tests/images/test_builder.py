"""The builder, without building anything: arguments, build contexts, and reproducibility."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from images.builder import context, debian, locks, options, sbom, steps, tools, wheels
from images.builder.options import ARCHITECTURES, CHECKOUT
from images.builder.recipes import RECIPES


def build(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CHECKOUT / "images" / "build", *argv], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("nonsense",), "no such image: nonsense (there are base, hub, link,"),
        (("hub", "--arch", "riscv64"), "invalid choice: 'riscv64'"),
        (("--frameworks", "/no/such/lock"), "neither cuda, nor none, nor a file: /no/such/lock"),
        (("--index", "https://example.org"), "--index goes with --frameworks FILE"),
        (("--mirror", "file:/etc"), "--mirror: no http address: file:/etc"),
        (("--mirror", "-v"), "--mirror"),
        (("--push",), "unrecognized arguments: --push"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_installed(
    argv: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    done = build(*argv, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_names_of_the_images_are_listed() -> None:
    done = build("--list")
    assert (done.returncode, done.stdout.split()) == (0, list(RECIPES))


def test_all_images_are_built_if_none_is_named() -> None:
    assert [recipe.name for recipe in options.parse([]).recipes] == list(RECIPES)
    chosen = options.parse(["proxy", "hub", "--out", "/tmp/o"])
    assert [recipe.name for recipe in chosen.recipes] == ["hub", "proxy"]
    assert chosen.cache == Path("/tmp/o/cache")


def test_a_step_that_fails_says_what_the_program_said() -> None:
    with pytest.raises(steps.BuildError, match=r"exit code 7:\nno room"):
        steps.run(["sh", "-c", "echo no room >&2; exit 7"])
    with pytest.raises(steps.BuildError, match="the program no-such-program is missing"):
        steps.run(["no-such-program"])


def test_packages_are_missing_until_their_program_is_there(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    assert tools.missing({str(file): "policy", "sh": "dash", "no-such-program": "other"}) == ["other", "policy"]
    file.touch()
    assert tools.missing({str(file): "policy"}) == []


def test_programs_of_another_architecture_are_refused_where_they_do_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(debian, "EMULATION", tmp_path)
    debian.check_emulation("x86_64", "x86_64")
    with pytest.raises(steps.CannotWork, match="Its wheels are complete"):
        debian.check_emulation("aarch64", "x86_64")
    (tmp_path / "qemu-aarch64").touch()
    debian.check_emulation("aarch64", "x86_64")


# --- wheels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_wheels_of_this_architecture_and_an_older_libc_are_taken(arch: str) -> None:
    tags = wheels.platforms(arch)
    assert {f"manylinux_2_28_{arch}", f"manylinux2014_{arch}", f"manylinux_2_41_{arch}"} <= set(tags)
    assert all(tag.endswith(arch) for tag in tags)
    assert f"manylinux_2_42_{arch}" not in tags


def test_wheels_that_are_there_are_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = locks.Locked("fastapi-offline", "1.7.7", "fastapi-offline==1.7.7 --hash=sha256:0\n")
    asked: list[str] = []

    def download(argv: list[str | Path]) -> str:
        asked.append(Path(argv[-1]).read_text())
        (tmp_path / "fastapi_offline-1.7.7-py3-none-any.whl").touch()
        return ""

    monkeypatch.setattr(wheels, "run", download)
    (tmp_path / "fastapi_offline-1.7.6-py3-none-any.whl").touch()  # a wheel from an earlier lock file
    for _ in range(2):
        found = wheels.fetch({package.name: package}, tmp_path, "x86_64")
    assert asked == [package.text]
    assert found == {"fastapi-offline": tmp_path / "fastapi_offline-1.7.7-py3-none-any.whl"}


def test_a_package_without_a_wheel_for_the_architecture_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "run", lambda argv: "")
    with pytest.raises(steps.BuildError, match="No wheel for aarch64 of torch"):
        wheels.fetch({"torch": locks.Locked("torch", "2.13.0", "torch==2.13.0\n")}, tmp_path, "aarch64")


def test_a_wheel_says_what_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a-1.0.dist-info/METADATA", "Name: a\nVersion: 1.0\nRequires-Dist: b>=2; extra == 'c'\n\n")
        archive.writestr("a/_vendor/x-2.dist-info/METADATA", "Name: x\nVersion: 2\n\n")
    wheel = locks.wheel(path)
    assert (wheel.version, [str(need) for need in wheel.needs]) == ("1.0", ['b>=2; extra == "c"'])


# --- reproducible builds ---------------------------------------------------------------------------------------------


def packed(folder: Path) -> bytes:
    """Return the content of a layer with the folder's files, an uncompressed tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, str(path.relative_to(folder)), recursive=False)
    return out.getvalue()


def test_two_checkouts_give_the_same_context(tmp_path: Path) -> None:
    for name, umask in (("one", 0o077), ("other", 0o002)):
        before = os.umask(umask)
        try:
            made = tmp_path / name / "proxy"
            (made / "bin").mkdir(parents=True)
            (made / "bin" / "start").write_text("#!/bin/sh\n")
            (made / "bin" / "start").chmod(0o777 & ~umask)
            (made / "page.html").write_text("<p>")
            (made / "link").symlink_to("page.html")
        finally:
            os.umask(before)
        os.utime(made / "page.html", (0, 1 if name == "one" else 2))
        context.settle(tmp_path / name)
    assert packed(tmp_path / "one") == packed(tmp_path / "other")
    assert (tmp_path / "one/proxy/bin/start").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "one/proxy/page.html").stat().st_mode & 0o777 == 0o644


def test_wheels_of_the_cache_keep_their_times(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    cached = tmp_path / "cache" / "a-1.0-py3-none-any.whl"
    cached.touch()
    os.utime(cached, (7, 7))
    folder = tmp_path / "context"
    folder.mkdir()
    lock = {"a": locks.Locked("a", "1.0", "a==1.0 --hash=sha256:0\n")}
    context.add_environment(folder, [lock], [cached], cached)
    context.settle(folder)
    assert cached.stat().st_mtime == 7
    assert (folder / "locks" / "0.txt").read_text() == lock["a"].text
    assert (folder / "wheels" / cached.name).samefile(cached)


def test_remains_of_a_killed_build_are_removed_and_the_cache_stays(tmp_path: Path) -> None:
    (tmp_path / "context-ab12" / "wheels").mkdir(parents=True)
    (tmp_path / "wheels").mkdir()
    context.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["wheels"]


def test_the_link_gets_the_catalogue_and_no_templates(tmp_path: Path) -> None:
    context.add_configuration(tmp_path, RECIPES["link"].configuration)
    assert {path.name for path in (tmp_path / "hub_config").iterdir()} == {"factories", "antennas.yaml"}
    assert (tmp_path / "hub_config" / "factories" / "lumi-aif.yaml").is_file()


def test_the_hub_gets_all_of_its_configuration(tmp_path: Path) -> None:
    context.add_configuration(tmp_path, RECIPES["hub"].configuration)
    there = {path.name for path in (tmp_path / "hub_config").iterdir()}
    assert {"jupyterhub_config.py", "parts", "templates", "static", "locale", "factories", "antennas.yaml"} <= there
    assert not list(tmp_path.rglob("__pycache__"))


def test_two_sboms_of_an_image_are_equal_and_those_of_two_images_are_not() -> None:
    def document(moment: str) -> dict[str, object]:
        return {"name": "hub", "documentNamespace": moment, "creationInfo": {"created": moment, "creators": ["syft"]}}

    one = sbom.steady(document("2026-11-01T00:00:00Z"), "sha256:1")
    assert one == sbom.steady(document("2026-11-02T00:00:00Z"), "sha256:1")
    assert one["creationInfo"] == {"created": "2026-01-01T00:00:00Z", "creators": ["syft"]}
    assert one["documentNamespace"] != sbom.steady(document(""), "sha256:2")["documentNamespace"]
