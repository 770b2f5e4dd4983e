"""Tokens in URLs: who may send one to a session; none appears in a log."""

from __future__ import annotations

import logging

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from factorygate.hiding import Hiding, hidden
from factorygate.session.tokens import Addresses

BASE = "/user/ada/"
CHANNELS = f"{BASE}api/kernels/0b5e/channels"


class _Context:
    remote_ip, protocol = "127.0.0.1", "http"


class _Connection:
    context = _Context()


def request(uri: str, **headers: str) -> HTTPServerRequest:
    """Return a request as Tornado parses it. ``headers``: by name, in which ``_`` stands for ``-``."""
    sent = HTTPHeaders({"Host": "gateway", **{name.replace("_", "-"): value for name, value in headers.items()}})
    return HTTPServerRequest(
        connection=_Connection(),  # type: ignore[arg-type]
        start_line=RequestStartLine("GET", uri, "HTTP/1.1"),
        headers=sent,
    )


@pytest.mark.parametrize("path", [CHANNELS, f"{BASE}terminals/websocket/1"])
def test_an_allowed_token_becomes_the_header(path: str) -> None:
    asked = request(f"{path}?session_id=s&token=abc", Upgrade="WebSocket")
    assert Addresses(BASE, allowed=True).take(asked)
    assert asked.headers["Authorization"] == "token abc"
    assert (asked.arguments, asked.query_arguments) == ({"session_id": [b"s"]}, {"session_id": [b"s"]})


def test_without_permission_the_request_is_refused() -> None:
    assert not Addresses(BASE, allowed=False).take(request(f"{CHANNELS}?token=abc", Upgrade="websocket"))


@pytest.mark.parametrize(
    ("uri", "headers"),
    [
        (f"{CHANNELS}?token=abc", {}),  # no WebSocket
        (f"{BASE}lab?token=abc", {"Upgrade": "websocket"}),
        (f"{BASE}proxy/8888/api/kernels/0b5e/channels?token=abc", {"Upgrade": "websocket"}),  # another program's URL
        ("/user/ben/api/kernels/0b5e/channels?token=abc", {"Upgrade": "websocket"}),
        (CHANNELS, {"Upgrade": "websocket"}),
        (f"{CHANNELS}?token=abc", {"Upgrade": "websocket", "Sec_Fetch_Mode": "websocket"}),  # a browser
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_other_requests_stay_as_they_are(uri: str, headers: dict[str, str], allowed: bool) -> None:
    asked = request(uri, **headers)
    assert Addresses(BASE, allowed).take(asked)
    assert "Authorization" not in asked.headers


def test_a_header_counts_before_the_address() -> None:
    for allowed in (True, False):
        asked = request(f"{CHANNELS}?token=abc", Upgrade="websocket", Authorization="token other")
        assert Addresses(BASE, allowed).take(asked)
        assert asked.headers["Authorization"] == "token other"


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("404 GET /user/ada/x?token=s3cret (::1)", "404 GET /user/ada/x?token=[secret] (::1)"),
        ("uri='/x?a=1&token=s3cret&b=2', method", "uri='/x?a=1&token=[secret]&b=2', method"),
        ("next=%2Fuser%2Fada%3Ftoken%3Ds3cret%26x%3D1", "next=%2Fuser%2Fada%3Ftoken%3D[secret]"),
        ("next=%252Fuser%252Fada%253Ftoken%253Ds3cret", "next=%252Fuser%252Fada%253Ftoken%253D[secret]"),
        ("/x?access_token=s3cret", "/x?access_token=[secret]"),
        ("a token = s3cret is no address", "a token = s3cret is no address"),
    ],
)
def test_no_token_of_an_address_is_written(line: str, written: str) -> None:
    assert hidden(line) == written


def test_tracebacks_are_looked_at_too() -> None:
    failed = ValueError("GET /x?token=s3cret")
    record = logging.LogRecord("x", 40, "f", 1, "Uncaught %s", ("/y?token=s3cret",), (ValueError, failed, None))
    text = Hiding(logging.Formatter("%(message)s")).format(record)
    assert "s3cret" not in text
    assert text.count("[secret]") == 2
