"""The chart without a real cluster: podman runs the objects that helm installs.

A factory of the testbed is behind sshd.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import shutil
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page

from factorylink.catalogue import loading
from factorylink.ledger import migrations
from testbed.demo.folder import environment
from testbed.install import environments as install
from testbed.network.login_side import Isolation, ca_key
from testbed.network.namespaces import LOGIN
from testbed.slurm import cluster as slurm
from testbed.slurm.cluster import SlurmCluster
from tests.browser.test_first_session import choose, log_in, open_start, run_cell
from tests.helm.conftest import IMAGES
from tests.support import podman
from tests.support.chart import VARIANTS, Object, named, objects
from tests.support.gateway import Gateway, eventually
from tests.support.kube_play import KubePlay
from tests.support.kubernetes import Release, cluster
from tests.unit.test_migrations import load
from tests.unit.test_store_schemas import BEFORE_NAMES_OF_SERVERS, head, make_old, step

pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.slurm, pytest.mark.timeout(1200)]
PATIENCE = 240  # seconds
FACTORY, PERSON = "it4lia", "ada"
PARTS = ("hub", "link", "workshops")  # those that have a volume and backups
RECORDED = (
    Path(__file__).parents[1] / "unit" / "recorded" / "gateway-2026-11-27" / "ledger.sql"
)  # a ledger of an earlier release
# Ports that only the processes of the gateway may open, by Service.
INNER = {"hub": 8081, "proxy-api": 8001, "link": 8443, "workshops": 8444}


@pytest.fixture(scope="module")
def engine(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubePlay]:
    podman.require()
    play = KubePlay(tmp_path_factory.mktemp("play"))
    try:
        for name in IMAGES:
            play.podman.load(images, name)
        yield play
    finally:
        play.close()


@pytest.fixture(scope="module")
def factory(engine: KubePlay) -> Iterator[SlurmCluster]:
    """Start a Slurm in networks of its own, which the pods can reach only through its sshd."""
    programs = install.program_folder()
    state = programs / "tested-chart"
    shutil.rmtree(state, ignore_errors=True)
    known = loading.load(install.CHECKOUT / "hub_config" / "factories")[FACTORY]
    made = slurm.up(known, state, programs / "slurm", gpu_nodes=1, isolation=Isolation())
    try:
        assert made.network is not None
        engine.reach(made.network)
        yield made
    finally:
        made.down()
        shutil.rmtree(state, ignore_errors=True)


@dataclass
class Played:
    """The chart, installed in a simulated cluster that only stores objects, with its pods run by podman."""

    topology: str
    release: Release
    engine: KubePlay
    factory: SlurmCluster
    values: dict[str, Any]
    folder: Path

    def install(self) -> None:
        """Install the release, start its pods, and wait until the hub is connected to its link."""
        self.release.put("install", "demo", self.values)
        self.start()

    def start(self) -> None:
        """Start the pods, and wait until the hub is connected to its link."""
        keys = {"ca": ca_key(self.factory.folder.parent).read_text()}
        access: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "it4lia-ssh"}, "stringData": keys}
        self.engine.play([*self.release.stored.listed(), access])
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError, ValueError):
                if httpx.get(f"{self.url}/hub/status.json", timeout=10).raise_for_status().json()["link"] == "ok":
                    return
            time.sleep(0.5)  # no event reports that a pod is up
        pytest.fail(self.engine.podman.logs())

    def back_up(self, part: str) -> str:
        """Run the Job that makes a part's backups; return the name of the file on the volume of its backups."""
        stored = self.release.stored.listed()
        job = named(stored, "CronJob", f"-{part}-backup")
        said = self.engine.run(job | {"spec": job["spec"]["jobTemplate"]["spec"]}, stored)
        found = re.search(r"^/backup/(factorygate-\S+\.tar\.gz): ", said, re.MULTILINE)
        assert found is not None, said
        return found[1]

    def restore(self, files: dict[str, str], changed: Sequence[Object] = ()) -> dict[str, str]:
        """Run the Jobs that restore backups, as an operator does; return the output of each Job, by part.

        ``files``: the backup file of each part; ``changed``: ConfigMaps that replace those of the release.
        """
        more = {**self.values, "restore": files}
        jobs = objects(VARIANTS["demo"], "--show-only=templates/restore.yaml", more=more)
        names = {thing["metadata"]["name"] for thing in changed}
        stored = [thing for thing in self.release.stored.listed() if thing["metadata"]["name"] not in names]
        return {part: self.engine.run(job, [*stored, *changed]) for part, job in zip(files, jobs, strict=True)}

    @property
    def url(self) -> str:
        """Return the gateway's address for people."""
        return f"http://{self.engine.address('public')}:8000"

    @property
    def secrets(self) -> dict[str, str]:
        """Return the content of the chart's own Secret."""
        return {name: value.decode() for name, value in self.release.secret("x-factorygate").items()}

    @property
    def gateway(self) -> Gateway:
        """Return a client of the hub's API and of the factory's scheduler."""
        there = {"slurm_conf": "", "env": self.factory.env, "prefix": list(self.factory.prefix)}
        file = self.folder / "demo.json"
        told = {
            "hub_url": self.url,
            "users": [{"name": PERSON, "password": self.secrets[f"demo-{PERSON}"]}],
            "admin_token": self.secrets["admin-token"],
            "factories": {FACTORY: there},
            "pids": {},
        }
        file.write_text(json.dumps(told))
        return Gateway(file)


def values(images: Path, topology: str, found: SlurmCluster) -> dict[str, Any]:
    """Return the values that differ from those of the demo: the built images and the running factory."""
    tags = {podman.line(images, name)["image"] for name in IMAGES}
    (tag,) = {name.rpartition(":")[2] for name in tags}
    assert found.network is not None
    access: Any = found.access_fields()
    access["transport"]["credentials"] = {"kind": "ca"}
    access["environments"] = [environment(install.program_folder()).model_dump(mode="json", exclude_defaults=True)]
    egress = [{"cidr": f"{found.network.hosts[LOGIN]}/32", "ports": [22]}]
    return {
        "topology": topology,
        "image": {"registry": "localhost", "tag": tag, "pullPolicy": "Never"},
        "hostAliases": [{"ip": "192.0.2.40", "hostnames": ["db.example.org"]}],
        "factories": {FACTORY: {"existingSecret": "it4lia-ssh", "egress": egress, "access": access}},
        "workshops": {
            "enabled": True,
            "pools": [{"id": "class", "factory": FACTORY, "sizes": ["gpu-1"], "seats": 8}],
        },
    }


@pytest.fixture(scope="module", params=["together", "apart"])
def played(
    request: pytest.FixtureRequest,
    images: Path,
    engine: KubePlay,
    factory: SlurmCluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Played]:
    """Install the chart and start its pods."""
    folder = tmp_path_factory.mktemp("release")
    with cluster(folder) as (stored, config):
        told = values(images, request.param, factory)
        made = Played(request.param, Release("x", stored, config), engine, factory, told, folder)
        try:
            made.install()
            yield made
        finally:
            engine.down()
            engine.remove_claims(keep=())


def started(gateway: Gateway) -> None:
    """Start the person's server, unless it runs already."""
    if gateway.server(PERSON) is None:
        answer = gateway.start(PERSON, factory=FACTORY, size="gpu-1", hours=1)
        assert answer.status_code in (201, 202), answer.text
    gateway.wait_ready(PERSON, timeout=PATIENCE)


def test_the_gateway_knows_its_factory_and_shows_numbers_to_those_who_may(played: Played) -> None:
    status = httpx.get(f"{played.url}/hub/status.json", timeout=10).json()
    assert [factory["id"] for factory in status["factories"]] == [FACTORY]
    link = "public" if played.topology == "together" else "link"
    for service, port, metric in ((link, 9099, "factorygate_factory_up"), ("public", 8002, "requests_api")):
        assert metric in httpx.get(f"http://{played.engine.address(service)}:{port}/metrics", timeout=10).text
    token = {"Authorization": f"Bearer {played.secrets['metrics-token']}"}
    assert "jupyterhub_" in httpx.get(f"{played.url}/hub/metrics", headers=token, timeout=10).text
    assert httpx.get(f"{played.url}/hub/api/users", headers=token, timeout=10).status_code == 403


def test_nobody_without_a_certificate_gets_an_answer_of_hub_link_and_proxy(played: Played) -> None:
    if played.topology == "together":  # these ports listen on the pod's loopback only
        for port in (*INNER.values(), 8090, 8092):
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"http://{played.engine.address('public')}:{port}/", timeout=5)
        return
    anybody, hub = without_names(), without_names()
    certificate = played.release.secret("x-factorygate-hub-tls")
    files = [played.folder / name for name in ("tls.crt", "tls.key")]
    for file in files:
        file.write_bytes(certificate[file.name])
    hub.load_cert_chain(*files)
    for service, port in (*INNER.items(), ("link", 8090), ("workshops", 8092)):
        url = f"https://{played.engine.address(service)}:{port}/"
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            httpx.get(url, verify=anybody, timeout=10)
        assert httpx.get(url, verify=hub, timeout=10).status_code < 500


def test_workshops_answer_through_the_proxy_and_on_the_hub_s_pages(played: Played, page: Page) -> None:
    health = f"{played.url}/services/workshops/health"
    eventually(lambda: httpx.get(health, timeout=10).status_code == 200, PATIENCE, what="the service answers")
    log_in(page, played.gateway, PERSON)
    page.goto(f"{played.gateway.hub}/workshops")
    page.get_by_role("link", name="New workshop").wait_for()  # the page has it only if the service answers the hub
    table = played.engine.claim("x-factorygate-workshops") / "workshops-projects.json"
    eventually(table.exists, PATIENCE, what="the link gets its table")


def without_names() -> ssl.SSLContext:
    """Return TLS settings for a client that accepts a server of any name."""
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def test_the_hub_finds_hosts_that_only_the_values_name(played: Played) -> None:
    code = (
        "import asyncio, aiohttp\n"
        "async def main(): return await aiohttp.DefaultResolver().resolve('db.example.org')\n"
        "print(asyncio.run(main())[0]['host'])"
    )
    (container,) = played.engine.podman("ps", "--filter=name=-hub$", "--format={{.Names}}").stdout.split()
    assert played.engine.podman("exec", container, "python", "-c", code).stdout.split() == ["192.0.2.40"]


def test_a_person_logs_in_with_a_browser_and_a_cell_prints_42(played: Played, page: Page) -> None:
    gateway = played.gateway
    log_in(page, gateway, PERSON)
    open_start(page, gateway, PERSON, "browser")
    choose(page, "factory", FACTORY)
    choose(page, "size", "gpu-1")
    page.locator("#fg-start-button").click()
    page.wait_for_url(re.compile(rf"/user/{PERSON}/browser/lab"), timeout=PATIENCE * 1000)
    assert run_cell(page, "print(6 * 7)", "42").strip() == "42"
    gateway.stopped(PERSON, "browser")


def test_pods_that_stop_and_start_lose_no_login_and_no_session(played: Played) -> None:
    gateway = played.gateway
    started(gateway)
    kernel = gateway.notebook(PERSON).kernel()
    assert gateway.notebook(PERSON).run("kept = 41\nprint(kept + 1)", kernel) == "42\n"
    with contextlib.closing(gateway.browser_session(PERSON)) as browser:
        played.engine.down()
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{gateway.hub}/health", timeout=5)
        played.start()
        home = browser.get(f"{played.url}/hub/home")
        assert (home.status_code, home.url.path) == (200, "/hub/home")
    gateway = played.gateway
    eventually(lambda: (gateway.server(PERSON) or {}).get("ready"), PATIENCE, what="the hub knows the server again")
    assert gateway.notebook(PERSON).run("print(kept + 1)", kernel, PATIENCE) == "42\n"


def test_a_release_that_is_installed_again_adopts_the_jobs_that_run(played: Played) -> None:
    gateway = played.gateway
    started(gateway)
    kernel = gateway.notebook(PERSON).kernel()
    assert gateway.notebook(PERSON).run("kept = 41\nprint(kept + 1)", kernel) == "42\n"
    jobs = gateway.factories[FACTORY].jobs()
    before, token = played.secrets, gateway.token(PERSON)

    played.release.uninstall()
    played.engine.down()
    played.engine.remove_claims(keep=played.release.stored.names("PersistentVolumeClaim"))
    assert gateway.factories[FACTORY].jobs() == jobs

    played.install()
    assert played.secrets == before
    gateway = played.gateway
    eventually(lambda: (gateway.server(PERSON) or {}).get("ready"), PATIENCE, what="the hub knows the server again")
    assert gateway.notebook(PERSON, token=token).run("print(kept + 1)", kernel, PATIENCE) == "42\n"
    assert gateway.factories[FACTORY].jobs().keys() == jobs.keys()
    gateway.stopped(PERSON)


def test_lost_volumes_come_back_from_their_backups(played: Played) -> None:
    gateway = played.gateway
    started(gateway)
    kernel, token = gateway.notebook(PERSON).kernel(), gateway.token(PERSON)
    assert gateway.notebook(PERSON).run("kept = 41\nprint(kept + 1)", kernel) == "42\n"
    jobs = gateway.factories[FACTORY].jobs()
    files = {part: played.back_up(part) for part in PARTS}

    played.engine.down()
    played.engine.remove_claims(keep={f"x-factorygate-{part}-backup" for part in PARTS})
    settings = copy.deepcopy(named(played.release.stored.listed(), "ConfigMap", "x-factorygate-hub"))
    settings["data"]["hub.yaml"] += "# changed since the backup\n"
    said = played.restore(files, [settings])
    left = "Not restored, since it is on a read-only file system: "
    assert [line for line in "".join(said.values()).splitlines() if line.startswith(left)] == [
        f"{left}/etc/factorygate/hub.yaml (hub.yaml)."
    ]

    played.start()
    gateway = played.gateway
    eventually(lambda: (gateway.server(PERSON) or {}).get("ready"), PATIENCE, what="the hub knows the server again")
    assert gateway.notebook(PERSON, token=token).run("print(kept + 1)", kernel, PATIENCE) == "42\n"
    assert gateway.factories[FACTORY].jobs().keys() == jobs.keys()
    table = played.engine.claim("x-factorygate-workshops") / "workshops-projects.json"
    assert table.exists()
    gateway.stopped(PERSON)


def test_databases_of_an_earlier_release_are_migrated_as_the_pods_start(played: Played) -> None:
    played.engine.down()
    hub = played.engine.claim("x-factorygate-hub") / "jupyterhub.sqlite"
    make_old(hub)
    ledger = played.engine.claim("x-factorygate-link") / "link" / "ledger.sqlite"
    for file in ledger.parent.glob("ledger.sqlite*"):
        file.unlink()
    load(RECORDED, ledger)
    os.chown(ledger, 10001, 0)
    played.start()
    assert (step(hub), step(ledger)) == (head(hub), migrations.head())
    assert hub.with_name(f"{hub.name}.at-{BEFORE_NAMES_OF_SERVERS}").exists()
    assert len(list(ledger.parent.glob("ledger.sqlite.at-*"))) == 1
