"""Renders the chart with the real helm; returns its objects, its pods, and helm's refusals."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.install import environments as install

CHART = install.CHECKOUT / "helm" / "factorygate"
VARIANTS = {path.stem: path for path in sorted((CHART / "ci").glob("*.yaml"))}
Object = dict[str, Any]


def program(name: str) -> str:
    """Return the path of helm, kubectl or kubernetes-validate; skip the test if it is not installed."""
    found = install.program_folder() / "helm" / "bin" / name
    if not found.exists():
        pytest.skip(f"needs {name}: python3 -m testbed.install helm")
    return os.fspath(found)


def helm(*arguments: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run helm until it ends; return its result, also if helm fails.

    ``env``: more environment variables for helm, which has no cluster unless they include KUBECONFIG.
    """
    return subprocess.run(
        [program("helm"), *arguments],
        input=stdin,
        env={**os.environ, "KUBECONFIG": "/nonexistent", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def template(values: Path, *arguments: str, more: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``helm template`` for the chart with a file of values; return the result, also if helm fails.

    ``arguments``: more arguments for helm; ``more``: values that replace those of the file.
    """
    also = ("--values", "-") if more is not None else ()
    stdin = None if more is None else json.dumps(dict(more), default=str)  # JSON is valid YAML
    return helm("template", "x", os.fspath(CHART), "--values", os.fspath(values), *also, *arguments, stdin=stdin)


def objects(values: Path, *arguments: str, more: Mapping[str, Any] | None = None) -> list[Object]:
    """Return the objects that the chart renders from a file of values. Fails the test if helm fails.

    ``arguments``: more arguments for helm; ``more``: values that replace those of the file.
    """
    done = template(values, *arguments, more=more)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


@cache
def variant(name: str) -> Sequence[Object]:
    """Return the objects that the chart renders from ``ci/NAME.yaml``; do not change them."""
    return objects(VARIANTS[name])


def named(found: Sequence[Object], kind: str, name: str) -> Object:
    """Return the only object of a kind whose name has this ending."""
    (one,) = (thing for thing in found if thing["kind"] == kind and thing["metadata"]["name"].endswith(name))
    return one


def pods(found: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Yield each pod in the objects: a title, and its template (metadata and spec)."""
    for thing in found:
        title = f"{thing['kind']}/{thing['metadata']['name']}"
        match thing["kind"]:
            case "Pod":
                yield title, thing
            case "Deployment" | "StatefulSet" | "Job":
                yield title, thing["spec"]["template"]
            case "CronJob":
                yield title, thing["spec"]["jobTemplate"]["spec"]["template"]


def files(thing: Object) -> dict[str, str]:
    """Return the texts in a ConfigMap or a Secret, by key; those of a Secret are decoded from base64."""
    encoded = thing.get("data", {}) if thing["kind"] == "Secret" else {}
    plain = thing.get("stringData", {}) if thing["kind"] == "Secret" else thing["data"]
    return {name: base64.b64decode(value).decode() for name, value in encoded.items()} | dict(plain)
