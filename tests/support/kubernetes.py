"""A Kubernetes API server in memory, on loopback, with the requests that helm needs. It runs no pods."""

from __future__ import annotations

import base64
import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.support.chart import CHART, VARIANTS, Object, helm

_KINDS = {  # group and version: resource, kind
    "v1": {
        "namespaces": "Namespace",
        "secrets": "Secret",
        "configmaps": "ConfigMap",
        "services": "Service",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "pods": "Pod",
    },
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "batch/v1": {"jobs": "Job", "cronjobs": "CronJob"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy", "ingresses": "Ingress"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
}
_PATH = re.compile(
    r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"(?:/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?)?$"
)
_PROTOBUF = b"k8s\x00"  # the first bytes of each object in protobuf


class Cluster:
    """The stored objects, by kind and name; all of them are in the namespace ``default``."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.lock = threading.Lock()
        self.revision = 0

    def named(self, kind: str, name: str) -> Object:
        """Return the object of a kind with that name. Raises KeyError."""
        return self.objects[kind, name]

    def names(self, kind: str) -> set[str]:
        """Return the names of all objects of a kind, without helm's own release records."""
        return {name for found, name in self.objects if found == kind and not name.startswith("sh.helm.release")}

    def listed(self) -> list[Object]:
        """Return all objects, without helm's own records of releases."""
        return [thing for (kind, name), thing in self.objects.items() if name in self.names(kind)]

    def store(self, kind: str, name: str, thing: Object) -> Object:
        """Store an object as an API server does; return the object.

        It keeps the uid and the creation time of its first version, and gets a new revision.
        """
        before = self.objects.get((kind, name), {}).get("metadata", {})
        self.revision += 1
        if kind == "Secret":
            plain = thing.pop("stringData", {})
            encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
            thing["data"] = {**thing.get("data", {}), **encoded}
        thing["metadata"] |= {
            "namespace": "default",
            "uid": before.get("uid", str(uuid.uuid4())),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "resourceVersion": str(self.revision),
        }
        self.objects[kind, name] = thing
        return thing


class Release:
    """A release of the chart in a cluster, installed by helm."""

    def __init__(self, name: str, stored: Cluster, config: Path) -> None:
        self.name = name
        self.stored = stored
        self._env = {"KUBECONFIG": str(config), "HELM_CACHE_HOME": str(config.parent / "cache")}

    def helm(self, *arguments: str, values: Any = None) -> str:
        """Run helm until it ends; return its stdout. Fails the test if helm fails. ``values``: for the chart."""
        more = () if values is None else ("--values", "-")
        stdin = None if values is None else json.dumps(values)
        done = helm(*arguments, *more, stdin=stdin, **self._env)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def put(self, command: str, variant: str, values: Any = None) -> None:
        """Install or upgrade with a values file of ``ci``; ``values`` override it."""
        files = (self.name, str(CHART), "--values", str(VARIANTS[variant]))
        self.helm(
            command, *files, "--no-hooks", "--disable-openapi-validation", values={} if values is None else values
        )

    def uninstall(self) -> None:
        """Uninstall the release; helm keeps some objects."""
        self.helm("uninstall", self.name, "--no-hooks")

    def secret(self, name: str) -> dict[str, bytes]:
        """Return the values in a Secret by key, decoded from base64."""
        return {key: base64.b64decode(value) for key, value in self.stored.named("Secret", name)["data"].items()}

    def checksums(self, kind: str, name: str) -> Object:
        """Return the checksums in the annotations of an object's pods; a changed checksum restarts the pods."""
        found = self.stored.named(kind, name)["spec"]["template"]["metadata"]["annotations"]
        return {key: value for key, value in found.items() if key.startswith("checksum/")}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        self._answer(*self._got())

    def do_POST(self) -> None:
        self._answer(*self._written())

    do_PUT = do_PATCH = do_DELETE = do_POST

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _asked(self) -> tuple[str, dict[str, str], str | None, str | None]:
        """Return what a request names: group and version, the query, kind and name; kind and name may be None.

        Kind and name are None if the path has none; group and version are "" if the path is unknown.
        """
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        found = _PATH.match(parts.path)
        if found is None:
            return "", query, None, None
        group = found["core"] or found["group"]
        return group, query, _KINDS.get(group, {}).get(found["resource"] or ""), found["name"]

    def _got(self) -> tuple[int, object]:
        group, query, kind, name = self._asked()
        path = urlsplit(self.path).path
        if path == "/version":
            return 200, {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
        if path == "/api":
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return 200, {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(one) for one in _KINDS if "/" in one],
            }
        if kind is None:
            return (200, _resources(group)) if group in _KINDS and name is None else (404, _status(404, "NotFound"))
        with self.cluster.lock:
            if name is not None:
                found = self.cluster.objects.get((kind, name))
                return (200, found) if found else (404, _status(404, "NotFound", f"{kind} {name} not found"))
            listed = [
                thing
                for (of, _), thing in self.cluster.objects.items()
                if of == kind and _selected(thing, query.get("labelSelector", ""))
            ]
            return 200, {
                "kind": f"{kind}List",
                "apiVersion": group,
                "metadata": {"resourceVersion": "1"},
                "items": listed,
            }

    def _written(self) -> tuple[int, object]:
        group, query, kind, name = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if kind is None:
            return 404, _status(404, "NotFound")
        with self.cluster.lock:
            there = self.cluster.objects.get((kind, name or ""))
            if self.command == "DELETE":
                if there is None:
                    return 404, _status(404, "NotFound", f"{kind} {name} not found")
                del self.cluster.objects[kind, name or ""]
                return 200, _status(200, "", "gone") | {"status": "Success"}
            thing = _decoded(body, kind, group)
            name = name or thing["metadata"]["name"]
            if self.command == "POST" and (kind, name) in self.cluster.objects:
                return 409, _status(409, "AlreadyExists", f"{kind} {name} already exists")
            if self.command == "PATCH" and "apply-patch" not in self.headers["Content-Type"]:
                thing = _merged(there or {}, thing)
            if "dryRun" in query:
                return 200, thing
            return 201 if there is None else 200, self.cluster.store(kind, name, thing)


def _group(name: str) -> Object:
    version = {"groupVersion": name, "version": name.partition("/")[2]}
    return {"name": name.partition("/")[0], "versions": [version], "preferredVersion": version}


def _resources(group: str) -> Object:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group,
        "resources": [
            {
                "name": name,
                "singularName": kind.lower(),
                "kind": kind,
                "verbs": verbs,
                "namespaced": kind != "Namespace",
            }
            for name, kind in _KINDS[group].items()
        ],
    }


def _status(code: int, reason: str, message: str = "not found") -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


def _selected(thing: Object, selector: str) -> bool:
    labels = thing["metadata"].get("labels", {})
    for term in filter(None, selector.split(",")):
        key, unequal, value = re.fullmatch(r"([^!=]+)(!?)==?(.*)", term).groups()  # type: ignore[union-attr]
        if (labels.get(key) == value) == bool(unequal):
            return False
    return True


def _merged(there: Object, change: Mapping[str, Any]) -> Object:
    found = dict(there)
    for key, value in change.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            found[key] = _merged(found.get(key) or {}, value)
        else:
            found[key] = value
    return found


# --- objects in protobuf, which typed clients send for kinds that they know ------------------------------------------


def _decoded(body: bytes, kind: str, version: str) -> Object:
    if not body.startswith(_PROTOBUF):
        found: Object = yaml.safe_load(body)
        return found
    raw = dict(_fields(body[len(_PROTOBUF) :]))[2]
    thing: Object = {"apiVersion": version, "kind": kind, "metadata": {}}
    for number, value in _fields(raw):
        if number == 1:
            thing["metadata"] = _metadata(value)
        elif number == 2:
            key, content = _entry(value)
            text = base64.b64encode(content).decode() if kind == "Secret" else content.decode()
            thing.setdefault("data", {})[key] = text
        elif number == 3 and kind == "Secret":
            thing["type"] = value.decode()
    return thing


def _metadata(raw: bytes) -> Object:
    found: Object = {}
    for number, value in _fields(raw):
        if number in (1, 3):
            found[{1: "name", 3: "namespace"}[number]] = value.decode()
        elif number in (11, 12):
            key, content = _entry(value)
            found.setdefault({11: "labels", 12: "annotations"}[number], {})[key] = content.decode()
    return found


def _entry(raw: bytes) -> tuple[str, bytes]:
    found = dict(_fields(raw))
    return found[1].decode(), found.get(2, b"")


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each field of a protobuf message, in which only two wire types occur."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        value, at = _varint(raw, at)
        if tag & 7 == 2:
            yield tag >> 3, raw[at : at + value]
            at += value
        else:
            yield tag >> 3, value


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """Run an empty API server; yield it, and a kubeconfig for it."""
    stored = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cluster": stored}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    config = folder / "kubeconfig"
    named = {"name": "test"}
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [named | {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [named | {"user": {}}],
                "contexts": [named | {"context": {"cluster": "test", "user": "test", "namespace": "default"}}],
                "current-context": "test",
            }
        )
    )
    try:
        yield stored, config
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
