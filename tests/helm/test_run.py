"""Runs the chart without a cluster: ``podman kube play`` with the objects that helm renders, and the images that they
name."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import httpx
import pytest

from tests.support.chart import VARIANTS, Object, files, named, objects
from tests.support.kube_play import KubePlay

pytestmark = [
    pytest.mark.long,
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("runc") is None or shutil.which("podman") is None, reason="needs podman and runc"),
    pytest.mark.timeout(900),
]
IMAGES = ("hub", "link", "proxy")
PATIENCE = 240  # seconds
KEYS = {  # keys of the accounts of a factory that does not exist; the link reads them at its start
    name: asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    for name in ("fg1", "fg2", "fgwatch")
}
FACTORY_KEYS = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "it4lia-ssh"}, "stringData": KEYS}


@pytest.fixture(scope="module")
def engine(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubePlay]:
    play = KubePlay(tmp_path_factory.mktemp("play"))
    try:
        for name in IMAGES:
            play.podman("load", "--quiet", f"--input={images}/{name}-{os.uname().machine}.oci.tar")
        yield play
    finally:
        play.close()


def rendered(images: Path, topology: str) -> list[Object]:
    """Return the objects for the demo's values, with the images that were built."""
    tags = {json.loads((images / f"{name}-{os.uname().machine}.json").read_text())["image"] for name in IMAGES}
    (tag,) = {name.rpartition(":")[2] for name in tags}
    image = {"registry": "localhost", "tag": tag, "pullPolicy": "Never"}
    more = {"topology": topology, "image": image, "backup": {"enabled": False}}
    # Without a cluster the services' names do not resolve, so all pods share one network and its address.
    hosts = [{"ip": "127.0.0.1", "hostnames": [f"x-factorygate-{part}" for part in ("hub", "link", "proxy-api")]}]
    return [*objects(VARIANTS["demo"], more={**more, "hostAliases": hosts}), FACTORY_KEYS]


def until_well(play: KubePlay, url: str) -> dict[str, object]:
    """Wait until the hub is connected to its link; return the status page's data."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            status: dict[str, object] = httpx.get(f"{url}/hub/status.json", timeout=10).raise_for_status().json()
            if status["link"] == "ok":
                return status
        except (httpx.HTTPError, ValueError):
            pass
        time.sleep(0.5)  # no event reports that a pod is up
    pytest.fail(play.logs())


def log_in(url: str, name: str, password: str) -> httpx.Client:
    client = httpx.Client(base_url=url, follow_redirects=True, timeout=30)
    form = client.get("/hub/login").text
    found = re.search(r'name="_xsrf" value="([^"]+)"', form)
    assert found, form[:2000]
    answer = client.post("/hub/login", data={"username": name, "password": password, "_xsrf": found[1]})
    assert answer.status_code == 200
    assert name in client.get("/hub/home").text
    return client


@pytest.mark.parametrize("topology", ["together", "apart"])
def test_the_chart_runs_stops_and_is_there_again(engine: KubePlay, images: Path, topology: str) -> None:
    found = rendered(images, topology)
    secret = files(named(found, "Secret", "x-factorygate"))
    url = f"http://{engine.address}:8000"
    engine.play(found)
    try:
        status = until_well(engine, url)
        assert [factory["id"] for factory in status["factories"]] == ["it4lia"]  # type: ignore[index,attr-defined]
        with contextlib.closing(log_in(url, "ada", secret["demo-ada"])) as ada:
            assert ada.get("/hub/spawn/ada").status_code == 200

            # Ports that are not routed by the proxy are closed: hub and link answer nobody outside of the pod.
            for port in (8081, 8001, 8090):
                if topology == "together":
                    with pytest.raises(httpx.ConnectError):
                        httpx.get(f"http://{engine.address}:{port}/", timeout=5)
            metrics = httpx.get(f"http://{engine.address}:9099/metrics", timeout=10)
            assert "factorygate_factory_up" in metrics.text
            token = {"Authorization": f"Bearer {secret['metrics-token']}"}
            assert "jupyterhub_" in httpx.get(f"{url}/hub/metrics", headers=token, timeout=10).text
            assert httpx.get(f"{url}/hub/api/users", headers=token, timeout=10).status_code == 403

            # Stop and start with the same volumes: cookies and people stay valid.
            engine.down(found)
            with pytest.raises(httpx.TransportError):
                ada.get("/hub/health")
            engine.play(found)
            until_well(engine, url)
            assert "ada" in ada.get("/hub/home").text
    finally:
        engine.down(found)
