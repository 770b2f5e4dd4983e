"""The Jobs that restore a backup: what they mount, when the chart writes them, and what the documentation says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from factoryoperator import stores
from factoryoperator.gateway import read
from tests.helm.test_configuration import written
from tests.helm.test_static import VERSIONS
from tests.support.chart import CHART, VARIANTS, Object, named, objects, program, template, variant

PAGE = (CHART.parents[1] / "docs" / "deployment" / "kubernetes.md").read_text()
FILES = {"hub": "factorygate-20261127T031702Z.tar.gz", "link": "l.tar.gz", "workshops": "w.tar.gz"}
CLAIMS = {part: f"x-factorygate-{part}" for part in FILES}


def restored(name: str, *arguments: str, **files: str) -> list[Object]:
    """Return the objects that the chart renders from ``ci/NAME.yaml`` to restore backups.

    ``arguments``: further arguments of helm; ``files``: the backup file of each part (hub, link, ...).
    """
    return objects(VARIANTS[name], *arguments, more={"restore": files})


def jobs_of(name: str) -> dict[str, Object]:
    """Return the Jobs that the chart renders from ``ci/NAME.yaml``, by part."""
    found = restored(name, "--show-only=templates/restore.yaml", **FILES)
    assert [(one["kind"], one["metadata"]["name"]) for one in found] == [
        ("Job", f"x-factorygate-{part}-restore") for part in FILES
    ]
    return dict(zip(FILES, found, strict=True))


def mounts_of(job: Object) -> list[Object]:
    """Return what the container of a Job mounts."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return list(container["volumeMounts"])


@pytest.fixture(scope="module", params=["together", "apart"])
def topology(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def jobs(topology: str) -> dict[str, Object]:
    """Return the Jobs that the chart renders to restore backups, by part (``hub``, ``link``, ``workshops``)."""
    return jobs_of(topology)


def test_a_job_restores_onto_the_volume_of_its_part_and_changes_no_backup(jobs: dict[str, Object]) -> None:
    for part, job in jobs.items():
        spec = job["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert container["args"][:2] == ["factorygate", "restore"]
        assert {"--overwrite", "--skip-read-only"} <= set(container["args"])
        assert container["args"][-1] == f"/backup/{FILES[part]}"
        claims = {
            one["persistentVolumeClaim"]["claimName"]: one["name"]
            for one in spec["volumes"]
            if "persistentVolumeClaim" in one
        }
        mounts = {one["name"]: one for one in container["volumeMounts"]}
        assert "readOnly" not in mounts[claims[CLAIMS[part]]]
        assert mounts[claims[f"{CLAIMS[part]}-backup"]]["readOnly"] is True
        of_others = claims.keys() - {CLAIMS[part], f"{CLAIMS[part]}-backup"}
        assert all(mounts[claims[one]].get("readOnly") for one in of_others)
        assert "affinity" not in spec  # no pod runs beside which it could be
        assert (job["spec"]["backoffLimit"], spec["restartPolicy"]) == (0, "Never")


def test_a_job_sees_the_files_that_were_backed_up(topology: str, jobs: dict[str, Object]) -> None:
    for part, job in jobs.items():
        backup = mounts_of(named(variant(topology), "CronJob", f"-{part}-backup")["spec"]["jobTemplate"])
        assert {one["mountPath"] for one in backup} - {one["mountPath"] for one in mounts_of(job)} == {
            "/etc/factorygate-backup"  # the program that makes backups
        }


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_is_restored_unless_the_values_say_so(name: str) -> None:
    assert not [one for one in variant(name) if one["metadata"]["name"].endswith("-restore")]


@pytest.mark.parametrize("name", ["together", "apart"])
def test_hub_and_link_do_not_run_where_a_backup_is_restored(name: str) -> None:
    replicas = {
        one["metadata"]["name"]: one["spec"]["replicas"]
        for one in restored(name, link="l.tar.gz")
        if one["kind"] in ("Deployment", "StatefulSet")
    }
    assert {count for pod, count in replicas.items() if not pod.endswith("-proxy")} == {0}


def test_an_upgrade_restores_nothing() -> None:
    done = template(VARIANTS["together"], "--is-upgrade", more={"restore": {"hub": "h.tar.gz"}})
    assert done.returncode != 0
    assert "restore: is for `helm template`" in done.stderr


def test_jobs_are_valid_for_kubernetes_and_so_is_the_pod_of_the_documentation(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(apiVersion: v1\nkind: Pod\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    pod = yaml.safe_load(block)
    (claim,) = (one["persistentVolumeClaim"]["claimName"] for one in pod["spec"]["volumes"] if "emptyDir" not in one)
    assert claim.replace("gateway-", "x-") == f"{CLAIMS['hub']}-backup"
    made = [job for name in ("together", "apart") for job in jobs_of(name).values()]
    file = tmp_path / "restore.yaml"
    file.write_text(yaml.safe_dump_all([*made, pod]))
    versions = [word for version in VERSIONS for word in ("-k", version)]
    validate = [program("kubernetes-validate"), "--strict", *versions, str(file)]
    checked = subprocess.run(validate, capture_output=True, text=True, check=False, timeout=120)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def rows() -> set[str]:
    """Return the folders that the documentation's table of what a restore leaves out names."""
    (table,) = re.findall(r"^\| path in the backup \|.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| `(/[^`]+)` \|", table, re.MULTILINE))


def test_the_documentation_says_where_each_file_comes_from_that_a_job_leaves_out(jobs: dict[str, Object]) -> None:
    read_only = {one["mountPath"] for job in jobs.values() for one in mounts_of(job) if one.get("readOnly")}
    assert len(read_only) > len(FILES)
    left_out = read_only - {"/backup", "/var/lib/factorygate-workshops"}  # the latter is another part's to restore
    assert {one for one in left_out if not any(Path(one).is_relative_to(row) for row in rows())} == set()


def test_each_row_of_the_documentation_is_about_a_folder_that_the_chart_mounts() -> None:
    mounted = {
        one["mountPath"] for name in ("together", "apart") for job in jobs_of(name).values() for one in mounts_of(job)
    }
    unknown = {row for row in rows() if not any(Path(one).is_relative_to(row) for one in mounted)}
    assert unknown == {"/etc/factorygate-catalogue", "/opt/factorygate"}  # only if values have one; the image's own


@pytest.mark.parametrize("part", ["hub", "link", "workshops"])
@pytest.mark.parametrize("name", ["together", "apart"])
def test_the_documentation_names_the_keys_of_the_secret_that_a_backup_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: str
) -> None:
    folder = written(variant(name), part, tmp_path)
    monkeypatch.delenv("FACTORYGATE_WORKSHOPS", raising=False)
    if part == "workshops":
        monkeypatch.setenv("FACTORYGATE_WORKSHOPS", str(folder / "workshops.yaml"))
    gateway = read(folder / "hub.yaml" if part == "hub" else None, folder / "link.yaml" if part == "link" else None)
    kept = [str(one.path).removeprefix(str(tmp_path)) for one in stores.of(gateway, databases=False)]
    assert kept
    places = {one: any(Path(one).is_relative_to(row) for row in (*rows(), "/var/lib")) for one in kept}
    assert [one for one, found in places.items() if not found] == []
    keys = {Path(one).name for one in kept if Path(one).parent == Path("/run/secrets/factorygate")}
    (said,) = re.findall(r"The hub's backup has the keys (.*?)\. The others", PAGE.replace("\n", " "))
    in_page = set(re.findall(r"`([a-z.-]+)`", said)) - {"hub.login"}
    assert keys <= in_page
    if (part, name) == ("hub", "together"):  # with a login provider and workshops
        assert keys == in_page
