"""Seats, the waiting list, and lists of people as CSV."""

from __future__ import annotations

import contextlib
import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshops.joining import people_list, seats
from workshops.joining.people_list import Invited, Listed, ListFaults
from workshops.joining.seats import Waiting

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)


@given(
    taken=st.sets(st.integers(1, 12)),
    number=st.integers(0, 12),
    delays=st.lists(st.integers(0, 5), max_size=12),
)
def test_a_free_seat_is_never_kept_from_who_waits_longest(taken: set[int], number: int, delays: list[int]) -> None:
    waiting = [Waiting(f"p{at}", NOW + timedelta(seconds=delay)) for at, delay in enumerate(delays)]
    given_seats = seats.promotions(taken, number, waiting)
    order = [one.person for one in seats.in_order(waiting)]
    assert [one.person for one in given_seats] == order[: len(given_seats)]
    numbers = [one.seat for one in given_seats]
    assert len(set(numbers)) == len(numbers) and not set(numbers) & taken
    assert all(1 <= one <= number for one in numbers)
    left = set(range(1, number + 1)) - taken - set(numbers)
    assert not left or len(given_seats) == len(waiting)


def test_a_position_counts_from_one() -> None:
    waiting = [Waiting("bob", NOW), Waiting("ada", NOW - timedelta(minutes=1))]
    assert [seats.position(waiting, name) for name in ("ada", "bob", "eve")] == [1, 2, None]
    assert seats.free_seat({1, 2}, 2) is None
    assert seats.free_seat({1, 3}, 3) == 2


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_list_is_read_as_spreadsheets_write_it(mark: str, line_end: str) -> None:
    lines = ["Name;Mail;Role", 'Lovelace, "Ada";Ada@Example.org;', "", ";bob@example.org;Helper"]
    text = mark + line_end.join(lines).replace('Lovelace, "Ada"', '"Lovelace, ""Ada"""')
    assert people_list.read(text.encode()) == [
        Invited("ada@example.org", 'Lovelace, "Ada"', "participant"),
        Invited("bob@example.org", "", "helper"),
    ]


def test_all_mistakes_are_named_by_line_and_nothing_is_used() -> None:
    text = "mail,role\nada@example.org,\nnobody,\nbob@example.org,boss\nada@EXAMPLE.org,\nx@example.org,helper,more\n"
    with pytest.raises(ListFaults) as raised:
        people_list.read(text.encode())
    found = [(one.line, one.text.code) for one in raised.value.faults]
    assert found == [(3, "list-mail"), (4, "list-role"), (5, "list-twice"), (6, "list-cells")]
    assert "boss" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        (b"", "list-empty", 1),
        (b"\n\n", "list-empty", 1),
        (b"name\nAda\n", "list-heading", 1),
        (b"mail,mail\n", "list-heading", 1),
        (b"mail,formula\n", "list-heading", 1),
        (b"mail\nada@example.org\n\xff\n", "list-utf8", 3),
        (b"mail\nada@example.org\n\0\n", "list-utf8", 3),
        (b'mail\n"ada@example.org\n', "list-csv", 2),
        (b"mail\n" + b"x" * people_list.MOST_BYTES, "list-long", 1),
        (b"mail\n" + b"".join(b"p%d@e.org\n" % at for at in range(1001)), "list-long", 1002),
    ],
)
def test_a_file_that_is_no_list_is_refused_in_words(data: bytes, code: str, line: int) -> None:
    with pytest.raises(ListFaults) as raised:
        people_list.read(data)
    assert [(one.text.code, one.line) for one in raised.value.faults] == [(code, line)]


def test_the_number_of_named_mistakes_is_bounded() -> None:
    with pytest.raises(ListFaults) as raised:
        people_list.read(b"mail\n" + b"x\n" * 5000)
    assert len(raised.value.faults) == people_list.MOST_FAULTS


@given(st.binary(max_size=400))
def test_any_bytes_are_a_list_or_a_refusal(data: bytes) -> None:
    with contextlib.suppress(ListFaults):
        assert len(people_list.read(b"mail,name\n" + data)) <= 400


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2", "<img src=x onerror=alert(1)>"])
def test_a_written_list_has_no_formula(name: str) -> None:
    one = Listed("ada@example.org", name, "participant", "guest.ada.abcdef", "seated", 3, NOW)
    text = people_list.written([one])
    _, row = list(csv.reader(io.StringIO(text)))
    assert row[1] in (name, f"'{name}")
    assert row[1][0] not in "=+-@"
    assert row[4:] == ["seated", "3", "2026-11-28T09:00:00+00:00"]


def test_a_name_has_no_control_characters_and_an_end() -> None:
    text = 'mail,name\nada@example.org,"Ada\x1b[31m\u202e\nLovelace"\nbob@example.org,' + "b" * 500 + "\n"
    ada, bob = people_list.read(text.encode())
    assert ada.name == "Ada\ufffd Lovelace"
    assert len(bob.name) <= 80
