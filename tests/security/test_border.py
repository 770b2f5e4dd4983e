"""Everything that a session, a site account or a scheduler sends is limited and cleaned before other code uses it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from factorycommon.models import Choice, SessionState, Words
from factorycommon.models.plain import last_lines, plain_text
from factorycommon.service import logs
from factorygate.link import Link, LinkRoute
from factorylink.api.door import BackWay, back_app
from factorylink.client import LinkClient, LinkSilent
from factorylink.config import LocalTransportSettings as Settings
from factorylink.doors.protocol import DoorEnd, DoorFile, DoorStatus, read_message
from factorylink.errors import EXCERPT, Misread, Refused, Unreachable
from factorylink.ledger.ledger import AuditEntry, Ledger, choosing
from factorylink.schedulers.command import Command, Output
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.pbs import json as pbs_json
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.sessions.termination import TAIL_LINES, TAIL_WIDTH, read_tail
from factorylink.transports.base import STDERR_CAP
from factorylink.transports.local import LocalTransport
from tests.support.door import SESSION
from tests.unit.fake_factory import ID, OTHER
from tests.unit.serving import serving
from tests.unit.test_ledger import row
from tests.unit.test_table import session

SEPARATORS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
STATUS: dict[str, Any] = {
    "protocol": 1,
    "session": SESSION,
    "phase": "up",
    "notebook_sock": "/nowhere/n",
    "hub_sock": "/nowhere/h",
}
YEARS = [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "1999-12-31T23:59:59Z",
    "9000-01-01T00:00:01Z",
    "-62135647200",
    "2026-01-01T00:00:00",  # without a time zone
    -62135647200,
    1e300,
]


@pytest.mark.parametrize("moment", YEARS)
@pytest.mark.parametrize("field", ["last_activity", "ends", "ends_idle"])
def test_a_door_names_no_moment_outside_of_the_years_that_are_believed(field: str, moment: object) -> None:
    with pytest.raises(Misread):
        read_message(DoorStatus, json.dumps({**STATUS, field: moment}))


@pytest.mark.parametrize("moment", YEARS)
def test_a_door_s_notice_and_file_name_no_unbelievable_moment(moment: object) -> None:
    with pytest.raises(Misread):
        read_message(DoorStatus, json.dumps({**STATUS, "notice": {"kind": "idle", "at": moment, "minutes": 5}}))
    door = {"protocol": 1, "session": SESSION, "job": "1", "host_key": f"ssh-ed25519 {'A' * 68}"}
    read_message(DoorFile, json.dumps(door))
    with pytest.raises(Misread):
        read_message(DoorFile, json.dumps({**door, "ends": moment}))


@pytest.mark.parametrize(
    "told",
    [
        {"gpu_percent": "5"},
        {"gpu_percent": 1e400},
        {"memory_bytes": -1},
        {"memory_bytes": 2**63},
        {"memory_bytes": 1.5},
        {"busy": "yes"},
        {"environment": 1},
        {"notice": {"kind": "idle", "at": "2026-01-01T00:00:00Z", "minutes": 10**12}},
        {"exit_code": 10**30},
    ],
)
def test_a_door_says_numbers_as_numbers_and_in_range(told: dict[str, Any]) -> None:
    with pytest.raises(Misread):
        read_message(DoorStatus, json.dumps({**STATUS, **told}))


def test_words_of_a_door_are_one_plain_line() -> None:
    said = f"\x1b[31mred\x1b[0m{SEPARATORS}\u202eevil\nforged"
    status = read_message(DoorStatus, json.dumps({**STATUS, "message": said}))
    end = read_message(DoorEnd, json.dumps({"reason": "failed", "message": said}))
    assert status.message == end.message == "red" + "\ufffd" * len(SEPARATORS) + "\ufffdevil forged"
    with pytest.raises(Misread):
        read_message(DoorEnd, json.dumps({"reason": "failed", "message": "x" * 1001}))


def test_words_for_people_are_bounded_wherever_they_come_from() -> None:
    words = Words(code="x", what="a\x00b\u2028c" + "d" * 10_000, scheduler="one\ntwo\x1b[2J\x9b31m")
    assert words.what.startswith("a\ufffdb\ufffdc")
    assert len(words.what) == 2000
    assert words.scheduler == "one\ntwo\ufffd31m"
    assert len(Refused("x" * 10_000).message) == 2000
    assert Unreachable(f"reason{SEPARATORS}").message == "reason" + "\ufffd" * len(SEPARATORS)
    assert plain_text("\ud800half") == "\ufffdhalf"


# --- the ledger


async def test_the_ledger_starts_with_a_moment_of_the_year_0(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    await _two_sessions(path)
    _spoil(path, "update sessions set last_activity = -62135647200, ends = 9e99 where id = ?", ID)
    async with _open(path) as ledger:
        assert {found.id for found in await ledger.live()} == {ID, OTHER}
        found = await ledger.record(ID)
        assert found is not None
        assert found.last_activity == datetime(2000, 1, 1, tzinfo=UTC)
        assert not ledger.set_aside


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("choice", "{"),
        ("choice", '{"factory": 1}'),
        ("state", '"gone mad"'),
        ("created", "yesterday"),
        ("options", "7"),
    ],
)
async def test_a_row_that_cannot_be_read_is_set_aside_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, value: str
) -> None:
    path = tmp_path / "ledger.sqlite"
    await _two_sessions(path)
    _spoil(path, f"update sessions set {column} = '{value}' where id = ?", ID)
    async with _open(path) as ledger:
        assert [found.id for found in await ledger.live()] == [OTHER]
        assert await ledger.record(ID) is None
        assert [found.id for found in await ledger.recent()] == [OTHER]
        assert list(ledger.set_aside) == [("sessions", ID)]
        await ledger.live()
    said = [record.getMessage() for record in caplog.records if "cannot be read" in record.message]
    assert len(said) == 1
    assert ID in said[0]
    assert column in said[0]


async def test_an_unreadable_optional_value_counts_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    await _two_sessions(path)
    _spoil(
        path, "update sessions set \"end\" = '[', end_reason = 'x', last_activity = 'x', ready = 'nan' where id = ?", ID
    )
    _spoil(path, "update log_lines set at = 'x' where session = ?", ID)
    async with _open(path) as ledger:
        found = await ledger.record(ID)
        assert found is not None
        assert (found.end, found.end_reason, found.last_activity, found.ready, found.log) == (None,) * 4 + ([],)


async def test_a_spoilt_choice_of_a_person_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with _open(path) as ledger:
        await ledger.write(choosing("ada", Choice(factory="one")))
    _spoil(path, "update choices set choice = '[]' where user = ?", "ada")
    async with _open(path) as ledger:
        assert await ledger.last_choice("ada") is None


async def test_an_audit_line_is_one_line(tmp_path: Path) -> None:
    async with _open(tmp_path / "ledger.sqlite") as ledger:
        await ledger.note(
            AuditEntry("ada", "a", "one", "refused", detail=f"no\0\n2026 forged{SEPARATORS}" + "x" * 10**6)
        )
        line = (await ledger.audit("one"))[0].detail
    assert line.startswith("no\ufffd 2026 forged\ufffd")
    assert len(line) <= 2000


# --- logs that jobs write


@pytest.mark.parametrize("byte", [b"\x0b", b"\x00", b"\n", b"\xff", "\u2028".encode()])
async def test_62_mib_of_a_log_cost_no_more_than_its_end(tmp_path: Path, byte: bytes) -> None:
    path = tmp_path / "job.log"
    path.write_bytes(byte * (62 * 2**20 // len(byte)))
    transport = LocalTransport(Settings())
    began = time.process_time()
    with _memory(4 * 2**20):
        tail = await transport.run(read_tail(str(path)))
    assert time.process_time() - began < 2
    assert len(tail) <= TAIL_LINES
    assert all(len(line) <= TAIL_WIDTH for line in tail)
    await transport.close()


def test_the_last_lines_of_a_log_are_what_somebody_would_have_seen() -> None:
    text = "first\n" + "10%\r50%\r100%\n" + "\x1b[32mgreen\x1b[0m\twide\n" + "no end"
    assert last_lines(text, 3, 500) == ("100%", "green wide", "no end")
    assert last_lines("a\x0bb\u2028c\x85d\n", 40, 500) == ("a\ufffdb\ufffdc\ufffdd",)
    assert last_lines("", 40, 500) == ("",)
    assert last_lines("x" * 600, 40, 500)[0] == "x" * 499 + "…"


# --- commands


async def test_output_of_a_shell_beside_an_answer_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    transport = LocalTransport(Settings())
    caplog.set_level(logging.DEBUG)
    noise = "head -c 66060288 /dev/zero | tr '\\0' x; echo; echo 123"
    order = slurm.submit("#!/bin/sh")
    with _memory(4 * 2**20), pytest.raises(Misread) as caught:
        await transport.run(Command(("/bin/sh", "-c", noise), order.parse, timeout=order.timeout, most=order.most))
    assert len(caught.value.message) <= 2000
    few = "head -c 60000 /dev/zero | tr '\\0' x"
    with pytest.raises(Misread) as caught:
        await transport.run(Command(("/bin/sh", "-c", few), order.parse))
    assert len(caught.value.output) < 2 * EXCERPT
    assert sum(len(record.getMessage()) for record in caplog.records) < 4 * EXCERPT
    await transport.close()


async def test_a_parser_that_fails_in_any_way_misreads() -> None:
    def divide(output: Output) -> float:
        return 1 / len(output.stdout)

    def deep(_output: Output) -> float:
        raise RecursionError("too deep")

    transport = LocalTransport(Settings())
    for parse in (divide, deep):
        with pytest.raises(Misread):
            await transport.run(Command(("true",), parse))
    await transport.close()


@pytest.mark.parametrize("text", ["\n" * 2**20, " " * 2**20, '"' * 2**20, '"a":' * 2**18, "\\" * 2**20, '"\\' * 2**19])
def test_pbs_json_is_read_in_linear_time(text: str) -> None:
    began = time.thread_time()
    with pytest.raises(Misread):
        pbs_json.documents(f'{{"Jobs": {text}', "Jobs")
    names = ",\n".join(f'"{number}": 1' for number in range(50_000))
    for blank in ("", " " * 2**20, "\t" * 2**20, "\n" * 2**20):
        pbs_json.documents(f'{{"Jobs": {{\n{names},\n{blank}"49999": 1\n{blank}}}}}', "Jobs")
    assert time.thread_time() - began < 2


@pytest.mark.parametrize("text", ["\n" * 2**20, "1" * 2**20, "1\n" * 2**19, "[" * 2**20, "a[1-999999999]" * 2**10])
def test_output_of_schedulers_is_parsed_in_linear_time(text: str) -> None:
    for dialect in (slurm, pbs):
        asks = [dialect.jobs("n"), dialect.ended("n"), dialect.waiting(), dialect.nodes(), dialect.reservations()]
        asks += [dialect.submit("s"), dialect.accounting(["1"] if dialect is slurm else ["1.s"]), dialect.cancel([])]
        for ask in asks:
            said = text[:STDERR_CAP]
            for output in (Output(text, "", 0), Output(text, said, 1), Output("", said, 1)):
                began = time.thread_time()
                with contextlib.suppress(Misread, Refused, Unreachable, ValueError):
                    ask.parse(output)
                assert time.thread_time() - began < 2


# --- event streams


async def test_no_text_of_a_session_breaks_the_stream_to_the_hub(tmp_path: Path) -> None:
    # from a link that does not clean texts
    words = Words(code="door", what="x").model_copy(update={"what": f"said{SEPARATORS}"})
    odd = session(SessionState.UNREACHABLE, waits_for=words)
    snapshot = {"sessions": [json.loads(odd.model_dump_json())], "factories": [], "clusters": []}
    bad = json.dumps({"id": "no session"})
    events = [
        ("snapshot", json.dumps(snapshot, ensure_ascii=False)),
        ("session", bad),
        ("session", "{"),
        ("other", "{}"),
    ]
    events.append(("session", odd.model_dump_json()))
    async with _streaming(events, tmp_path / "link.sock"):
        link = LinkClient(tmp_path / "link.sock")
        changes = [change async for change in _until_silent(link)]
        await link.close()
    assert [change.snapshot is not None for change in changes] == [True, False]
    assert changes[0].snapshot is not None
    assert changes[0].snapshot[0].waits_for is not None


async def test_one_spoilt_session_of_a_snapshot_is_left_out(tmp_path: Path) -> None:
    good = json.loads(session(SessionState.RUNNING).model_dump_json())
    snapshot = {"sessions": [{**good, "state": "mad"}, good], "factories": [{"id": 7}], "clusters": [{}]}
    async with _streaming([("snapshot", json.dumps(snapshot))], tmp_path / "link.sock"):
        link = LinkClient(tmp_path / "link.sock")
        changes = [change async for change in _until_silent(link)]
        await link.close()
    assert len(changes) == 1
    assert changes[0].snapshot is not None
    assert [found.state for found in changes[0].snapshot] == [SessionState.RUNNING]


async def test_no_text_of_a_session_breaks_the_stream_to_a_notebook(tmp_path: Path) -> None:
    events = [
        ("cluster", json.dumps({"end": SEPARATORS}, ensure_ascii=False)),
        ("cluster", "{"),
        ("cluster", '{"n": 2}'),
    ]
    async with _streaming(events, tmp_path / "hub.sock"):
        link = Link(LinkRoute("http://gateway", "token", str(tmp_path / "hub.sock")))
        got = [event async for event in link.events("/x", dict[str, JsonValue])]
        await link.close()
    assert got == [("cluster", {"end": SEPARATORS}), ("cluster", {"n": 2})]


# --- the log


def test_no_message_begins_a_line_of_the_log_or_steers_a_terminal() -> None:
    forged = f"x\n2026-11-27 00:00:00 link ERROR factorylink: forged\r\x1b]0;title\x07\x1b[2J{SEPARATORS}"
    record = logging.LogRecord("factorylink", logging.INFO, __file__, 1, "Said: %s", (forged,), None)
    line = logs.PlainFormatter(logs.FORMAT).format(record)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    error = ValueError(forged)
    record.exc_info = (ValueError, error, None)
    lines = logs.PlainFormatter(logs.FORMAT).format(record).splitlines()
    assert all(line.startswith("    | ") for line in lines[1:])
    assert len(lines[0]) <= logs.LONGEST


def test_a_very_long_error_is_logged_with_its_beginning_and_its_end() -> None:
    error = ValueError("begins" + "x\n" * 10 * logs.LONGEST + "ends")
    record = logging.LogRecord("factorylink", logging.INFO, __file__, 1, "Said", None, (ValueError, error, None))
    line = logs.PlainFormatter(logs.FORMAT).format(record)
    assert "begins" in line
    assert line.endswith("ends")
    assert len(line) < 100 * logs.LONGEST


# --- requests


@pytest.mark.parametrize("length", [3, 5, 99])
async def test_a_body_of_two_lengths_is_refused(length: int) -> None:
    async def echo(request: Request) -> JSONResponse:
        return JSONResponse((await request.body()).decode())

    async with serving(Starlette(routes=[Route("/{path:path}", echo, methods=["POST"])])) as hub:
        way = BackWay(hub, hub, "/")
        async with serving(back_app(way)) as back:
            reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(back).port)
            head = (
                f"POST /hub/api/x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            writer.write(head.encode() + b"5\r\nhello\r\n0\r\n\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            writer.close()
        await way.close()
    assert answer.startswith(b"HTTP/1.1 400 ")


# --- helpers


async def _two_sessions(path: Path) -> None:
    async with _open(path) as ledger:
        await ledger.add(row(), AuditEntry("ada", "a", "one", "ask"))
        await ledger.add(row(OTHER, "ben"), AuditEntry("ben", "a", "one", "ask"))


@asynccontextmanager
async def _open(path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(path)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def _spoil(path: Path, statement: str, key: str) -> None:
    with sqlite3.connect(path) as db:
        assert db.execute(statement, (key,)).rowcount > 0
    db.close()


@contextmanager
def _memory(most: int) -> Iterator[None]:
    """Fail if more than ``most`` bytes are allocated at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@asynccontextmanager
async def _streaming(events: list[tuple[str, str]], path: Path) -> AsyncIterator[None]:
    """Serve these (name, data) events on a Unix socket, with all line separators unescaped. ``path``: the socket."""

    async def stream(_request: Request) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            for name, data in events:
                yield f"event: {name}\ndata: {data}\n\n".encode()

        return StreamingResponse(body(), media_type="text/event-stream")

    async with serving(Starlette(routes=[Route("/{path:path}", stream)]), path):
        yield


async def _until_silent(link: LinkClient) -> AsyncIterator[Any]:
    try:
        async for change in link.table():
            yield change
    except LinkSilent:
        return
