"""Makes JupyterHub's progress events of a start: for scripts, JupyterHub's page and the gateway's page."""

from __future__ import annotations

from typing import Any

from factorycommon.models import Session, SessionState

_PERCENT = {
    SessionState.PENDING: 10,
    SessionState.STARTING: 50,
    SessionState.RUNNING: 95,
    SessionState.ENDING: 100,
    SessionState.ENDED: 100,
}


def event(session: Session | None, *, silent: bool, waits_for_predecessor: bool) -> dict[str, Any]:
    """Return one progress event of a start.

    The event has ``message`` for people; ``progress`` in percent, unless the session's state is ``unreachable``; and
    ``session`` as JSON for the gateway's page, unless there is no session yet.

    ``session``: None if there is none yet; ``silent``: whether the link does not answer now; ``waits_for_predecessor``:
    whether an earlier session of the server is still ending.
    """
    if session is None:
        message = "The server's last session is still ending." if waits_for_predecessor else "Asking the factory."
        return {"progress": 5, "message": message}
    data: dict[str, Any] = {"message": _message(session), "session": session.model_dump(mode="json")}
    if session.state in _PERCENT:
        data["progress"] = _percent(session)
    if silent:
        data["message"] = "The gateway's link does not answer just now; the session goes on."
    return data


def _percent(session: Session) -> int:
    if session.state == SessionState.STARTING:
        return _PERCENT[session.state] + 15 * session.door_open + 15 * session.environment_sent
    return _PERCENT[session.state]


def _message(session: Session) -> str:
    match session.state:
        case SessionState.PENDING:
            return " ".join(part for part in (_waiting(session), _position(session), _expected(session)) if part)
        case SessionState.STARTING if session.waits_for:
            return session.waits_for.what
        case SessionState.STARTING if not session.door_open:
            return f"The job runs{_on(session)}; waiting for its door."
        case SessionState.STARTING if not session.environment_sent:
            return f"The door is open{_on(session)}; handing over the environment."
        case SessionState.STARTING:
            return f"JupyterLab is starting{_on(session)}."
        case SessionState.RUNNING:
            return f"JupyterLab answers{_on(session)}."
        case SessionState.UNREACHABLE:
            return session.waits_for.what if session.waits_for else f"{session.choice.factory} does not answer."
        case SessionState.ENDING:
            return "The session is ending."
        case SessionState.ENDED:
            return session.end.what if session.end else "The session has ended."


def _waiting(session: Session) -> str:
    return session.waits_for.what if session.waits_for else f"Waiting in the queue of {session.choice.factory}."


def _position(session: Session) -> str:
    return f"Position {session.position}." if session.position is not None else ""


def _expected(session: Session) -> str:
    return f"Expected start: {session.expected_start:%Y-%m-%d %H:%M} UTC." if session.expected_start else ""


def _on(session: Session) -> str:
    return f" on {session.node}" if session.node else ""
