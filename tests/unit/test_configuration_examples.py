"""The examples of configuration files in the docs are valid, and contain every existing key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from factorycommon.mail import SmtpServer
from factorycommon.models import projects as project_models
from factorycommon.models.workshops import WorkshopPool, WorkshopPools
from factorycommon.service.listeners import HubListener
from factorycommon.tls import TlsFiles
from factorylink import config as link_config
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.loading import load_link_config
from factorylink.projects import book, workshop_table
from factoryspawner.config import hub_config, login_settings
from workshops import config as workshops_config
from workshops.models.joining import JoiningSettings
from workshops.models.material import DeployToken, MaterialSettings

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "docs" / "configuration"
CATALOGUE = CHECKOUT / "hub_config" / "factories"

HUB = [
    hub_config.HubConfig,
    hub_config.LinkSettings,
    hub_config.WorkshopsSettings,
    TlsFiles,
    login_settings.LoginSettings,
    login_settings.Provider,
    login_settings.LoginTerms,
    login_settings.Rule,
    login_settings.EntitlementMatch,
]
LINK = [
    link_config.LinkConfig, HubListener, link_config.SessionListeners, link_config.MetricsListener,
    TlsFiles, link_config.WorkshopFiles, link_config.Hub, link_config.Limits, link_config.Mail, link_config.Access,
    link_config.SshTransportSettings, link_config.LocalTransportSettings, link_config.DoorAccess,
    link_config.KeyCredentials, link_config.CaCredentials, link_config.WrapperCredentials, link_config.EfpCredentials,
]  # fmt: skip
PROJECT = [project_models.Project, project_models.ProjectAt]
WORKSHOPS = [
    workshops_config.WorkshopsConfig, workshops_config.HubAddress, workshops_config.Trainers,
    workshops_config.WorkshopLimits, HubListener, TlsFiles, JoiningSettings, SmtpServer, MaterialSettings, DeployToken,
    workshops_config.LinkAccess,
]  # fmt: skip
POOLS = [WorkshopPools, WorkshopPool]


def test_the_examples_can_be_read() -> None:
    assert hub_config.load(EXAMPLES / "hub.yaml").login is not None
    config = load_link_config(EXAMPLES / "link.yaml")
    known = federation.load(CATALOGUE).factories
    assert set(config.factories) <= set(known)
    assert config.projects is not None
    assert book.load(config.projects, known, config.factories)
    assert config.workshops is not None
    assert workshop_table.read_pools(config.workshops.pools, known, config.factories).pools
    assert workshops_config.load(EXAMPLES / "workshops.yaml").trainers.people


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("hub.yaml", HUB),
        ("link.yaml", LINK),
        ("projects.yaml", PROJECT),
        ("workshops.yaml", WORKSHOPS),
        ("workshop-pools.yaml", POOLS),
    ],
)
def test_the_examples_have_every_key(name: str, models: list[type[BaseModel]]) -> None:
    text = (EXAMPLES / name).read_text()
    shown = set(re.findall(r"([a-z_]+):(?=[ \n]|$)", text))
    lacking = {f"{model.__name__}.{key}" for model in models for key in model.model_fields if key not in shown}
    lacking -= {"Rule.everybody"}  # used instead of an entitlement or a claim
    assert not lacking


def test_commented_keys_are_keys() -> None:
    examples = (("hub.yaml", HUB), ("link.yaml", LINK), ("workshops.yaml", WORKSHOPS), ("workshop-pools.yaml", POOLS))
    for name, models in examples:
        known = {key for model in models for key in model.model_fields}
        text = (EXAMPLES / name).read_text()
        commented = re.findall(r"^ *# ([a-z_]+): ", text, re.M)
        assert set(commented) <= known, name


def test_both_sides_of_the_examples_agree() -> None:
    hub, link = hub_config.load(EXAMPLES / "hub.yaml"), load_link_config(EXAMPLES / "link.yaml")
    assert hub.link_socket == link.socket
    assert hub.base_url == link.hub.base_url
    assert hub.hub_url == link.hub.url
    assert hub.link_url == f"http://{link.listen_host}:{link.listen_port}"
    assert hub.service_token_file == link.hub.token_file
    service = workshops_config.load(EXAMPLES / "workshops.yaml")
    assert hub.workshops is not None
    assert link.workshops is not None
    assert (hub.workshops.socket, hub.workshops.token_file) == (service.socket, service.hub.token_file)
    assert hub.workshops.url == f"http://{service.listen_host}:{service.listen_port}"
    assert (link.workshops.table, link.workshops.pools) == (service.table, service.pools)
    assert (service.hub.url, service.hub.base_url) == (hub.hub_url, hub.base_url)
    told: Any = yaml.safe_load((EXAMPLES / "link.yaml").read_text())
    assert told["hub"]["public_url"] == link.public_url == hub.public_url
