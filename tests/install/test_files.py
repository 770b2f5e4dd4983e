"""The files that factorygate-install writes from its options, read by the programs that use them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from factoryinstaller import files, install
from factoryinstaller.options import LETS_ENCRYPT, Options
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.loading import load_link_config
from factorylink.projects import workshop_table
from factoryoperator import check_workshops, gateway
from factoryspawner.config import hub_config
from factoryspawner.login import password_file

CHECKOUT = Path(__file__).parents[2]
TOKENS = dict.fromkeys(files.TOKENS, "0" * 64)
PASSWORDS = Options(domain="gateway.example.org", email="ops@example.org", admin="ada", login="passwords")
OIDC = Options(
    domain="gateway.example.org",
    email="ops@example.org",
    admin="ada@example.org",
    login="oidc",
    oidc_kind="keycloak",
    oidc_issuer="https://sso.example.org/realms/people",
    oidc_client='a "client"',
    oidc_secret_file="/root/secret",
    allow=("groups=ai-*", "everybody"),
)


@pytest.fixture(params=[PASSWORDS, OIDC], ids=["passwords", "oidc"])
def options(request: pytest.FixtureRequest) -> Options:
    return request.param


def test_the_hub_reads_its_file(options: Options, tmp_path: Path) -> None:
    (tmp_path / "hub.yaml").write_text(files.hub_yaml(options))
    config = hub_config.load(tmp_path / "hub.yaml")
    assert config.public_url == "https://gateway.example.org"
    assert config.service_token_file == tmp_path / "secrets/service-token"
    if options.login == "passwords":
        assert (config.login, config.admins) == (None, ("ada",))
        assert config.passwords_file == tmp_path / "secrets/passwords.json"
        return
    assert config.login is not None
    (provider,) = config.login.providers
    assert (provider.client_id, provider.kind) == ('a "client"', "keycloak")
    assert [rule.gives for rule in provider.rules] == ["operators", "people", "people"]
    assert config.login.admin_groups == ("operators",)


def test_the_link_reads_its_file_without_a_factory(options: Options, tmp_path: Path) -> None:
    (tmp_path / "link.yaml").write_text(files.link_yaml(options))
    config = load_link_config(tmp_path / "link.yaml")
    assert (dict(config.factories), config.hub.name) == ({}, "gateway-example-org")


def test_both_sides_use_the_same_files_and_addresses(options: Options) -> None:
    hub, link = yaml.safe_load(files.hub_yaml(options)), yaml.safe_load(files.link_yaml(options))
    assert hub["link_socket"] == link["socket"]
    assert hub["service_token_file"] == link["hub"]["token_file"]
    assert hub["public_url"] == link["hub"]["public_url"]


def test_workshops_are_known_to_all_three_and_have_no_pool_yet(options: Options, tmp_path: Path) -> None:
    secrets = files.Secrets(TOKENS, (files.PASSWORDS, "{}\n"))
    for file in [*secrets.files(), *files.configuration(options, TOKENS)]:
        if file.path.startswith(files.ETC):
            path = tmp_path / file.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text.replace("/var/lib", f"{tmp_path}/var/lib").replace("/run/", f"{tmp_path}/run/"))
            path.chmod(file.mode)
    etc = tmp_path / files.ETC.lstrip("/")
    found = gateway.read(etc / "hub.yaml", etc / "link.yaml")
    assert found.workshops.config is not None, found.workshops.problems
    assert found.workshops.config.approval == "operator"
    said = [str(one) for one in check_workshops.workshops_file(found) if one.mistake]
    assert said == []
    link = found.link.config
    assert link is not None
    assert link.workshops is not None
    assert workshop_table.read_pools(link.workshops.pools, {}, {}).pools == ()


def test_a_gateway_without_workshops_names_them_nowhere(options: Options) -> None:
    written = files.configuration(replace(options, workshops=False), TOKENS)
    naming = {file.path for file in written if "workshops" in file.text}
    assert naming == {files.COMMAND}  # the socket, for a service that somebody starts later


def test_secrets_are_for_the_gateway_only(options: Options) -> None:
    secrets = files.Secrets(TOKENS, (files.PASSWORDS, "{}\n"))
    private = [*secrets.files(), *files.configuration(options, TOKENS)]
    holding = [file for file in private if "0" * 64 in file.text or file.path.endswith(files.PASSWORDS)]
    assert {file.path.rpartition("/")[2] for file in holding} == {
        *files.TOKENS, "passwords.json", "proxy.env", "restore-routes.header"
    }  # fmt: skip
    assert {(file.mode, file.owner) for file in holding} == {(0o600, "factorygate")}


def test_files_that_the_pages_tell_an_operator_to_change_are_kept(options: Options) -> None:
    kept = {file.path for file in files.configuration(options, TOKENS) if file.edited_by_operator}
    for name in ("hub.yaml", "link.yaml", "workshops.yaml", "proxy.env", "prometheus.yml"):
        assert f"{files.ETC}/{name}" in kept


def test_a_password_is_one_that_the_hub_knows() -> None:
    line = files.password_line("correct horse")
    assert password_file.check_password("correct horse", line)
    assert not password_file.check_password("correct horsf", line)


def test_the_web_server_closes_what_is_not_for_the_outside(options: Options) -> None:
    site = files.caddy(options)
    assert "max-age=31536000" in site
    assert "@inside path /_chp_healthz /hub/metrics" in site
    assert f"ca {LETS_ENCRYPT}" in site
    assert "ca_root" not in site


def test_the_catalogue_of_a_release_can_be_read_where_it_is_written(tmp_path: Path) -> None:
    for file in install.catalogue(CHECKOUT):
        path = tmp_path / file.path.removeprefix("/etc/factorygate/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(file.text)
        assert file.edited_by_operator
    known = federation.load(tmp_path / "factories", federation.antennas_beside(tmp_path / "factories"))
    assert len(known.entries) == len(list((CHECKOUT / "hub_config/factories").glob("*.yaml")))
    assert known.antennas is not None


def test_the_command_names_this_gateways_files() -> None:
    shell = shutil.which("sh")
    assert shell is not None
    assert "exec /opt/factorygate/current/venv/bin/factorygate" in files.command()
    assert json.dumps(files.ETC).strip('"') + "/link.yaml" in files.command()
