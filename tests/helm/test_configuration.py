"""The configuration that the chart writes for hub, link and workshops service, as these programs read it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.loading import load_link_config, offered
from factorylink.config import LinkConfig, SshTransportSettings
from factorylink.projects import book, workshop_table
from factoryspawner.config import hub_config
from factoryspawner.config.hub_config import HubConfig
from factoryspawner.login.password_file import check_password, read_passwords
from tests.support.chart import CHART, VARIANTS, Object, files, named, objects, pods, variant
from workshops import config as workshops_config
from workshops.config import WorkshopsConfig

CHECKOUT = CHART.parents[1]
HOST_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIKxyfXLJVRIUjZb7YnKJvAVlBo33XbQQpSvYv6YUEDvF"
PYTHONPATH = f"{CHECKOUT}/spawners:{CHECKOUT}/extensions"
ROOTS = ("/etc/factorygate", "/run/secrets", "/var/lib/factorygate", "/run/factorygate", "/opt/factorygate")


def written(found: Any, pod_of: str, root: Path) -> Path:
    """Write the files that a container would see into ``root`` instead of ``/``; return its folder etc/factorygate.

    Paths in YAML and Python files are changed to paths below ``root``. Of a Secret that the chart does not make, each
    mounted key gets a file. ``found``: the rendered objects; ``pod_of``: the container's name.
    """
    ((container, pod),) = (
        (one, pod)
        for title, pod in pods(found)
        if title.startswith(("Deployment", "StatefulSet"))
        for one in pod["spec"]["containers"]
        if one["name"] == pod_of
    )
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    for mount in container["volumeMounts"]:
        volume, folder = volumes[mount["name"]], root / mount["mountPath"].lstrip("/")
        for name, text in _content(found, volume).items():
            if mount.get("subPath", name) != name:
                continue
            path = folder if "subPath" in mount else folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".yaml", ".py"):
                for top in ROOTS:
                    text = text.replace(top, f"{root}{top}")
            path.write_text(text)
            path.chmod(0o600 if "secret" in volume else 0o644)
        folder.parent.mkdir(parents=True, exist_ok=True)
    for top in ROOTS[1:4]:
        (root / top[1:]).mkdir(parents=True, exist_ok=True)
    installed = root / "opt/factorygate/hub_config"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(CHECKOUT / "hub_config")
    return root / "etc/factorygate"


def _content(found: list[Object], volume: Object) -> Mapping[str, str]:
    source = volume.get("configMap") or volume.get("secret")
    if source is None:
        return {}
    kind, name = ("ConfigMap", source["name"]) if "configMap" in volume else ("Secret", source["secretName"])
    made = [files(thing) for thing in found if thing["kind"] == kind and thing["metadata"]["name"] == name]
    content = made[0] if made else {}
    if "items" in source:
        return {item["path"]: content.get(item["key"], "0" * 64) for item in source["items"]}
    return content


MATERIAL = "/run/secrets/factorygate-material"


@pytest.mark.parametrize("name", VARIANTS)
def test_the_hub_reads_its_file(tmp_path: Path, name: str) -> None:
    config = hub_config.load(written(variant(name), "hub", tmp_path) / "hub.yaml")
    assert config.public_url == yaml.safe_load(VARIANTS[name].read_text())["publicUrl"]
    for path in (
        config.proxy_token_file,
        config.service_token_file,
        config.admin_token_file,
        config.cookie_secret_file,
    ):
        assert path is not None
        assert len(hub_config.read_secret(path)) == 64
    if config.login is not None:
        assert len(hub_config.read_secret(config.login.crypt_key_file)) == 64
        for provider in config.login.providers:
            assert hub_config.read_secret(provider.client_secret_file)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_link_reads_its_file(tmp_path: Path, name: str) -> None:
    folder = written(variant(name), "link", tmp_path)
    config = load_link_config(folder / "link.yaml")
    values = yaml.safe_load(VARIANTS[name].read_text())
    assert config.factories.keys() == values.get("factories", {}).keys()
    assert len(hub_config.read_secret(config.hub.token_file)) == 64
    mounted = [mount["mountPath"] for mount in _container(variant(name), "link")["volumeMounts"]]
    for factory, access in config.factories.items():
        assert isinstance(access.transport, SshTransportSettings)
        keys = [value for _, value in access.transport.credentials if isinstance(value, Path)]
        assert len(keys) == 1
        assert str(keys[0]).removeprefix(str(tmp_path)).startswith(f"/run/secrets/factorygate-factories/{factory}")
        assert f"/run/secrets/factorygate-factories/{factory}" in mounted
    if config.projects is not None:
        known = federation.load(config.catalogue, federation.antennas_beside(config.catalogue))
        assert [*book.load(config.projects, known.factories, None)] == ["EHPC-AIF-2026PG01-756"]


@pytest.mark.parametrize("name", VARIANTS)
def test_hub_link_and_proxy_agree_on_addresses_and_tokens(tmp_path: Path, name: str) -> None:
    found = variant(name)
    hub = hub_config.load(written(found, "hub", tmp_path / "hub") / "hub.yaml")
    link = load_link_config(written(found, "link", tmp_path / "link") / "link.yaml")
    proxy = _container(found, "proxy")
    arguments = dict(zip(proxy["args"][1::2], proxy["args"][2::2], strict=False)) | {"all": " ".join(proxy["args"])}
    assert link.hub.url == hub.hub_url == arguments["--default-target"]
    assert link.hub.base_url == hub.base_url
    assert link.public_url == hub.public_url
    assert _text(link.hub.token_file) == _text(hub.service_token_file)
    secret = _environment(proxy)["CONFIGPROXY_AUTH_TOKEN"]
    if mine := [one for one in found if one["kind"] == "Secret" and one["metadata"]["name"] == secret["name"]]:
        assert files(mine[0])[secret["key"]] == _text(hub.proxy_token_file)
    if hub.tls is None:
        assert str(link.socket).removeprefix(str(tmp_path / "link")) == str(hub.link_socket).removeprefix(
            str(tmp_path / "hub")
        )
        assert hub.link_url == f"http://{link.listen_host}:{link.listen_port}"
        assert hub.proxy_api_url == f"http://{arguments['--api-ip']}:{arguments['--api-port']}"
        assert all(url.startswith("http://127.0.0.1:") for url in (hub.hub_url, hub.link_url, hub.proxy_api_url))
        return
    assert link.tls is not None
    assert link.hub_listener is not None
    ports = {
        f"https://{service['metadata']['name']}:{port['port']}"
        for service in found
        if service["kind"] == "Service"
        for port in service["spec"]["ports"]
    }
    assert hub.link is not None
    assert {hub.hub_url, hub.link.url, hub.link_url, hub.proxy_api_url} <= ports
    assert hub.link.url.endswith(f":{link.hub_listener.port}")
    assert "--client-ssl-reject-unauthorized" in arguments["all"]
    assert "--api-ssl-reject-unauthorized" in arguments["all"]


WITH_WORKSHOPS = ["together", "apart"]


@pytest.mark.parametrize("name", WITH_WORKSHOPS)
def test_the_workshops_service_reads_its_files(tmp_path: Path, name: str) -> None:
    folder = written(variant(name), "workshops", tmp_path)
    config = workshops_config.load(folder / "workshops.yaml")
    given = yaml.safe_load(VARIANTS[name].read_text())["workshops"].get("material", {}).get("tokens", ())
    assert [one.prefix for one in config.material.tokens] == [one["prefix"] for one in given]
    assert all(hub_config.read_secret(one.file) for one in config.material.tokens)
    assert len({one.file for one in config.material.tokens}) == len(given)
    link = load_link_config(written(variant(name), "link", tmp_path / "link") / "link.yaml")
    values = yaml.safe_load(VARIANTS[name].read_text())["workshops"]
    assert config.approval == values.get("approval", "operator")
    assert config.trainers.people == tuple(values.get("trainers", {}).get("people", ()))
    assert len(hub_config.read_secret(config.hub.token_file)) == 64
    known = federation.load(link.catalogue, federation.antennas_beside(link.catalogue)).factories
    pools = workshop_table.read_pools(config.pools, known, link.factories)
    assert [pool.id for pool in pools.pools] == [pool["id"] for pool in values.get("pools", ())]
    smtp = config.joining.smtp
    assert (None if smtp is None else smtp.user) == values.get("mail", {}).get("smtp", {}).get("user")
    if smtp is not None:
        assert smtp.password_file is not None
        assert hub_config.read_secret(smtp.password_file)
    assert config.store.url.get_backend_name() == ("postgresql" if name == "apart" else "sqlite")
    mounts = {mount["mountPath"]: mount for mount in _container(variant(name), "workshops")["volumeMounts"]}
    for path in (config.state_dir, config.table, config.socket):
        folder = next(one for one in path.parents if f"/{one.relative_to(tmp_path)}" in mounts)
        assert "readOnly" not in mounts[f"/{folder.relative_to(tmp_path)}"]


@pytest.mark.parametrize("name", WITH_WORKSHOPS)
def test_hub_and_link_know_the_workshops_service(tmp_path: Path, name: str) -> None:
    found = variant(name)
    hub = hub_config.load(written(found, "hub", tmp_path / "hub") / "hub.yaml")
    link = load_link_config(written(found, "link", tmp_path / "link") / "link.yaml")
    own = workshops_config.load(written(found, "workshops", tmp_path / "workshops") / "workshops.yaml")
    assert hub.workshops is not None
    assert link.workshops is not None
    assert own.link is not None
    assert _text(hub.workshops.token_file) == _text(own.hub.token_file)
    theirs = (link.workshops.table, link.workshops.pools, link.workshops.socket)
    for here, there in zip((own.table, own.pools, own.link.socket), theirs, strict=True):
        assert there is not None
        assert here.relative_to(tmp_path / "workshops") == there.relative_to(tmp_path / "link")
    assert (own.hub.url, own.hub.base_url, own.hub.public_url) == (hub.hub_url, hub.base_url, hub.public_url)
    if own.tls is None:
        assert hub.workshops.socket is not None
        assert hub.workshops.socket.relative_to(tmp_path / "hub") == own.socket.relative_to(tmp_path / "workshops")
        assert hub.workshops.url == f"http://{own.listen_host}:{own.listen_port}"
        return
    assert own.hub_listener is not None
    service = named(found, "Service", "x-factorygate-workshops")
    ports = [f"https://x-factorygate-workshops:{port['port']}" for port in service["spec"]["ports"]]
    assert [hub.workshops.url, hub.workshops.hub_api_url] == ports
    assert [own.listen_port, own.hub_listener.port] == [port["targetPort"] for port in service["spec"]["ports"]]


def test_deploy_tokens_are_in_a_secret_that_hub_and_link_do_not_mount() -> None:
    found = variant("apart")
    yaml_text = files(named(found, "ConfigMap", "-workshops"))["workshops.yaml"]
    assert yaml.safe_load(yaml_text)["material"] == {
        "seconds": 60,
        "tokens": [
            {"prefix": "https://git.example.org/courses/", "user": "deploy", "file": f"{MATERIAL}/token-1"},
            {"prefix": "https://git.example.org/", "file": f"{MATERIAL}/token-2"},
        ],
    }
    mounting = [
        (one["name"], mount.get("readOnly"))
        for _, pod in pods(found)
        for one in pod["spec"]["containers"]
        for mount in one.get("volumeMounts", ())
        if mount["mountPath"] == MATERIAL
    ]
    assert sorted(mounting) == [("backup", True), ("workshops", True)]  # a backup has what the service reads
    ((volume,),) = (
        [one for one in pod["spec"]["volumes"] if one["name"] == "workshops-material"]
        for _, pod in pods(found)
        if any(one["name"] == "workshops" for one in pod["spec"]["containers"])
    )
    assert volume["secret"]["secretName"] == "deploy-tokens"
    assert [item["key"] for item in volume["secret"]["items"]] == ["token-1", "token-2"]


def test_people_s_own_hosts_reach_the_proxy_which_routes_by_host(tmp_path: Path) -> None:
    found = variant("ingress")
    hub = hub_config.load(written(found, "hub", tmp_path) / "hub.yaml")
    assert hub.subdomain_host == hub.public_url == "https://jupyter.example.org"
    assert "--host-routing" in _container(found, "proxy")["args"]
    assert "--host-routing" not in _container(variant("httproute"), "proxy")["args"]
    hosts = ["jupyter.example.org", "*.jupyter.example.org"]
    (ingress,) = (one for one in found if one["kind"] == "Ingress")
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == hosts
    more = {"hub": {"subdomains": True}}
    (route,) = (one for one in objects(VARIANTS["httproute"], more=more) if one["kind"] == "HTTPRoute")
    assert route["spec"]["hostnames"] == hosts
    (route,) = (one for one in variant("httproute") if one["kind"] == "HTTPRoute")
    assert route["spec"]["hostnames"] == hosts[:1]


def test_the_workshops_service_sees_no_secret_of_hub_and_link() -> None:
    for name in WITH_WORKSHOPS:
        mounted = {mount["name"] for mount in _container(variant(name), "workshops")["volumeMounts"]}
        assert not [one for one in mounted if one.startswith(("hub-", "link-", "factory-")) or one == "run"]
        link = {mount["name"]: mount for mount in _container(variant(name), "link")["volumeMounts"]}
        assert link["workshops-state"]["readOnly"] is True
        assert "workshops-secrets" not in link


def _text(path: Path) -> str:
    return path.read_text()


def _container(found: Any, name: str) -> Object:
    ((one),) = (
        one
        for title, pod in pods(found)
        if title.startswith(("Deployment", "StatefulSet"))
        for one in pod["spec"]["containers"]
        if one["name"] == name
    )
    return dict(one)


def _environment(container: Object) -> dict[str, Any]:
    return {
        one["name"]: one["value"] if "value" in one else one["valueFrom"]["secretKeyRef"] for one in container["env"]
    }


WHOLE = """
import json, sys
from traitlets.config import PyFileConfigLoader
c = PyFileConfigLoader(sys.argv[1]).load_config()
print(json.dumps({
    "services": [one["name"] for one in c.JupyterHub.services],
    "roles": {one["name"]: one["scopes"] for one in c.JupyterHub.load_roles},
    "tokens": {one["name"]: one["api_token"] for one in c.JupyterHub.services},
    "active_server_limit": c.JupyterHub.active_server_limit,
    "default_url": c.Spawner.default_url,
    "qos": c.FactorySpawner.req_qos,
    "announcement": c.JupyterHub.template_vars["announcement"],
}))
"""


def test_jupyterhub_reads_the_whole_configuration(tmp_path: Path) -> None:
    found = variant("together")
    folder = written(found, "hub", tmp_path)
    extra = folder / "extra_config.py"
    read = subprocess.run(
        [sys.executable, "-c", WHOLE, str(CHECKOUT / "hub_config/jupyterhub_config.py")],
        cwd=tmp_path,
        env={**os.environ, "FACTORYGATE_HUB_CONFIG": str(folder / "hub.yaml"), "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert read.returncode == 0, f"{extra}: {read.stderr}"
    config = json.loads(read.stdout)
    assert {"factories", "workshops", "admin", "restore-routes", "metrics"} <= set(config["services"])
    assert config["roles"]["workshops"] == [
        "list:users",
        "read:users:name",
        "read:servers",
        "access:services!service=workshops",
    ]
    assert config["roles"]["restore-routes"] == ["proxy"]
    assert config["roles"]["metrics"] == ["read:metrics"]
    secret = files(named(found, "Secret", "x-factorygate"))
    assert config["tokens"]["restore-routes"] == secret["restore-routes-token"]
    assert config["active_server_limit"] == 500
    assert config["default_url"] == "/lab/tree"
    assert config["qos"] == "normal"
    assert config["announcement"] == 'Maintenance on Monday: "all" day'


def test_people_of_a_trial_log_in_with_the_passwords_that_the_chart_made(tmp_path: Path) -> None:
    folder = written(variant("demo"), "hub", tmp_path)
    passwords = tmp_path / "run/secrets/factorygate-demo"
    passwords.mkdir(parents=True)
    (passwords / "ada").write_text("ada-secret")
    program = [sys.executable, str(folder / "demo_passwords.py")]
    env = {**os.environ, "PYTHONPATH": PYTHONPATH}
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    file = hub_config.load(folder / "hub.yaml").passwords_file
    assert file is not None
    lines = read_passwords(file)
    assert lines.keys() == {"ada"}
    assert check_password("ada-secret", lines["ada"])


AWKWARD = "a\"b'c: {{ .Values.x }} $(id) `id`\n# %s \\ é 中"


def test_values_reach_the_files_as_they_are(tmp_path: Path) -> None:
    """Values are written as YAML, so that no value can change the rest of the file."""
    more: dict[str, Any] = {
        "hub": {
            "login": {"terms": {"version": "2026-01", "text": AWKWARD}},
            "config": {"JupyterHub": {"template_vars": {"announcement": AWKWARD, "on": True, "many": 12345678901}}},
        },
        "projects": [{"id": "p", "title": "1e3", "factories": {"it4lia": {"account": "0x10"}}}],
        "link": {"mail": {"smtp_host": "m", "sender": "yes", "domain": "12:30:45"}},
    }
    found = objects(VARIANTS["together"], more=more)
    hub = yaml.safe_load(files(named(found, "ConfigMap", "-hub"))["hub.yaml"])
    assert hub["login"]["terms"]["text"] == AWKWARD
    settings = yaml.safe_load(files(named(found, "Secret", "-hub-settings"))["jupyterhub.yaml"])
    assert settings["JupyterHub"]["template_vars"] == {"announcement": AWKWARD, "on": True, "many": 12345678901}
    link = yaml.safe_load(files(named(found, "ConfigMap", "-link"))["link.yaml"])
    assert link["mail"] == {"smtp_host": "m", "sender": "yes", "domain": "12:30:45"}
    assert link["limits"]["cluster_lease_seconds"] == 2_000_000
    projects = yaml.safe_load(files(named(found, "ConfigMap", "-projects"))["projects.yaml"])
    assert projects["projects"] == more["projects"]
    before = files(named(variant("together"), "ConfigMap", "-hub"))
    after = files(named(found, "ConfigMap", "-hub"))
    assert {name for name in after if name.endswith(".py")} == {"extra_config.py", "demo_passwords.py"}
    assert all(after[name] == before[name] for name in after if name.endswith(".py"))


def test_python_of_the_operator_is_kept_as_it_is() -> None:
    values = yaml.safe_load(VARIANTS["together"].read_text())["hub"]["extraConfig"]
    found = files(named(variant("together"), "Secret", "-hub-settings"))
    assert {f"extra-{name}.py": text for name, text in values.items()} == {
        name: text for name, text in found.items() if name.startswith("extra-")
    }


def test_a_catalogue_of_ones_own_is_read_as_the_image_s_is(tmp_path: Path) -> None:
    ours = CHECKOUT / "hub_config"
    factories = {path.stem: yaml.safe_load(path.read_text()) for path in (ours / "factories").glob("*.yaml")}
    antennas = yaml.safe_load((ours / "antennas.yaml").read_text())
    found = objects(VARIANTS["demo"], more={"catalogue": {"factories": factories, "antennas": antennas}})
    config = load_link_config(written(found, "link", tmp_path) / "link.yaml")
    assert config.catalogue.is_relative_to(tmp_path / "etc/factorygate-catalogue")
    (link,) = (one for _, pod in pods(found) for one in pod["spec"]["containers"] if one["name"] == "link")
    where = {one["name"]: one.get("value") for one in link["env"]}["FACTORYGATE_CATALOGUE"]
    assert config.catalogue == tmp_path / where.lstrip("/")
    read = federation.load(config.catalogue, federation.antennas_beside(config.catalogue))
    assert read == federation.load(ours / "factories", ours / "antennas.yaml")


@pytest.mark.parametrize("name", ["demo", "apart"])
def test_the_login_page_offers_the_antennas_of_the_values(tmp_path: Path, name: str) -> None:
    ours = CHECKOUT / "hub_config"
    factories = {"it4lia": yaml.safe_load((ours / "factories/it4lia.yaml").read_text())}
    antennas = yaml.safe_load((ours / "antennas.yaml").read_text())
    antennas["antennas"] = [{**antennas["antennas"][0], "id": "of-the-values", "factories": ["it4lia"]}]
    shipped = tmp_path / "image/antennas.yaml"
    for case, more in {"both": {"antennas": antennas}, "factories": {}, "none": None}.items():
        catalogue = {"catalogue": {"factories": factories, **more}} if more is not None else {}
        written_to = written(objects(VARIANTS[name], more=catalogue), "hub", tmp_path / case)
        found = hub_config.load(written_to / "hub.yaml").antennas_file(shipped)
        if case == "factories":
            assert found is None  # not those of the image, which name other factories
            continue
        assert found is not None
        ids = [one["id"] for one in yaml.safe_load(found.read_text())["antennas"]]
        assert (ids == ["of-the-values"]) == (case == "both")


def test_a_link_starts_with_the_values_of_the_page(tmp_path: Path) -> None:
    """Follow docs/deployment/kubernetes.md: copy the factory's entry, make it live, add a real host key."""
    page = (CHECKOUT / "docs/deployment/kubernetes.md").read_text(encoding="utf-8")
    (copy,) = (block for block in blocks(page) if "catalogue.yaml" in block and "printf" in block)
    (told,) = (block for block in blocks(page) if block.startswith("publicUrl:"))
    (agreement,) = re.findall(r"`(agreement: {.*})`", page)
    (tmp_path / "hub_config").symlink_to(CHECKOUT / "hub_config")
    subprocess.run(["bash", "-ec", copy], cwd=tmp_path, check=True)
    entries = (tmp_path / "catalogue.yaml").read_text(encoding="utf-8")
    entries = entries.replace("\n      state: template\n", f"\n      state: live\n      {agreement}\n")
    values = tmp_path / "values.yaml"
    values.write_text(told.replace("AAAAC3Nz…", HOST_KEY), encoding="utf-8")
    found = objects(values, more=yaml.safe_load(entries))
    config = load_link_config(written(found, "link", tmp_path / "pod") / "link.yaml")
    assert list(offered(config, federation.load(config.catalogue).factories)) == ["it4lia"]


def blocks(page: str) -> list[str]:
    """Return the indented code blocks of a page."""
    return [
        textwrap.dedent(block) for block in re.findall(r"^    ```\w*\n(.*?)^    ```$", page, re.DOTALL | re.MULTILINE)
    ]


def test_without_a_catalogue_in_the_values_that_of_the_image_is_read(tmp_path: Path) -> None:
    config = load_link_config(written(variant("demo"), "link", tmp_path) / "link.yaml")
    assert "it4lia" in federation.load(config.catalogue, federation.antennas_beside(config.catalogue)).entries


def test_every_key_of_both_files_is_named_or_set_by_the_chart() -> None:
    """Each key of hub.yaml, link.yaml and workshops.yaml is set by the chart, or listed here with the reason."""
    left_out = {
        "pages": "the image has ours",
        "key_dir": "the link keeps its keys on its volume",
    }
    seen: set[str] = set()
    for name in VARIANTS:
        seen |= yaml.safe_load(files(named(variant(name), "ConfigMap", "-hub"))["hub.yaml"]).keys()
        seen |= yaml.safe_load(files(named(variant(name), "ConfigMap", "-link"))["link.yaml"]).keys()
    for name in WITH_WORKSHOPS:
        seen |= yaml.safe_load(files(named(variant(name), "ConfigMap", "-workshops"))["workshops.yaml"]).keys()
    known = HubConfig.model_fields.keys() | LinkConfig.model_fields.keys() | WorkshopsConfig.model_fields.keys()
    assert seen <= known
    assert known - seen == left_out.keys()


def test_the_names_in_certificates_are_those_that_are_dialled(tmp_path: Path) -> None:
    from cryptography import x509

    found = variant("apart")
    for part, hosts in {
        "hub": ["x-factorygate-hub"],
        "link": ["x-factorygate-link"],
        "proxy": ["x-factorygate-proxy-api"],
        "workshops": ["x-factorygate-workshops"],
    }.items():
        secret = files(named(found, "Secret", f"x-factorygate-{part}-tls"))
        leaf = x509.load_pem_x509_certificate(secret["tls.crt"].encode())
        (common,) = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        assert common.value == part
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {*hosts, "localhost"} <= set(names.get_values_for_type(x509.DNSName))
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert {x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH} <= set(usage)
        authority = x509.load_pem_x509_certificate(secret["ca.crt"].encode())
        leaf.verify_directly_issued_by(authority)


@pytest.mark.parametrize(("name", "part"), [("demo", "hub"), ("together", "workshops")])
def test_a_backup_is_made_and_old_ones_go(tmp_path: Path, name: str, part: str) -> None:
    folder = written(variant(name), part, tmp_path / "pod")
    kept = tmp_path / "backups"
    kept.mkdir(mode=0o700)
    for old, days in (("old", 20), ("young", 3)):
        made = kept / f"factorygate-{old}.tar.gz"
        made.touch()
        os.utime(made, (time.time() - days * 86400,) * 2)
    program = tmp_path / "bin"
    program.mkdir()
    (program / "factorygate").write_text(
        f"#!{sys.executable}\nfrom factoryoperator.cli import main\nraise SystemExit(main())\n"
    )
    (program / "factorygate").chmod(0o755)
    job = named(variant(name), "CronJob", f"-{part}-backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = job["containers"]
    (_, script, *rest) = container["args"]
    assert script == "/etc/factorygate-backup/backup.py"
    rest = [word.replace("/etc/factorygate", str(folder)).replace("/backup", str(kept)) for word in rest]
    env = {one["name"]: one["value"].replace("/etc/factorygate", str(folder)) for one in container["env"]}
    done = subprocess.run(
        [sys.executable, CHART / "files/backup.py", *rest],
        env={
            "PATH": f"{program}:{os.environ['PATH']}",
            "PYTHONPATH": PYTHONPATH,
            "FACTORYGATE_LINK": "/etc/factorygate/link.yaml",  # as in the image; this pod has no such file
            **env,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = {path.name for path in kept.iterdir()}
    assert "factorygate-old.tar.gz" not in found
    assert "factorygate-young.tar.gz" in found
    (made,) = (kept / one for one in found - {"factorygate-young.tar.gz"})
    with tarfile.open(made) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        names = {Path(one["path"]).name for one in json.load(manifest)["stores"]}
    expected = {"hub": {"hub.yaml", "admin-token"}, "workshops": {"workshops.yaml", "workshops-token", "password"}}
    assert expected[part] <= names


def test_metrics_behind_certificates(tmp_path: Path) -> None:
    """The ports for metrics of link and proxy require a certificate; Prometheus has one of the same authority."""
    found = objects(VARIANTS["apart"], more={"metrics": {"tls": True, "serviceMonitor": {"enabled": True}}})
    link = load_link_config(written(found, "link", tmp_path) / "link.yaml")
    assert link.metrics is not None
    assert link.metrics.tls
    (proxy,) = (one for _, pod in pods(found) for one in pod["spec"]["containers"] if one["name"] == "proxy")
    assert {"name": "FACTORYGATE_METRICS_TLS", "value": "1"} in proxy["env"]
    (secret,) = (one for one in found if one["metadata"]["name"].endswith("-prometheus-tls"))
    assert secret["data"].keys() == {"tls.crt", "tls.key", "ca.crt"}
    endpoints = {
        one["spec"]["endpoints"][0]["tlsConfig"]["serverName"]: one["spec"]["endpoints"][0]
        for one in found
        if one["kind"] == "ServiceMonitor" and "tlsConfig" in one["spec"]["endpoints"][0]
    }
    assert endpoints.keys() == {"link", "proxy"}
    for name, endpoint in endpoints.items():
        assert endpoint["scheme"] == "https"
        assert endpoint["tlsConfig"]["cert"]["secret"]["name"] == secret["metadata"]["name"]
        (own,) = (one for one in found if one["metadata"]["name"].endswith(f"factorygate-{name}-tls"))
        assert own["data"]["ca.crt"] == secret["data"]["ca.crt"]
        certificate = x509.load_pem_x509_certificate(base64.b64decode(own["data"]["tls.crt"]))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert name in names.get_values_for_type(x509.DNSName)
