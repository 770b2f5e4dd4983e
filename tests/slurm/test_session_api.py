"""A whole session by the API: start at a factory, work, stop; and the resources that the job really got."""

from __future__ import annotations

import json

import pytest

from tests.support.gateway import Gateway, eventually

LOOK = """
import json, os, importlib.metadata
print(json.dumps({
    "cluster": os.environ["SLURM_CLUSTER_NAME"], "partition": os.environ["SLURM_JOB_PARTITION"],
    "gpus": os.environ.get("SLURM_GPUS_ON_NODE"), "cpus": os.environ.get("SLURM_CPUS_ON_NODE"),
    "memory": os.environ.get("SLURM_MEM_PER_NODE"), "job": os.environ["SLURM_JOB_ID"],
    "environment": os.environ["FACTORYGATE_ENVIRONMENT"], "size": os.environ["FACTORYGATE_SIZE"],
    "factory": os.environ["FACTORYGATE_FACTORY"], "usersite": os.environ["PYTHONNOUSERSITE"],
    "uid": os.getuid(), "cwd": os.getcwd(),
    "have": [importlib.metadata.version(n) for n in ("jupyterlab", "numpy", "pandas", "matplotlib", "dask")],
}))
"""


def test_start_work_stop(gateway: Gateway) -> None:
    factory = gateway.factories["it4lia"]
    answer = gateway.start("ada", "api-way", factory="it4lia", size="gpu-1", hours=1)
    assert answer.status_code in (201, 202), answer.text
    gateway.wait_ready("ada", "api-way")
    session = gateway.session("ada", "api-way")
    assert session is not None and session["state"] == "running" and session["job"] in factory.jobs()

    notebook = gateway.notebook("ada", "api-way")
    seen = json.loads(notebook.run(LOOK))
    assert (seen["cluster"], seen["partition"], seen["gpus"]) == ("it4lia", "boost_usr_prod", "1")
    assert (seen["factory"], seen["size"], seen["environment"]) == ("it4lia", "gpu-1", session["choice"]["environment"])
    assert seen["job"] == session["job"] and seen["cpus"] == "8" and seen["usersite"] == "1"

    text = {"type": "file", "format": "text", "content": "one\n"}
    assert notebook.request("PUT", "/api/contents/note.txt", json=text).status_code in (200, 201)
    assert notebook.request("GET", "/api/contents/note.txt").json()["content"] == "one\n"
    assert notebook.request("DELETE", "/api/contents/note.txt").status_code == 204

    gateway.stopped("ada", "api-way")
    eventually(lambda: session["job"] not in factory.jobs(), what="the job is gone from squeue")
    model = gateway.server("ada", "api-way")
    assert model is None or not model["ready"]


@pytest.mark.parametrize(
    ("factory", "size", "gpus", "partition"),
    [("lumi-aif", "gcd-2", "2", "small-g"), ("brainpp", "gpu-4", "4", "common")],
)
def test_sizes_are_what_was_promised(gateway: Gateway, factory: str, size: str, gpus: str, partition: str) -> None:
    catalogue = {f["id"]: f for f in catalogue_of(gateway, "grace")}
    promised = next(s["size"] for s in catalogue[factory]["sizes"] if s["size"]["id"] == size)
    try:
        gateway.started("grace", "sizes", factory=factory, size=size, hours=0.5)
        seen = json.loads(gateway.notebook("grace", "sizes").run(LOOK))
    finally:
        gateway.stopped("grace", "sizes")
    assert (seen["cluster"], seen["gpus"], seen["partition"]) == (factory, gpus, partition)
    assert int(seen["cpus"]) == promised["cores"]
    assert int(seen["memory"]) == pytest.approx(promised["memory_gb"] * 10**9 / 2**20, rel=0.03)


def catalogue_of(gateway: Gateway, user: str) -> list[dict]:  # type: ignore[type-arg]
    import httpx

    headers = {"Authorization": f"Bearer {gateway.token(user)}"}
    answer = httpx.get(f"{gateway.root}/services/factories/api/factories", headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    found: list[dict] = answer.json()  # type: ignore[type-arg]
    return found


def test_an_empty_body_takes_the_smallest_size_and_then_repeats(gateway: Gateway) -> None:
    user = gateway.make_user()
    gateway.started(user)
    first = gateway.session(user)
    assert first is not None and first["choice"]["factory"] == min(gateway.factories)
    gateway.stopped(user)
    gateway.started(user, factory="it4lia", size="gpu-2", hours=0.5)
    gateway.stopped(user)
    gateway.started(user)
    again = gateway.session(user)
    assert again is not None and (again["choice"]["factory"], again["choice"]["size"]) == ("it4lia", "gpu-2")
    gateway.stopped(user)


def test_estimate_names_its_basis(gateway: Gateway) -> None:
    import httpx

    headers = {"Authorization": f"Bearer {gateway.token('ada')}"}
    url = f"{gateway.root}/services/factories/api/factories/it4lia/estimate"
    answer = httpx.get(url, params={"size": "gpu-1", "hours": 1}, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["basis"] == "test-only" and answer.json()["start"] is not None
    assert httpx.get(url, params={"size": "no-such", "hours": 1}, headers=headers, timeout=60).status_code == 400
