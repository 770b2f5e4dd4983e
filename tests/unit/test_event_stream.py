"""The reader of server-sent events: events end by newlines only, have a size limit, and may be split at any byte."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncGenerator

import pytest

from factorycommon.event_stream import EventReader, StreamEvent, read_events

STREAM = (
    b": hello\n\nevent: one\ndata: {}\n\n"
    b": still here\n\n"
    + "event: two\ndata: a\u2028b\x85c\x0bd\re\n\n".encode()
    + b"data: first\ndata:second\n\nevent: unfinished\ndata: x"
)
EVENTS = [StreamEvent("one", "{}"), StreamEvent("two", "a\u2028b\x85c\x0bd\re"), StreamEvent("", "first\nsecond")]


@pytest.mark.parametrize("step", [1, 2, 7, len(STREAM)])
async def test_events_are_the_same_however_the_bytes_are_cut(step: int) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        for at in range(0, len(STREAM), step):
            yield STREAM[at : at + step]

    assert [event async for event in read_events(pieces())] == EVENTS


@pytest.mark.parametrize("step", [1, 3, 64])
def test_an_event_that_is_too_long_is_skipped_and_the_next_is_read(step: int, caplog: pytest.LogCaptureFixture) -> None:
    reader, stream = EventReader(most=32), b"data: " + b"x" * 200 + b"\n\nevent: next\ndata: 1\n\n"
    found = [event for at in range(0, len(stream), step) for event in reader.feed(stream[at : at + step])]
    assert found == [StreamEvent("next", "1")]
    assert len(caplog.records) == 1


def test_a_stream_without_an_end_of_line_fills_no_memory() -> None:
    reader, piece = EventReader(most=1 << 20), b"x" * 65536
    tracemalloc.start()
    try:
        for _ in range(512):  # 32 MiB
            assert list(reader.feed(piece)) == []
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert list(EventReader().feed(b"data: \xff\xfe\n\n")) == [StreamEvent("", "\ufffd\ufffd")]
