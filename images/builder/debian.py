"""Makes the Debian root file system on which the images are built, as a tar archive."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from images.builder.options import CHECKOUT
from images.builder.steps import CannotWork, run

SUITE = "trixie"
LISTS = CHECKOUT / "images" / "apt"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
EMULATION = Path("/proc/sys/fs/binfmt_misc")  # has an entry for each architecture whose programs are emulated
# Folders that are left out of an image, except the licences.
_LEFT_OUT = ("doc", "doc-base", "groff", "info", "linda", "lintian", "locale", "man")
# Mount points. The folders for state are writable for root's group, whatever the UID is.
_FOLDERS = {"etc/factorygate": "0755", "run/secrets/factorygate": "0755",
            "run/factorygate": "0770", "run/factorygate-workshops": "0770",
            "var/lib/factorygate": "0770"}  # fmt: skip
_HOOKS = (
    *(f'install --directory --mode={mode} "$1/{folder}"' for folder, mode in _FOLDERS.items()),
    # Container engines and ch-run mount the machine's own files over these.
    'rm -f "$1/etc/resolv.conf" "$1/etc/hostname" && : > "$1/etc/resolv.conf" && : > "$1/etc/hostname"',
    'rm -rf "$1"/var/cache/* "$1"/var/log/*',
)


def packages(lists: Iterable[str]) -> list[str]:
    """Return the names of the packages in these lists, sorted, each once.

    A list is a file of ``images/apt``, named without ``.txt``.
    """
    lines = [line.partition("#")[0].strip() for name in lists for line in (LISTS / f"{name}.txt").open()]
    return sorted({line for line in lines if line})


def make_root(target: Path, lists: Iterable[str], arch: str, mirror: str | None) -> None:
    """Write a Debian root file system to the file ``target``, as a tar archive. Raises BuildError.

    ``lists``: files of ``images/apt``, named without ``.txt``, with the names of the packages to install; ``arch``: a
    key of ``ARCHITECTURES``; ``mirror``: the URL of the package server, None: Debian's own.
    """
    include = ",".join(packages(lists))
    options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    options += ["--dpkgopt=path-include=/usr/share/doc/*/copyright", "--dpkgopt=force-unsafe-io"]
    options += [f"--customize-hook={hook}" for hook in _HOOKS]
    options += ["--skip=output/dev", "--quiet", "--variant=minbase", f"--architectures={ARCHITECTURES[arch]}"]
    sources = [] if mirror is None else [mirror]
    run(["mmdebstrap", *options, f"--include={include}", SUITE, target, *sources])


def check_emulation(arch: str, machine: str) -> None:
    """Raise CannotWork with an explanation if this machine cannot run programs of the architecture ``arch``.

    ``machine``: this machine's own architecture.
    """
    if arch != machine and not (EMULATION / f"qemu-{arch}").exists():
        raise CannotWork(
            f"Programs for {arch} do not run on this machine. Its wheels are complete; for the images build on such "
            "a machine, or install Debian's qemu-user-binfmt."
        )
