"""The arguments of ``images/build``. Standard library only, since Debian's bare Python parses them first.

When this file is run as a module, it only checks the arguments, or answers ``--help`` and ``--list``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.builder.recipes import RECIPES, Recipe

CHECKOUT = Path(__file__).resolve().parents[2]
OUT = CHECKOUT / "images" / "out"
ARCHITECTURES = ("x86_64", "aarch64")
CUDA = CHECKOUT / "requirements" / "cuda.txt"
CANNOT_WORK = 3  # exit code, the same as of bin/demo


@dataclass(frozen=True)
class Options:
    """The images to build, and the target folder.

    ``frameworks`` is the lock file with the machine-learning frameworks of the image ``notebook-gpu``, or None for an
    image without them; ``index`` is the URL of the package index for that lock file, or None for pip's default;
    ``mirror`` is the URL of the server of Debian's packages, or None for Debian's own; ``cache`` is the folder of
    wheels and layers for later builds. If ``wheels_only`` is set, no image is built.
    """

    recipes: tuple[Recipe, ...]
    arch: str
    frameworks: Path | None
    index: str | None
    mirror: str | None
    out: Path
    cache: Path
    wheels_only: bool
    sbom: bool


def parse(argv: Sequence[str]) -> Options:
    """Return the options. Exits with code 2 and a message on stderr if an argument is wrong.

    ``--help`` and ``--list`` print to stdout and exit with code 0.
    """
    parser = argparse.ArgumentParser(
        prog="images/build",
        description="Build the images as OCI archives below images/out (the notebooks as squashfs, too), an SBOM "
        "(SPDX) beside each.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(RECIPES)}; none: all")
    parser.add_argument("--arch", choices=ARCHITECTURES, default=os.uname().machine, help="else this machine's")
    parser.add_argument(
        "--frameworks",
        default="cuda",
        metavar="cuda|none|FILE",
        help="of notebook-gpu: requirements/cuda.txt, nothing, or a lock of your own (ROCm)",
    )
    parser.add_argument("--index", metavar="URL", help="where the packages of --frameworks FILE are")
    parser.add_argument("--mirror", metavar="URL", help="take Debian's packages from this server")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="else images/out")
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="wheels and layers, kept for the next build; else OUT/cache"
    )
    parser.add_argument("--wheels-only", action="store_true", help="only download the wheels and check them")
    parser.add_argument("--no-sbom", dest="sbom", action="store_false", help="write no SBOM")
    parser.add_argument("--list", action="store_true", help="print the names of the images, and end")
    given = parser.parse_args(argv)
    if given.list:
        print("\n".join(RECIPES))
        parser.exit()
    unknown = [name for name in given.names if name not in RECIPES]
    if unknown:
        parser.error(f"no such image: {', '.join(unknown)} (there are {', '.join(RECIPES)})")
    if given.arch not in ARCHITECTURES:
        parser.error(f"images are built for {' and '.join(ARCHITECTURES)}, not for this machine's {given.arch}")
    frameworks = {"cuda": CUDA, "none": None}.get(given.frameworks, Path(given.frameworks).absolute())
    if frameworks is not None and not frameworks.is_file():
        parser.error(f"--frameworks: neither cuda, nor none, nor a file: {given.frameworks}")
    if given.index is not None and frameworks in (CUDA, None):
        parser.error("--index goes with --frameworks FILE")
    for name, url in (("--index", given.index), ("--mirror", given.mirror)):
        if url is not None and not url.startswith(("https://", "http://")):
            parser.error(f"{name}: no http address: {url}")
    out = given.out.absolute()
    return Options(
        recipes=tuple(recipe for name, recipe in RECIPES.items() if name in (given.names or RECIPES)),
        arch=given.arch,
        frameworks=frameworks,
        index=given.index,
        mirror=given.mirror,
        out=out,
        cache=given.cache.absolute() if given.cache is not None else out / "cache",
        wheels_only=given.wheels_only,
        sbom=given.sbom,
    )


if __name__ == "__main__":
    parse(sys.argv[1:])
