"""Decides what each role may do with a workshop, in each of the workshop's states. Pure.

A role gives a person rights in one workshop only, and none in other workshops or at the hub.
"""

from __future__ import annotations

from workshops.models.bodies import Role
from workshops.models.callers import WorkshopCaller
from workshops.models.views import Action
from workshops.states import FINAL, IN_TABLE, JOINABLE, OVER, STEPS, WorkshopEvent, WorkshopState
from workshops.store.schema import MembershipRecord, WorkshopRecord

_STAFF: frozenset[Role] = frozenset({"lead", "instructor", "helper", "observer"})
_EVENTS: dict[Action, WorkshopEvent] = {
    "approve": WorkshopEvent.APPROVE,
    "withdraw": WorkshopEvent.WITHDRAW,
    "cancel": WorkshopEvent.CANCEL,
    "warm": WorkshopEvent.WARM,
    "close": WorkshopEvent.CLOSE,
}
_ACTIONS: tuple[Action, ...] = (
    "change", "submit", "approve", "decline", "withdraw", "cancel", "warm", "close", "code", "people", "see-people",
    "extend", "report", "certificates",
    "see-room", "help", "broadcast", "stop-seat", "start-seat", "go-on", "move", "fetch-material", "rehearse",
)  # fmt: skip


def sees(caller: WorkshopCaller, membership: MembershipRecord | None) -> bool:
    """Return whether the caller may know that the workshop exists."""
    return caller.operator or (membership is not None and membership.state not in ("banned", "left"))


def is_staff(caller: WorkshopCaller, membership: MembershipRecord | None) -> bool:
    """Return whether the caller is an operator, or lead, instructor, helper or observer of the workshop."""
    return caller.operator or _role(membership) in _STAFF


def sees_names(caller: WorkshopCaller, membership: MembershipRecord | None) -> bool:
    """Return whether the caller sees on the page with a workshop's seats (the room) who has each seat.

    Operators, the lead, instructors and helpers do; observers see the seats without names.
    """
    return caller.operator or _role(membership) in _STAFF - {"observer"}


def actions(
    caller: WorkshopCaller, membership: MembershipRecord | None, workshop: WorkshopRecord
) -> tuple[Action, ...]:
    """Return the actions that the caller may take on the workshop in its present state."""
    return tuple(one for one in _ACTIONS if holds(one, caller, membership) and is_time_for(one, workshop))


def holds(action: Action, caller: WorkshopCaller, membership: MembershipRecord | None) -> bool:
    """Return whether the caller may take an action by their role or as an operator.

    The state of the workshop is not considered: see ``is_time_for``. ``membership``: None means that the caller is not
    in the workshop.
    """
    role = _role(membership)
    match action:
        case "approve" | "decline":
            return caller.operator
        case "see-people" | "see-room":
            return is_staff(caller, membership)
        case (
            "warm" | "close" | "extend" | "broadcast" | "stop-seat" | "start-seat" | "go-on" | "move"
            | "fetch-material" | "rehearse"
        ):  # fmt: skip
            return caller.operator or role in ("lead", "instructor")
        case "help":  # no operator as such: what participants send is for those who teach them
            return role in ("lead", "instructor", "helper")
        case "report":
            return caller.operator or role in ("lead", "instructor", "helper")
        case _:
            return caller.operator or role == "lead"


def is_time_for(action: Action, workshop: WorkshopRecord) -> bool:
    """Return whether the workshop, as it is now, allows an action.

    The caller's role is not considered: see ``holds``.
    """
    state = workshop.state
    if (event := _EVENTS.get(action)) is not None:
        waits = workshop.submitted is not None
        return (state, event) in STEPS and (action != "approve" or waits)
    match action:
        case "go-on" | "start-seat":
            return state in (WorkshopState.WARMING, WorkshopState.OPEN)
        case "move":
            return state in (WorkshopState.WARMING, WorkshopState.OPEN) and len(workshop.places) > 1
        case "rehearse":
            return state in JOINABLE
        case "submit":
            return state == WorkshopState.DRAFT and workshop.submitted is None
        case "decline":
            return state == WorkshopState.DRAFT and workshop.submitted is not None
        case "fetch-material":
            return state not in FINAL and workshop.material is not None
        case "change" | "people":
            return state not in OVER
        case "extend":
            return state in (WorkshopState.WARMING, WorkshopState.OPEN)
        case "report":
            return state in IN_TABLE or state == WorkshopState.ARCHIVED
        case "certificates":
            over = (WorkshopState.OPEN, WorkshopState.CLOSING, WorkshopState.ARCHIVED)
            return state in over and workshop.erased is None
        case "broadcast" | "stop-seat" | "help":
            return state in IN_TABLE
        case "code":
            return state in JOINABLE or state not in FINAL | IN_TABLE
        case _:
            return True


def _role(membership: MembershipRecord | None) -> Role | None:
    return None if membership is None or membership.state in ("banned", "left") else membership.role
