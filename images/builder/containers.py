"""Builds images with buildah, in the builder's own storage."""

from __future__ import annotations

import json
import os
import resource
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images.builder.debian import ARCHITECTURES
from images.builder.options import CHECKOUT
from images.builder.recipes import PREFIX
from images.builder.steps import EPOCH, run


def version() -> str:
    """Return the version in pyproject.toml, which is the tag of every image."""
    return str(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"])


class Storage:
    """The builder's images for one architecture. An image has the same full name here and in its archive.

    ``cache``: the folder in which the images are stored; ``arch``: ``x86_64`` or ``aarch64``. All methods that run
    buildah raise BuildError if it fails.
    """

    def __init__(self, cache: Path, arch: str) -> None:
        folder = cache / f"storage-{arch}"
        self._buildah = ["buildah", "--storage-driver=overlay", f"--root={folder}/root", f"--runroot={folder}/run"]
        self._arch = ARCHITECTURES[arch]
        self._tag = version()

    def name(self, image: str) -> str:
        """Return the full name of an image, with its tag; ``image``: the name of its recipe, such as ``hub``."""
        return f"{PREFIX}{image}:{self._tag}"

    def build(self, image: str, containerfile: Path, context: Path, base: str | None = None) -> None:
        """Build an image from the folder ``context``. Equal contexts on equal bases give equal ids. Raises BuildError.

        ``image``: the name of the recipe; ``base``: the name of the image on which the new image is built; None: the
        Containerfile needs no such image.
        """
        options = ["--isolation=chroot", "--network=host", "--format=oci", "--pull-never", "--no-cache"]
        options += [f"--timestamp={EPOCH}", "--identity-label=false", f"--arch={self._arch}"]
        options += [f"--ulimit={name}={most}:{most}" for name, most in _limits().items()]
        options += [f"--build-arg=SOURCE_DATE_EPOCH={EPOCH}"]
        labels = {"title": f"{PREFIX}{image}", "version": self._tag, "licenses": "BSD-3-Clause"}
        options += [f"--label=org.opencontainers.image.{key}={value}" for key, value in labels.items()]
        options += [] if base is None else [f"--build-arg=BASE=localhost/{self.name(base)}"]
        run([*self._buildah, "build", *options, f"--file={containerfile}", f"--tag={self.name(image)}", context])

    def id(self, image: str) -> str:
        """Return the image's id, without ``sha256:`` before it.

        The id is the digest of the image's configuration, which contains the digests of all layers.
        """
        listed = json.loads(run([*self._buildah, "images", "--json", "--no-trunc", f"localhost/{self.name(image)}"]))
        return str(listed[0]["id"]).removeprefix("sha256:")

    def push(self, image: str, archive: Path) -> None:
        """Write the image to an OCI archive; replace an existing file."""
        fresh = archive.with_name(archive.name + ".new")
        fresh.unlink(missing_ok=True)
        run([*self._buildah, "push", self.name(image), f"oci-archive:{fresh}:{self.name(image)}"])
        fresh.replace(archive)

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """Mount the image's files in a folder, yield the folder's path, and unmount the files after the block."""
        container = run([*self._buildah, "from", "--pull-never", f"localhost/{self.name(image)}"]).strip()
        try:
            yield Path(run([*self._buildah, "mount", container]).strip())
        finally:
            run([*self._buildah, "umount", container])
            run([*self._buildah, "rm", container])

    def prune(self) -> None:
        """Remove images that have no name any more."""
        run([*self._buildah, "rmi", "--prune", "--force"])


def unpacked(root: Path) -> int:
    """Return the total size in bytes of all files below a folder; a file with several hard links counts once."""
    seen, total = set(), 0
    for folder, _, names in os.walk(root):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_size
    return total


def squash(root: Path, target: Path) -> None:
    """Write the files of the folder ``root`` to ``target`` as a squashfs; replace an existing file.

    In the squashfs, uid 0 owns all files, and times after ``EPOCH`` are set to ``EPOCH``. Raises BuildError.
    """
    fresh = target.with_name(target.name + ".new")
    fresh.unlink(missing_ok=True)
    how = ["-noappend", "-comp", "zstd", "-Xcompression-level", "6", "-all-root", "-no-xattrs", "-no-progress"]
    run(["mksquashfs", root, fresh, *how, "-quiet"])  # later times become SOURCE_DATE_EPOCH
    fresh.replace(target)


def _limits() -> dict[str, int]:
    """Return how many open files and processes a build may have, by the name of the limit.

    Without these limits, buildah requests more than a container may set.
    """
    most = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    hard = {name: resource.getrlimit(limit)[1] for name, limit in most.items()}
    return {name: min(limit, 2**20) if limit != resource.RLIM_INFINITY else 2**20 for name, limit in hard.items()}
