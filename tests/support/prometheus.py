"""Debian's Prometheus for tests: it scrapes a running gateway with the rules of ``monitoring/``,
and answers queries."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from testbed import ports
from tests.support.gateway import Gateway, eventually

MONITORING = Path(__file__).parents[2] / "monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))


def program(name: str) -> str:
    """Return the path of Debian's program; skip the test if it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name} (Debian's package prometheus; as root, bin/test installs it)")
    return found


@dataclass(frozen=True)
class Target:
    """The target of a scrape job: host and port, and path.

    ``token_file``: the file with the token that each scrape sends; None: no token is sent.
    """

    address: str
    path: str = "/metrics"
    token_file: Path | None = None


@dataclass(frozen=True)
class Query:
    """One query of a panel of a dashboard."""

    dashboard: str
    panel: str
    expression: str


def queries(path: Path) -> list[Query]:
    """Return all queries of a dashboard, with the variable ``factory`` not replaced."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return [
        Query(path.stem, panel["title"], target["expr"])
        for panel in found["panels"]
        for target in panel.get("targets", ())
    ]


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=60, trust_env=False)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the present samples of a query. Fails the test if the query cannot be parsed."""
        answer = self._http.get("/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def up(self) -> dict[str, str]:
        """Return, by job, the health of its last scrape: up, down or unknown, with the error."""
        active = self._http.get("/targets").json()["data"]["activeTargets"]
        return {one["labels"]["job"]: f"{one['health']} {one['lastError']}".strip() for one in active}

    def alerts(self, state: str = "firing") -> set[tuple[str, str]]:
        """Return the alerts in that state, each with its factory ("" if it has none)."""
        found = self._http.get("/alerts").json()["data"]["alerts"]
        return {(a["labels"]["alertname"], a["labels"].get("factory", "")) for a in found if a["state"] == state}

    def firing_since(self, begun: float, every: float) -> dict[tuple[str, str], tuple[float, float]]:
        """Return the Unix times at which each alert, with its factory ("" if it has none), fired first and last.

        ``begun``: the Unix time from which alerts count; ``every``: seconds between two samples, so the times are only
        as exact as this. The last time is that of the last sample in which the alert fired. If an alert fires for
        several processes, these are the first and the last time of any of them.
        """
        params = {"query": 'ALERTS{alertstate="firing"}', "start": begun, "end": time.time(), "step": every}
        answer = self._http.get("/query_range", params=params).json()
        assert answer["status"] == "success", answer
        found: dict[tuple[str, str], tuple[float, float]] = {}
        for series in answer["data"]["result"]:
            name = (series["metric"]["alertname"], series["metric"].get("factory", ""))
            first, last = found.get(name, (math.inf, 0.0))
            found[name] = (min(first, series["values"][0][0]), max(last, series["values"][-1][0]))
        return found

    def ready(self) -> bool:
        """Return whether Prometheus answers."""
        try:
            return self._http.get("/status/buildinfo").is_success
        except httpx.HTTPError:
            return False


@contextmanager
def running(folder: Path, targets: Mapping[str, Target], rules: str, every: str = "1s") -> Iterator[Prometheus]:
    """Run Prometheus in a folder during the block; yield it once it answers.

    ``targets``: by scrape job; ``rules``: text of a rule file; ``every``: the interval of scrapes and of evaluations.
    """
    port = ports.single()
    (folder / "alerts.yml").write_text(rules)
    jobs = [
        {
            "job_name": job,
            "metrics_path": target.path,
            "static_configs": [{"targets": [target.address]}],
            **(
                {"authorization": {"type": "token", "credentials_file": str(target.token_file)}}
                if target.token_file
                else {}
            ),
        }
        for job, target in targets.items()
    ]
    config = {"global": {"scrape_interval": every, "evaluation_interval": every}, "rule_files": ["alerts.yml"]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({**config, "scrape_configs": jobs}))
    argv = [
        program("prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        eventually(lambda: process.poll() is not None or prometheus.ready(), what="Prometheus answers")
        assert process.poll() is None, (folder / "log").read_text()
        yield prometheus
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def watching(gateway: Gateway, folder: Path, rules: str = "groups: []", every: str = "1s") -> Iterator[Prometheus]:
    """Run Prometheus with the three scrape jobs of a demo during the block, which begins once each job was scraped.

    ``folder``: an empty folder; ``rules``: the text of a rule file; ``every``: the interval of scrapes and evaluations.
    """
    public = int(gateway.root.split("//")[1].split("/")[0].rpartition(":")[2])
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(gateway.admin_token)
    targets = {
        "factorygate-link": Target(f"127.0.0.1:{public + 3}"),
        "factorygate-hub": Target(f"127.0.0.1:{public + 81}", f"{httpx.URL(gateway.hub).path}/metrics", token),
        "factorygate-proxy": Target(f"127.0.0.1:{public + 2}"),
    }
    with running(folder, targets, rules, every) as prometheus:
        eventually(lambda: set(prometheus.up().values()) == {"up"}, what="each job is scraped")
        yield prometheus


def promtool(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run promtool in the folder ``monitoring``; return its result, also if it fails."""
    return subprocess.run(
        [program("promtool"), *argv], cwd=MONITORING, capture_output=True, text=True, timeout=120, check=False
    )


def quicker(rules: str, looks: int, waits: int) -> str:
    """Return the rules with time ranges divided by ``looks``, and with ``for`` times divided by ``waits``.

    No time becomes shorter than 2 s. Thresholds stay.
    """

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[2]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[3]]
        return f"{found[1]}{max(2, round(seconds / (looks if found[1] == '[' else waits)))}s"

    return re.sub(r"(\[|for: )(\d+)([smhd])", shorter, rules)
