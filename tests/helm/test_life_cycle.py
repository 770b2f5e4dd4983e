"""Installs, upgrades, rolls back, uninstalls and installs again, with the real helm and an API server in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.kubernetes import Release, cluster


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    with cluster(tmp_path) as (stored, config):
        yield Release("gw", stored, config)


def test_secrets_and_volumes_survive_everything(release: Release) -> None:
    release.put("install", "demo")
    secrets = release.secret("gw-factorygate")
    assert len(secrets["cookie-secret"]) == 64
    assert len(set(secrets.values())) == len(secrets)
    before = release.checksums("Deployment", "gw-factorygate")

    release.put("upgrade", "demo", {"hub": {"namedServers": 3, "demoUsers": ["ada", "grace", "edith"]}})
    after = release.secret("gw-factorygate")
    assert {key: after[key] for key in secrets} == secrets
    assert after.keys() - secrets.keys() == {"demo-edith"}
    changed = release.checksums("Deployment", "gw-factorygate")
    assert changed["checksum/config"] != before["checksum/config"]

    release.put("upgrade", "demo")
    assert release.checksums("Deployment", "gw-factorygate") == before  # no pod restarts without a reason
    release.helm("rollback", "gw", "1", "--no-hooks")
    assert release.secret("gw-factorygate").items() >= secrets.items()

    claims = {name: release.stored.named("PersistentVolumeClaim", name)["metadata"]["uid"] for name in
              release.stored.names("PersistentVolumeClaim")}  # fmt: skip
    release.uninstall()
    assert release.stored.names("Secret") == {"gw-factorygate"}
    assert release.stored.names("PersistentVolumeClaim") == claims.keys() != set()
    for kind in ("Deployment", "ConfigMap", "Service", "NetworkPolicy", "CronJob"):
        assert release.stored.names(kind) == set()

    release.put("install", "demo")
    assert release.secret("gw-factorygate") == secrets
    assert claims == {name: release.stored.named("PersistentVolumeClaim", name)["metadata"]["uid"] for name in claims}
    assert release.stored.names("Deployment") == {"gw-factorygate"}


def test_certificates_are_kept_renewed_and_replaced(release: Release) -> None:
    values = {"metrics": {"serviceMonitor": {"enabled": False}, "prometheusRule": {"enabled": False}}}
    release.put("install", "apart", values)
    authority = release.secret("gw-factorygate-internal-ca")
    leaf = release.secret("gw-factorygate-link-tls")
    checks = {kind: release.checksums(kind, f"gw-factorygate-{part}") for kind, part in PARTS}

    release.put("upgrade", "apart", values)
    assert release.secret("gw-factorygate-internal-ca") == authority
    assert release.secret("gw-factorygate-link-tls") == leaf

    # Certificates older than renewDays are renewed by the same authority; the pods read them without a restart.
    release.stored.named("Secret", "gw-factorygate-link-tls")["metadata"]["annotations"]["factorygate/made"] = (
        "1600000000"
    )
    release.put("upgrade", "apart", values)
    renewed = release.secret("gw-factorygate-link-tls")
    assert renewed["tls.crt"] != leaf["tls.crt"]
    assert renewed["ca.crt"] == leaf["ca.crt"]
    assert release.secret("gw-factorygate-internal-ca") == authority
    assert {kind: release.checksums(kind, f"gw-factorygate-{part}") for kind, part in PARTS} == checks

    # Another generation means a new authority. While the pods change over, both authorities are trusted.
    release.put("upgrade", "apart", values | {"internalTls": {"generation": 2}})
    second = release.secret("gw-factorygate-internal-ca")
    assert second["tls.key"] != authority["tls.key"]
    trusted = x509.load_pem_x509_certificates(release.secret("gw-factorygate-hub-tls")["ca.crt"])
    assert trusted == [x509.load_pem_x509_certificate(one["tls.crt"]) for one in (second, authority)]
    hub = x509.load_pem_x509_certificate(release.secret("gw-factorygate-hub-tls")["tls.crt"])
    hub.verify_directly_issued_by(trusted[0])
    assert {kind: release.checksums(kind, f"gw-factorygate-{part}") for kind, part in PARTS} != checks


PARTS = (("Deployment", "hub"), ("StatefulSet", "link"))
