"""Checks of the chart with helm and Kubernetes' own schemas, without running anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.support.chart import CHART, VARIANTS, helm, program, template, variant

CHECKOUT = CHART.parents[1]
VERSIONS = ("1.30", "1.34", "1.37")
# Kinds that are not part of Kubernetes; the operators that define them have their schemas.
FOREIGN = {"HTTPRoute", "PrometheusRule", "ServiceMonitor"}


def test_the_chart_has_variants_to_check() -> None:
    assert {"apart", "demo", "httproute", "ingress", "together"} <= VARIANTS.keys()


@pytest.mark.parametrize("name", VARIANTS)
def test_lint_finds_nothing(name: str) -> None:
    done = helm("lint", "--strict", str(CHART), "--values", str(VARIANTS[name]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("--is-upgrade",)])
def test_manifests_are_valid_for_kubernetes(tmp_path: Path, options: tuple[str, ...]) -> None:
    rendered = []
    for name, values in VARIANTS.items():
        done = template(values, *options)
        assert done.returncode == 0, done.stderr
        found = [one for one in yaml.safe_load_all(done.stdout) if one and one["kind"] not in FOREIGN]
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all(found))
        rendered.append(str(file))
    versions = [word for version in VERSIONS for word in ("-k", version)]
    validate = [program("kubernetes-validate"), "--strict", *versions, *rendered]
    checked = subprocess.run(validate, capture_output=True, text=True, check=False, timeout=120)
    lines = (checked.stdout + checked.stderr).splitlines()
    assert checked.returncode == 0, [line for line in lines if " passed for " not in line]
    assert not [line for line in lines if line.startswith(("WARN", "ERROR"))]
    for version in VERSIONS:
        assert any(line.endswith(f"against version {version}") for line in lines)


def test_kinds_without_a_schema_are_those_we_know() -> None:
    kinds = {one["kind"] for name in VARIANTS for one in variant(name)}
    assert kinds >= FOREIGN
    foreign = [one for name in VARIANTS for one in variant(name) if one["kind"] in FOREIGN]
    groups = {one["apiVersion"].partition("/")[0] for one in foreign}
    assert groups == {"gateway.networking.k8s.io", "monitoring.coreos.com"}


def test_no_object_gives_rights_in_the_cluster() -> None:
    kinds = {one["kind"] for name in VARIANTS for one in variant(name)}
    assert not kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount"}


def test_the_schema_of_the_values_is_current() -> None:
    made = subprocess.run(
        [sys.executable, "helm/schema.py"],
        cwd=CHECKOUT,
        env={"PYTHONPATH": f"{CHECKOUT}/spawners:{CHECKOUT}/extensions:{CHECKOUT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    path = CHART / "values.schema.json"
    assert path.read_text() == made.stdout, f"python helm/schema.py > {path.relative_to(CHECKOUT)}"


def test_every_part_of_the_schema_refuses_unknown_keys() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    open_ended = [path for path in _open(schema, "") if not path.startswith(OPEN)]
    assert open_ended == []


# Objects that may have any key, since Kubernetes, Helm or JupyterHub defines the keys.
OPEN = (
    "/properties/global",
    "/properties/hub/properties/config/additionalProperties",
    "/definitions/affinity/properties/",
    "/allOf",
)


def _open(schema: object, path: str) -> list[str]:
    """Return the paths of those parts of a schema that are objects with arbitrary keys."""
    if isinstance(schema, list):
        return [found for number, one in enumerate(schema) for found in _open(one, f"{path}/{number}")]
    if not isinstance(schema, dict):
        return []
    here = [path] if schema.get("type") == "object" and schema.get("maxProperties") != 0 else []
    if "additionalProperties" in schema:
        here = []
    return here + [found for key, one in schema.items() for found in _open(one, f"{path}/{key}")]


def test_values_and_schema_have_the_same_keys() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert _keys(values) == _named(schema) - {"global"}


def _keys(values: object, path: str = "") -> set[str]:
    if not isinstance(values, dict):
        return set()
    return {f"{path}{key}" for key in values} | {
        found for key, one in values.items() for found in _keys(one, f"{path}{key}.") if key not in FREE
    }


FREE = {"resources", "labels"}  # objects whose keys the chart does not define


def _named(schema: dict[str, object], path: str = "", root: dict[str, object] | None = None) -> set[str]:
    """Return the dotted names of all values that ``values.yaml`` defines."""
    root = root or schema
    found: set[str] = set()
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    for key, one in properties.items():
        found.add(f"{path}{key}")
        target = one
        kind = str(one.get("$ref", "")).rpartition("/")[2]
        if kind in ("image", "claim", "probe", "secretKey", "egressOnly"):
            target = root["definitions"][kind]  # type: ignore[index]
        if isinstance(target, dict) and key not in FREE:
            found |= _named(target, f"{path}{key}.", root)
    return found
