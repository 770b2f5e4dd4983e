"""Attacks by a user of the gateway, or of the cluster."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import Gateway, eventually

ROOT = os.getuid() == 0


@pytest.fixture(scope="module")
def running(gateway: Gateway):  # type: ignore[no-untyped-def]
    gateway.started("ada", "target", factory="it4lia", size="gpu-1", hours=0.5)
    yield gateway
    gateway.stopped("ada", "target")


def secrets_of(gateway: Gateway) -> list[str]:
    """Return the tokens that the notebook of ada/target received."""
    code = "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])"
    return [gateway.notebook("ada", "target").run(code).strip()]


def test_the_callback_of_batchspawner_does_not_exist(running: Gateway) -> None:
    token = secrets_of(running)[0]
    mark = Path("/tmp/factorygate-callback-attack")
    body = {"exec_prefix": f"touch {mark};", "batch_query_cmd": f"touch {mark}"}
    answer = running.api("POST", "/batchspawner", token=token, json=body)
    assert answer.status_code == 404, answer.text
    assert not mark.exists()


@pytest.mark.skipif(not ROOT, reason="needs a second site account")
def test_a_copied_comment_of_another_account_changes_nothing(running: Gateway) -> None:
    factory = running.factories["it4lia"]
    session = running.session("ada", "target")
    assert session is not None
    mine = factory.jobs()[session["job"]]
    account = next(name for name in ("fg-grace", "fg-emmy") if name != mine["user"])
    who = pwd.getpwnam(account)
    wanted = ["--chdir=/tmp", "--output=/dev/null", "--partition=boost_usr_prod", "--time=10", "--mem=100"]
    copied = [f"--job-name={mine['name']}", f"--comment={mine['comment']}"]
    argv = [*factory.prefix, "sbatch", "--parsable", *wanted, *copied, "--wrap=sleep 300"]
    env = {"PATH": os.environ["PATH"], "HOME": who.pw_dir, **factory.env}
    done = subprocess.run(
        argv,
        env=env,
        user=who.pw_uid,
        group=who.pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    forged = done.stdout.strip().split(";")[0]
    try:
        eventually(lambda: factory.jobs().get(forged, {}).get("state") == "RUNNING")
        # the link asks several more times; the session keeps its job, node and door
        assert running.notebook("ada", "target").run("print('mine')").strip() == "mine"
        again = running.session("ada", "target")
        assert again is not None and (again["job"], again["state"]) == (session["job"], "running")
    finally:
        factory.ask("scancel", forged)
    eventually(lambda: forged not in factory.jobs())
    again = running.session("ada", "target")
    assert again is not None and (again["job"], again["state"]) == (session["job"], "running")


EVIL = [
    {"factory": "it4lia\n#SBATCH --uid=0"},
    {"size": "gpu-1\n#SBATCH --exclusive"},
    {"size": 'gpu-1"; touch /tmp/x; "'},
    {"environment": "$(touch /tmp/x)"},
    {"environment": "no-such"},
    {"size": "no-such"},
    {"factory": "no-such"},
    {"hours": 1000},
    {"hours": -1},
    {"hours": "1\n#SBATCH --gres=gpu:4"},
    {"hours": float("1e308")},
    {"hours": True},
    {"project": "x\n"},
    {"partition": "boost_usr_prod"},
    {"exec_prefix": "touch /tmp/x"},
    {"idle_minutes": 100000},
    {"unopened_minutes": 0},
]


@pytest.mark.parametrize("evil", EVIL, ids=[str(e) for e in EVIL])
def test_a_form_field_is_never_scheduler_text(gateway: Gateway, evil: dict[str, object]) -> None:
    user = "emmy"
    before = {name: set(factory.jobs()) for name, factory in gateway.factories.items()}
    choice = {"factory": "it4lia", "size": "gpu-1", "hours": 0.5} | evil
    answer = gateway.start(user, "evil", **choice)
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"]
    client = gateway.browser_session(user)
    xsrf = client.cookies.get("_xsrf", path="/hub/") or ""
    form = {key: str(value) for key, value in choice.items()}
    page = client.post(f"{gateway.hub}/spawn/{user}/evil", params={"_xsrf": xsrf}, data=form)
    assert page.status_code == 400, page.status_code
    after = {name: set(factory.jobs()) for name, factory in gateway.factories.items()}
    assert all(after[name] <= before[name] for name in after)


def test_a_link_does_not_start_a_job(gateway: Gateway) -> None:
    client = gateway.browser_session("emmy")
    query = {"opt-factory": "it4lia", "opt-size": "gpu-1", "opt-hours": "0.5"}
    page = client.get(f"{gateway.hub}/spawn/emmy/by-link", params=query)
    assert "<form" in page.text
    assert gateway.session("emmy", "by-link") is None
    page = client.get(f"{gateway.hub}/spawn/emmy/by-link", params={"factory": "it4lia"})
    assert gateway.session("emmy", "by-link") is None


def test_secrets_are_nowhere(running: Gateway) -> None:
    secrets = [secret.encode() for secret in secrets_of(running)]
    session = running.session("ada", "target")
    assert session is not None
    factory = running.factories["it4lia"]
    job = session["job"]
    texts = [
        factory.ask("scontrol", "show", "job", "-d", job),
        factory.ask("scontrol", "write", "batch_script", job, "-"),
    ]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                texts.append((entry / "cmdline").read_bytes().decode(errors="replace"))
            except OSError:
                continue
    for secret in secrets:
        assert not any(secret.decode() in text for text in texts)
    homes = [Path(pwd.getpwnam(session["account"]).pw_dir) / ".factorygate"]
    demo = running.path.parent
    hub_database = re.compile(r"jupyterhub\.sqlite")
    for path in [p for folder in [demo, *homes] for p in folder.rglob("*") if p.is_file()]:
        with contextlib.suppress(FileNotFoundError):  # programs replace their files, and other sessions end
            if hub_database.search(path.name) or "venv" in path.parts or path.stat().st_size > 50_000_000:
                continue
            data = path.read_bytes()
            assert not any(secret in data for secret in secrets), path


@pytest.mark.skipif(not ROOT, reason="needs a second site account")
def test_another_user_cannot_read_the_environment(running: Gateway) -> None:
    code = "import os; print(os.getpid(), os.getppid())"
    pid = running.notebook("ada", "target").run(code).split()[0]
    running.started("grace", "reader", factory="it4lia", size="gpu-1", hours=0.5)
    try:
        attack = f"""
try:
    print(len(open("/proc/{pid}/environ").read()))
except PermissionError:
    print("refused")
"""
        assert running.notebook("grace", "reader").run(attack).strip() == "refused"
    finally:
        running.stopped("grace", "reader")


def test_the_user_api_wants_a_token(gateway: Gateway) -> None:
    url = f"{gateway.root}/services/factories/api/factories"
    assert httpx.get(url, timeout=60).status_code in (401, 403)
    assert httpx.get(url, headers={"Authorization": "Bearer nonsense"}, timeout=60).status_code in (401, 403)
    client = gateway.browser_session("ada")
    assert client.get(url).status_code in (401, 403), "the hub's cookie must be worth nothing here"
