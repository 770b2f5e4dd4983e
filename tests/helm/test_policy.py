"""The rules that every pod of the chart must obey, whatever the values.

Pods are restricted, have probes and limits, and are isolated by network policies.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.chart import VARIANTS, Object, files, named, objects, pods, variant

PART = "app.kubernetes.io/component"
CLASSIC = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


RESTORING = "restoring"  # the name of a variant of "apart" in which backups are restored


@pytest.fixture(scope="module", params=[*VARIANTS, RESTORING])
def found(request: pytest.FixtureRequest) -> Any:
    if request.param != RESTORING:
        return variant(request.param)
    files = dict.fromkeys(("hub", "link", "workshops"), "factorygate-20261127T031702Z.tar.gz")
    return objects(VARIANTS["apart"], more={"restore": files})


def test_pods_are_restricted(found: list[Object]) -> None:
    """The pods obey the Pod Security Standard "restricted".

    They also have a read-only root, no token and no links to services.
    """
    for title, pod in pods(found):
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & spec.keys(), title
        assert spec["automountServiceAccountToken"] is False, title
        assert spec["enableServiceLinks"] is False, title
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, title
        assert security["runAsUser"] > 0, title
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, title
        assert security["fsGroupChangePolicy"] == "OnRootMismatch", title
        for volume in spec["volumes"]:
            assert volume.keys() - {"name"} <= CLASSIC, f"{title}: {volume['name']}"
        for container in containers(pod):
            assert container["securityContext"] == {
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, f"{title}: {container['name']}"


def test_images_have_a_tag_or_a_digest(found: list[Object]) -> None:
    for title, pod in pods(found):
        for container in containers(pod):
            assert re.search(r"(:[\w.-]+|@sha256:[0-9a-f]{64})$", container["image"]), f"{title}: {container['image']}"
            assert not container["image"].endswith(":latest")


def test_containers_are_bounded_and_watched(found: list[Object]) -> None:
    for title, pod in pods(found):
        for container in containers(pod):
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), f"{title}: {container['name']}"
            assert "memory" in resources["limits"], f"{title}: {container['name']}"
    for thing in found:
        if thing["kind"] in ("Deployment", "StatefulSet"):
            for container in thing["spec"]["template"]["spec"]["containers"]:
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    assert container[probe]["exec"]["command"][0] == "curl", f"{thing['kind']}: {container['name']}"


def test_no_workload_has_two_replicas(found: list[Object]) -> None:
    restoring = any(thing["metadata"]["name"].endswith("-restore") for thing in found)
    for thing in found:
        pods_of = 0 if restoring and not thing["metadata"]["name"].endswith("-proxy") else 1
        match thing["kind"]:
            case "Deployment":
                assert thing["spec"]["replicas"] == pods_of
                assert thing["spec"]["strategy"] == {"type": "Recreate"}
            case "StatefulSet":
                assert thing["spec"]["replicas"] == pods_of
            case "CronJob":
                assert thing["spec"]["concurrencyPolicy"] == "Forbid"


def test_mounts_have_volumes(found: list[Object]) -> None:
    for title, pod in pods(found):
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        mounted = {mount["name"] for container in containers(pod) for mount in container["volumeMounts"]}
        assert mounted == volumes, title
        for container in containers(pod):
            paths = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert len(paths) == len(set(paths)), f"{title}: {container['name']}"


def test_volumes_use_only_objects_of_the_chart_or_the_values(found: list[Object]) -> None:
    made = {(thing["kind"], thing["metadata"]["name"]) for thing in found}
    secrets = [thing for thing in found if thing["kind"] == "Secret"]
    for title, pod in pods(found):
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in made, title
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in made, title
            if "secret" in volume:
                name = volume["secret"]["secretName"]
                assert ("Secret", name) in made or name.endswith(
                    ("-ssh", "-secrets", "login-clients", "deploy-tokens")
                ), title
                assert volume["secret"]["defaultMode"] in (0o400, 0o440), title
                for item in volume["secret"].get("items", []):
                    content = next((files(one) for one in secrets if one["metadata"]["name"] == name), None)
                    assert content is None or item["key"] in content, f"{title}: {name}: {item['key']}"


def test_each_pod_has_a_network_policy_for_both_ways(found: list[Object]) -> None:
    policies = [thing for thing in found if thing["kind"] == "NetworkPolicy"]
    for title, pod in pods(found):
        labels = pod["metadata"]["labels"].items()
        mine = [one["spec"] for one in policies if labels >= one["spec"]["podSelector"]["matchLabels"].items()]
        assert any(set(one["policyTypes"]) == {"Ingress", "Egress"} for one in mine), title
    for policy in policies:
        assert policy["spec"]["podSelector"].get("matchLabels"), policy["metadata"]["name"]
        for rule in policy["spec"].get("egress", []):
            assert rule["to"], policy["metadata"]["name"]
            assert rule["ports"], policy["metadata"]["name"]


def test_only_the_link_may_reach_a_factory() -> None:
    found = variant("apart")
    policy = named(found, "NetworkPolicy", "-factory-it4lia")["spec"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "link"
    assert policy["egress"] == [
        {"to": [{"ipBlock": {"cidr": "192.0.2.0/28"}}], "ports": [{"protocol": "TCP", "port": 22}]}
    ]
    for part in ("hub", "proxy"):
        rules = named(found, "NetworkPolicy", f"x-factorygate-{part}")["spec"]["egress"]
        blocks = [peer["ipBlock"]["cidr"] for rule in rules for peer in rule["to"] if "ipBlock" in peer]
        assert set(blocks) <= {"169.254.0.0/16", "192.0.2.40/32"}  # the DNS server and the hub's database


def test_apart_each_port_is_open_for_its_callers_only() -> None:
    found = variant("apart")
    may: dict[tuple[str, int], set[str]] = {}
    for part in ("hub", "link", "proxy"):
        for rule in named(found, "NetworkPolicy", f"x-factorygate-{part}")["spec"]["ingress"]:
            callers = {
                peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
                if "podSelector" in peer
                else "outside"
                for peer in rule.get("from", [{"ipBlock": {}}])
            }
            for port in rule["ports"]:
                may[part, port["port"]] = callers
    assert may == {
        ("hub", 8081): {"proxy", "link"},
        ("link", 8443): {"hub"},
        ("link", 8090): {"hub", "proxy"},
        ("link", 8444): {"hub"},
        ("link", 8092): {"hub", "proxy"},
        ("link", 20000): {"hub", "proxy"},
        ("link", 9099): {"outside"},
        ("proxy", 8000): {"outside"},
        ("proxy", 8001): {"hub"},
        ("proxy", 8002): {"outside"},
    }


def test_without_workshops_nothing_of_them_is_there() -> None:
    assert "workshops" not in repr(variant("demo"))
    found = variant("together")
    assert "workshops" in repr(found)
    off = objects(VARIANTS["together"], more={"workshops": {"enabled": False}})
    assert "workshops" not in repr([one for one in off if one["kind"] != "ConfigMap"])
    names = {(one["kind"], one["metadata"]["name"]) for one in found}
    assert names - {(one["kind"], one["metadata"]["name"]) for one in off} == {
        ("ConfigMap", "x-factorygate-workshops"),
        ("ConfigMap", "x-factorygate-workshop-pools"),
        ("PersistentVolumeClaim", "x-factorygate-workshops"),
        ("PersistentVolumeClaim", "x-factorygate-workshops-backup"),
        ("CronJob", "x-factorygate-workshops-backup"),
    }


def test_objects_that_must_survive_an_uninstall_are_kept(found: list[Object]) -> None:
    for thing in found:
        kept = thing["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
        if thing["kind"] == "PersistentVolumeClaim":
            assert kept, thing["metadata"]["name"]
        elif thing["kind"] == "Secret":
            once = "admin-token" in files(thing) or "trusted.crt" in files(thing)
            assert kept == once, thing["metadata"]["name"]
        else:
            assert not kept, thing["metadata"]["name"]


def test_no_secret_is_in_a_config_map_or_in_a_command(found: list[Object]) -> None:
    secrets = [value for thing in found if thing["kind"] == "Secret" for value in files(thing).values()]
    words = {value.strip() for value in secrets if re.fullmatch(r"[0-9A-Za-z]{20,}", value.strip())}
    for thing in found:
        if thing["kind"] != "Secret":
            text = repr(thing)
            assert not [word for word in words if word in text], thing["metadata"]["name"]
            assert "PRIVATE KEY" not in text


def test_a_backup_is_made_before_an_upgrade_and_no_other_time() -> None:
    def hooks(*arguments: str) -> list[str]:
        found = objects(VARIANTS["demo"], *arguments)
        return [one["metadata"]["name"] for one in found if one["kind"] == "Job"]

    assert hooks() == []
    with_workshops = objects(VARIANTS["together"], "--is-upgrade")
    assert named(with_workshops, "Job", "-workshops-backup-before-upgrade")
    assert hooks("--is-upgrade") == [
        "x-factorygate-hub-backup-before-upgrade",
        "x-factorygate-link-backup-before-upgrade",
    ]


def test_backups_run_beside_the_pod_whose_volume_they_read() -> None:
    for part, beside in (("hub", "hub"), ("link", "link"), ("workshops", "link")):
        job = named(variant("apart"), "CronJob", f"-{part}-backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (term,) = job["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == beside


@pytest.mark.parametrize(("name", "of_link"), [("together", "hub"), ("apart", "link")])
def test_backups_and_restores_run_on_nodes_on_which_their_pod_runs(name: str, of_link: str) -> None:
    tolerated = {part: [{"key": part, "operator": "Exists"}] for part in ("hub", "link")}
    more = {part: {"tolerations": found} for part, found in tolerated.items()}
    backup = named(objects(VARIANTS[name], more=more), "CronJob", "-link-backup")["spec"]["jobTemplate"]
    restore = named(objects(VARIANTS[name], more=more | {"restore": {"link": "l.tar.gz"}}), "Job", "-link-restore")
    for job in (backup, restore):
        assert job["spec"]["template"]["spec"]["tolerations"] == tolerated[of_link]


def test_a_changed_configuration_starts_the_pods_that_read_it() -> None:
    """Other pods do not restart: a restarted proxy would interrupt people."""
    checks = [
        ({}, set()),
        ({"hub": {"namedServers": 3}}, {"hub"}),
        ({"hub": {"config": {"Spawner": {"default_url": "/tree"}}}}, {"hub"}),
        ({"link": {"limits": {"sessions_per_person": 3}}}, {"link"}),
        ({"hub": {"baseUrl": "/other/"}}, {"hub", "link", "proxy"}),
        ({"workshops": {"approval": "operator"}}, {"link"}),
        ({"workshops": {"guests": True}}, {"hub"}),
        ({"workshops": {"pools": [{"id": "p", "factory": "it4lia", "sizes": ["gpu-1"], "seats": 9}]}}, set()),
        ({"internalTls": {"generation": 2}}, {"hub", "link", "proxy"}),
        ({"projects": [{"id": "p", "title": "P", "factories": {"it4lia": {"account": "a"}}}]}, {"link"}),
    ]
    before = _checksums({})
    for values, changed in checks:
        after = _checksums(values)
        assert {part for part in after if after[part] != before[part]} == changed, values


def _checksums(values: dict[str, Any]) -> dict[str, str]:
    found = objects(VARIANTS["apart"], more=values)
    return {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["metadata"]["annotations"]["checksum/config"]
        for title, pod in pods(found)
        if title.startswith(("Deployment", "StatefulSet"))
    }


def test_prometheus_gets_rules_monitors_and_dashboards() -> None:
    found = variant("apart")
    rules = named(found, "PrometheusRule", "x-factorygate")["spec"]["groups"]
    assert [rule["alert"] for group in rules for rule in group["rules"] if "alert" in rule]
    boards = [one for one in found if one["kind"] == "ConfigMap" and one["metadata"]["labels"].get("grafana_dashboard")]
    assert boards
    jobs = {
        label["replacement"]
        for one in found
        if one["kind"] == "ServiceMonitor"
        for endpoint in one["spec"]["endpoints"]
        for label in endpoint["relabelings"]
    }
    asked = set(re.findall(r"factorygate-(?:hub|link|proxy)", "".join(re.findall(r'job=~?"[^"]*"', repr(rules)))))
    assert jobs == {"factorygate-hub", "factorygate-link", "factorygate-proxy"}
    assert asked <= jobs
