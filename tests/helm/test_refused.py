"""Values that the chart refuses with an explanation, before a request reaches a cluster."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.chart import CHART, VARIANTS, template

DEMO, TOGETHER, APART = VARIANTS["demo"], VARIANTS["together"], VARIANTS["apart"]
LOGIN = {"loginSecret": "s", "login": {"providers": [{"id": "a", "kind": "keycloak", "issuer": "https://login.example.org",
         "client_id": "c", "rules": [{"everybody": True, "gives": "people"}]}]}}  # fmt: skip


def over(path: str, value: object) -> dict[str, Any]:
    """Return values with one value set at a dotted path."""
    found: Any = value
    for key in reversed(path.split(".")):
        found = {key: found}
    return dict(found)


BY_HELM = [  # description, value, and words of the message that name the key and the allowed values
    ("hubb", {}, "additional properties 'hubb' not allowed"),
    ("hub.replicas", 2, "at '/hub/replicas': value must be 1"),
    ("publicUrl", "http://jupyter.example.org", "at '/publicUrl': 'http://jupyter.example.org' does not match"),
    (
        "publicUrl",
        "https://jupyter.example.org",
        "at '/publicUrl': 'https://jupyter.example.org' does not match",
    ),  # the demo's values
    ("secretMode", 9999, "at '/secretMode': value must be one of 256, 288"),
    ("podSecurityContext.fsGroupChangePolicy", "Sometimes", "value must be 'OnRootMismatch'"),
    ("factories.it4lia.access.transport.kind", "local", "at '/factories/it4lia/access/transport/kind'"),
    ("link.limits.sessions", 5, "additional properties 'sessions' not allowed"),
]


@pytest.mark.parametrize(
    ("path", "value", "words"), BY_HELM, ids=[f"{path}={value}"[:60] for path, value, _ in BY_HELM]
)
def test_helm_refuses(path: str, value: object, words: str) -> None:
    done = template(DEMO, more=over(path, value))
    assert done.returncode != 0, f"{path}: {value!r} was taken"
    assert "don't meet the specifications of the schema" in done.stderr
    assert words in done.stderr, done.stderr


REFUSED = [  # description, and a value that the schema must refuse at exactly this place
    ("hub.replica", 1),
    ("hub.db.pvc.size", "1Gi"),
    ("link.replicas", 0),
    ("publicUrl", "https://jupyter.example.org/path"),
    ("publicUrl", "http://127.0.0.1.example.org"),
    ("topology", "sideways"),
    ("secretMode", 420),
    ("hub.extraFiles.a", {"mountPath": "/a", "stringData": "", "mode": 9999}),
    ("hub.extraFiles.a", {"mountPath": "a/../b", "stringData": ""}),
    ("podSecurityContext.fsGroupChangePolicy", "Always"),
    ("podSecurityContext.runAsUser", 0),
    ("hub.cookieSecret", "secret"),
    ("hub.db.url", "postgresql://hub:word@db.example.org/hub"),
    ("link.ledger.url", "postgresql://factorygate:word@db.example.org/hub"),
    ("hub.config", {"c.JupyterHub": {}}),
    ("hub.extraConfig", {"../evil": "pass"}),
    ("hub.demoUsers", ["Ada Lovelace"]),
    ("hub.login", {"providers": [{"id": "a"}]}),
    ("hub.resources.limits.memory", "lots"),
    ("hub.livenessProbe.periodSeconds", 0),
    ("link.sessionPorts", [20000, 40000]),
    ("link.sessionPorts", [20000]),
    ("link.limits.sessions_per_person", 0),
    ("factories.Gaia", {"existingSecret": "s", "egress": [{"cidr": "0.0.0.0/0", "ports": [22]}], "access": {}}),
    ("factories.it4lia.existingSecret", ""),
    ("factories.it4lia.egress", []),
    ("factories.it4lia.egress", [{"cidr": "everywhere", "ports": [22]}]),
    ("factories.it4lia.egress", [{"ports": [22]}]),
    ("factories.it4lia.access.transport.credentials.keys", "/etc"),
    ("factories.it4lia.access.account_pool", ["Root!"]),
    ("factories.it4lia.access.accounts", {"ada": "Root!"}),
    ("projects", [{"id": "-x", "title": "X"}]),
    ("proxy.service.type", "ExternalName"),
    ("backup.schedule", "daily"),
    ("restore.hub", "../factorygate.tar.gz"),
    ("restore.hub", "/backup/factorygate.tar.gz"),
    ("restore.link", "factorygate.tar"),
    ("restore.proxy", "factorygate.tar.gz"),
    ("metrics.tls", "yes"),
    ("workshops.enabled", "yes"),
    ("workshops.size", 3),
    ("workshops.approval", "nobody"),
    ("workshops.pools", [{"id": "p", "factory": "it4lia", "sizes": [], "seats": 9}]),
    ("workshops.pools", [{"id": "p", "factory": "it4lia", "sizes": ["gpu-1"], "seats": 0}]),
    ("workshops.trainers", {"names": ["ada"]}),
    ("workshops.limits.seats", 100_000),
    ("workshops.mail.folder", "/tmp"),
    ("workshops.mail.smtp", {"host": "m", "user": "u", "password_file": "/etc/p"}),
    ("workshops.material.tokens", [{"prefix": "https://git.example.org/", "file": "/etc/passwd"}]),
    ("workshops.material.ca_file", "/etc/ca.pem"),
    ("workshops.materialSecret", "Deploy Tokens"),
    ("hub.subdomains", "yes"),
    ("workshops.db.url", "postgresql://workshops:word@db.example.org/workshops"),
    ("hub.image.digest", "sha256:1"),
]


@pytest.mark.parametrize(("path", "value"), REFUSED, ids=[f"{path}={value}"[:60] for path, value in REFUSED])
def test_the_schema_refuses(path: str, value: object) -> None:
    values = yaml.safe_load(DEMO.read_text())
    assert [*_schema().iter_errors(values)] == []
    *folders, last = path.split(".")
    place = values
    for folder in folders:
        place = place.setdefault(folder, {})
    place[last] = value
    places = [[str(part) for part in error.absolute_path] for error in _schema().iter_errors(values)]
    assert places
    assert any((found + folders)[: len(folders)] == folders for found in places), places


@cache
def _schema() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads((CHART / "values.schema.json").read_text()))


WORDS = [
    (TOGETHER, {"hub": {"loginSecret": ""}}, "hub.loginSecret: hub.login needs a Secret"),
    (DEMO, {"hub": LOGIN}, "hub.demoUsers, hub.login: give one of them"),
    (DEMO, {"hub": {"demoUsers": []}}, "Nobody could log in"),
    (DEMO, {"factories": {"it4lia": {"access": {"account_pool": []}}}}, "so nobody could run a job there"),
    (DEMO, {"link": {"sessionPorts": [20999, 20000]}}, "link.sessionPorts: is no range"),
    (APART, {"hub": {"db": {"passwordSecret": {"name": ""}}}}, "hub.db: postgres needs url and passwordSecret.name"),
    (APART, {"link": {"ledger": {"type": "sqlite-pvc"}}}, "link.ledger: url is for the type postgres"),
    (DEMO, {"httpRoute": {"enabled": True}}, "httpRoute.gateway.name: is needed"),
    (DEMO, {"catalogue": {"antennas": {"antennas": [], "sources": {}, "said": []}}}, "catalogue.antennas: needs"),
    (TOGETHER, {"metrics": {"tls": True}}, "metrics.tls: is for the topology apart"),
    (TOGETHER, {"workshops": {"mailSecret": {"name": ""}}}, "workshops.mailSecret.name: give both or none"),
    (DEMO, {"workshops": {"mailSecret": {"name": "s"}}}, "workshops.mailSecret.name: give both or none"),
    (DEMO, {"workshops": {"materialSecret": "s"}}, "workshops.materialSecret: give both or none"),
    (APART, {"workshops": {"materialSecret": ""}}, "workshops.materialSecret: give both or none"),
    (DEMO, {"hub": {"subdomains": True}}, "hub.subdomains: 127.0.0.1 has no subdomains"),
    (DEMO, {"restore": {"workshops": "w.tar.gz"}}, "restore.workshops: needs workshops.enabled"),
    (DEMO, {"restore": {"hub": "h.tar.gz"}, "backup": {"enabled": False}}, "restore: needs backup.enabled"),
    (DEMO, {"workshops": {"db": {"type": "postgres"}}}, "workshops.db: postgres needs url and passwordSecret.name"),
]


@pytest.mark.parametrize(("values", "more", "words"), WORDS, ids=[words[:40] for _, _, words in WORDS])
def test_values_that_do_not_fit_together_are_refused(values: Any, more: dict[str, Any], words: str) -> None:
    done = template(values, more=more)
    assert done.returncode != 0
    assert words in done.stderr, done.stderr
