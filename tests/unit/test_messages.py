"""Messages to people in a session: invalid ones are refused, and only the last few are kept."""

from __future__ import annotations

import pytest

from factorygate.session.messages import KEPT, LONGEST, Messages, read_message

GOOD = {"id": "break-1", "text": "Ten minutes break.", "kind": "info"}


def test_a_message_is_kept_with_its_moment() -> None:
    kept = Messages()
    kept.add(read_message(GOOD, 0.0))
    assert kept.listed() == [GOOD | {"at": "1970-01-01T00:00:00.000Z"}]


def test_the_same_id_twice_is_one_message() -> None:
    kept = Messages()
    kept.add(read_message(GOOD, 0.0))
    kept.add(read_message(GOOD | {"text": "another"}, 1.0))
    assert [one["text"] for one in kept.listed()] == ["Ten minutes break."]


def test_only_the_last_are_kept() -> None:
    kept = Messages()
    for number in range(KEPT + 3):
        kept.add(read_message(GOOD | {"id": str(number)}, 0.0))
    assert [one["id"] for one in kept.listed()] == [str(number) for number in range(3, KEPT + 3)]


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        "text",
        {},
        GOOD | {"id": ""},
        GOOD | {"id": "a b"},
        GOOD | {"id": "x" * 65},
        GOOD | {"id": 7},
        GOOD | {"text": " \n "},
        GOOD | {"text": "x" * (LONGEST + 1)},
        GOOD | {"text": "a\x1b[31m"},
        GOOD | {"text": None},
        GOOD | {"kind": "fatal"},
        GOOD | {"kind": []},
    ],
)
def test_an_invalid_message_is_refused(told: object) -> None:
    with pytest.raises(ValueError, match="needed"):
        read_message(told, 0.0)
