"""A person gives the job of a session another name or another comment; tested with the whole gateway."""

from __future__ import annotations

import pytest

from tests.support.gateway import Gateway, eventually

FACTORY, SIZE = "lumi-aif", "gcd-1"


@pytest.mark.parametrize("change", ["JobName=mine", "Comment=mine"])
def test_a_session_whose_job_was_altered_goes_on_and_can_be_stopped(gateway: Gateway, change: str) -> None:
    """The link does not cancel a job with another comment: it asks the notebook to end, and the job ends, too."""
    user = gateway.make_user()
    factory = gateway.factories[FACTORY]
    gateway.started(user, "", factory=FACTORY, size=SIZE, hours=0.5)
    session = gateway.session(user)
    assert session is not None
    factory.ask("scontrol", "update", f"JobId={session['job']}", change)

    def remarked() -> str:
        return ((gateway.session(user) or {}).get("remark") or {}).get("code", "")

    code = {"JobName=mine": "job-renamed", "Comment=mine": "job-altered"}[change]
    eventually(lambda: remarked() == code, 60, what=code)
    assert gateway.notebook(user).run("print(6 * 7)").strip() == "42"
    now = gateway.session(user)
    assert now is not None
    assert (now["id"], now["job"], now["state"]) == (session["id"], session["job"], "running")

    gateway.stopped(user)
    ended = next(one for one in gateway.sessions(user) if one["id"] == session["id"])
    assert (ended["state"], ended["end_reason"]) == ("ended", "stopped")
    eventually(lambda: session["job"] not in factory.jobs(), 30, what="the job has ended")
