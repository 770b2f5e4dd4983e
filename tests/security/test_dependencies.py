"""The dependencies, compared with publicly known vulnerabilities.

A known vulnerability fails the test. If no service knows a package, or none can be reached (no Internet access, an
index that is a mirror), the test is skipped with the number of packages that could not be audited.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from testbed.install import environments as install

LOCKS = sorted((install.CHECKOUT / "requirements").glob("*.txt"))
SERVICES = ("pypi", "osv")
UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Could not connect", "ServiceError")


@dataclass
class Answer:
    """The answer of one service.

    ``known``: the packages that it knows, as NAME==VERSION; ``vulnerable``: the ids of the vulnerabilities of each such
    package; ``silent``: why there is no answer, "" if there is one.
    """

    known: set[str] = field(default_factory=set)
    vulnerable: dict[str, str] = field(default_factory=dict)
    silent: str = ""


async def ask(service: str) -> Answer:
    """Audit all lock files at once with one vulnerability service; return its answer.

    Raises AssertionError if pip-audit cannot read the files.
    """
    locks = [word for lock in LOCKS for word in ("--requirement", str(lock))]
    how = ("--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json", "--timeout=10")
    argv = (sys.executable, "-m", "pip_audit", *how, f"--vulnerability-service={service}", *locks)
    _, out, err = await run(argv)
    try:
        return read(json.loads(out))
    except ValueError:
        last = err.strip().splitlines()[-1]
        assert any(word in last for word in UNREACHABLE), err
        return Answer(silent=f"{service} cannot be reached")


def read(report: dict[str, list[dict[str, Any]]]) -> Answer:
    answer = Answer()
    for package in report["dependencies"]:
        if "version" not in package:
            continue  # the service does not know the package
        name = f"{package['name']}=={package['version']}"
        answer.known.add(name)
        if package["vulns"]:
            answer.vulnerable[name] = ", ".join(vulnerability["id"] for vulnerability in package["vulns"])
    return answer


async def run(argv: tuple[str, ...], **env: str) -> tuple[int | None, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=install.CHECKOUT,
        env={**os.environ, **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def answers() -> list[Answer]:
    return list(await asyncio.gather(*(ask(service) for service in SERVICES)))


def locked(lock: Path) -> set[str]:
    lines = (line.split()[0] for line in lock.read_text().splitlines() if line[:1].isalnum())
    return {line.partition(";")[0] for line in lines}


@pytest.mark.timeout(600)  # the first test asks two services about hundreds of packages
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
@pytest.mark.asyncio(loop_scope="module")
async def test_no_locked_package_is_known_to_be_vulnerable(answers: list[Answer], lock: Path) -> None:
    names = locked(lock)
    found = {name: answer.vulnerable[name] for answer in answers for name in names & answer.vulnerable.keys()}
    assert found == {}
    unknown = sorted(names - set.union(*(answer.known for answer in answers)))
    if unknown:
        silent = "; ".join(answer.silent or "the index has no record of them" for answer in answers)
        few = ", ".join(unknown[:3])
        pytest.skip(f"NOT AUDITED: {len(unknown)} of {len(names)} packages of {lock.name} ({few} ...): {silent}")


def test_a_vulnerable_version_is_found() -> None:
    answer = read(
        {
            "dependencies": [
                {"name": "a", "version": "1", "vulns": []},
                {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-0", "fix_versions": ["3"]}]},
                {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (1)"},
            ]
        }
    )
    assert (answer.known, answer.vulnerable) == ({"a==1", "b==2"}, {"b==2": "PYSEC-0"})


@pytest.mark.parametrize(
    ("folder", "which"),
    # the proxy uses packages of the first; the second builds what ships
    [(".", ("--omit=dev",)), ("extensions/lab", ())],
    ids=["proxy", "lab"],
)
async def test_no_package_of_a_lock_of_npm_is_known_to_be_vulnerable(folder: str, which: tuple[str, ...]) -> None:
    node = install.node(Path(sys.executable))
    npm = node.parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    how = ("--package-lock-only", "--json", "--fetch-timeout=10000", "--fetch-retries=0")
    argv = (str(node), str(npm), "audit", f"--prefix={folder}", *which, *how)
    trust = os.environ.get("NODE_EXTRA_CA_CERTS") or str(install.SYSTEM_TRUST)
    _, out, err = await run(argv, NODE_EXTRA_CA_CERTS=trust)
    report = json.loads(out)
    if "vulnerabilities" not in report:
        assert "audit endpoint" in err or "ENOTFOUND" in err or "network" in err, err
        lock = f"{folder}/package-lock.json".removeprefix("./")
        pytest.skip(f"NOT AUDITED: {lock}: {report.get('message') or err.strip().splitlines()[-1]}")
    assert report["vulnerabilities"] == {}
