"""Request ids through hub, link and door, in logs and error responses; and logs as lines of JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from factorycommon import request_id
from factorycommon.link_errors import LinkProblem, LinkSilent, read_problem
from factorycommon.service.http import new_app
from factorycommon.service.logs import FORMAT, JsonFormatter, PlainFormatter
from factorylink.util.batcher import Batcher
from factoryspawner.logs import Formatter, HubJsonFormatter, logging_config
from tests.unit.fake_factory import ID
from tests.unit.fake_hub import request, served
from tests.unit.serving import serving
from tests.unit.test_tls_server import resident


@pytest.fixture(autouse=True)
def nobody() -> None:
    request_id._current.set("")


def record(message: str, *values: object, error: bool = False) -> logging.LogRecord:
    info = None
    if error:
        try:
            int("bad?token=hush")
        except ValueError:
            info = sys.exc_info()
    return logging.LogRecord("factorylink", logging.INFO, "x.py", 1, message, values, info)


@pytest.mark.parametrize("given", ["abcd1234", "A.b_c-d.9", "x" * 64])
def test_an_id_of_the_right_form_is_kept(given: str) -> None:
    assert request_id.begin(given) == given == request_id.current()


@pytest.mark.parametrize(
    "given", [None, "", "short", "x" * 65, "abcd 1234", "abcd1234\n", "<script>", "äbcdefgh", "a;b=cdef"]
)
def test_an_invalid_id_is_replaced(given: str | None) -> None:
    made = request_id.begin(given)
    assert made != given
    assert request_id.chosen(made) == made


async def test_the_link_answers_with_the_id_and_an_error_quotes_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "factorylink")
    async with served(tmp_path) as link:
        transport = httpx.AsyncHTTPTransport(uds=str(link.world.config.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
            answer = await http.get("/sessions/" + ID, headers={"X-Request-ID": "mine-0001"})
            assert answer.status_code == 404
            assert answer.headers["X-Request-ID"] == answer.json()["request"] == "mine-0001"
            odd = await http.get("/health", headers={"X-Request-ID": "<b>odd</b>"})
            assert len(odd.headers["X-Request-ID"]) == 16
            assert odd.headers.get_list("X-Request-ID") == [odd.headers["X-Request-ID"]]
    lines = [one.getMessage() for one in caplog.records]
    assert any(line.startswith("GET /sessions/{session_id}: 404 in ") for line in lines)
    assert not any("/health" in line for line in lines)


@pytest.mark.parametrize(
    "header",
    [
        b"x" * 2**20,
        b"mine\x00-0001",
        b"mine\x1b[31m-01",
        b"mine-0001\rINFO all is well",
        "mine-\N{DIGIT ONE}".encode("utf-16"),
    ],
    ids=["1 MB", "zero", "terminal", "line", "other bytes"],
)
async def test_a_hostile_id_is_in_no_log_and_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, header: bytes
) -> None:
    """The request is refused or gets another id, and the next client is answered."""
    caplog.set_level(logging.INFO)
    async with served(tmp_path) as link:
        before = resident()
        for _ in range(20):
            reader, writer = await asyncio.open_unix_connection(str(link.world.config.socket))
            with contextlib.suppress(ConnectionError):
                head = b"GET /sessions/%s HTTP/1.1\r\nHost: link\r\nConnection: close\r\n" % ID.encode()
                writer.write(head + b"X-Request-ID: %s\r\n\r\n" % header)
                answer = await reader.read()
                assert answer.partition(b"\r\n")[0] in (b"HTTP/1.1 400 Bad Request", b"HTTP/1.1 404 Not Found")
                assert header not in answer
            writer.transport.abort()
        assert resident() - before < 50 * 2**20
        transport = httpx.AsyncHTTPTransport(uds=str(link.world.config.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
            assert (await http.get("/health")).status_code == 200
    lines = [PlainFormatter(FORMAT).format(one) for one in caplog.records]
    assert not any("is well" in line or "mine" in line or "\x1b" in line or "x" * 99 in line for line in lines)


async def test_the_hubs_id_goes_along_to_the_link(tmp_path: Path) -> None:
    async with served(tmp_path) as link:
        request_id.begin("from-the-hub")
        with pytest.raises(LinkProblem) as caught:
            await link.client.session(ID)
        assert caught.value.problem.request == "from-the-hub"


async def test_work_that_a_request_began_is_logged_with_its_id(tmp_path: Path) -> None:
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(PlainFormatter(FORMAT).format(record))

    handler = Keep()
    logger = logging.getLogger("factorylink")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        async with served(tmp_path) as link:
            link.world.scheduler.refuses = "no"
            request_id.begin("the-start-1")
            with pytest.raises(LinkProblem):
                await link.client.put_session(ID, request())
    finally:
        logger.removeHandler(handler)
    assert any("PUT /sessions/{session_id}: 400" in line and line.endswith("[the-start-1]") for line in seen), seen


async def test_work_for_several_requests_names_none() -> None:
    seen: list[str] = []

    async def work(_key: None, _things: object) -> None:
        seen.append(request_id.current())

    batcher: Batcher[None, int] = Batcher(work, 10)

    async def one(number: int) -> None:
        request_id.begin(f"request-{number}")
        await batcher.do(None, number)

    await asyncio.gather(one(1), one(2))
    assert set(seen) == {""}


@pytest.mark.parametrize("formatter", [JsonFormatter(), HubJsonFormatter()], ids=["link", "hub"])
def test_a_record_is_one_object_of_json_whatever_is_in_it(formatter: logging.Formatter) -> None:
    request_id.begin("quoted-01")
    line = formatter.format(record("%s said %s", "ada", 'line one\nline "two" \x1b[31m', error=True))
    assert "\n" not in line
    assert "\x1b" not in line
    found = json.loads(line)
    assert found["message"] == 'ada said line one\nline "two" \x1b[31m'
    assert (found["level"], found["logger"], found["request"]) == ("INFO", "factorylink", "quoted-01")
    assert "ValueError" in found["exception"]
    assert found["time"].endswith("+00:00")


def test_the_hubs_json_holds_no_token_and_is_whole() -> None:
    line = HubJsonFormatter().format(record('GET "/hub/x?token=hush" done', error=True))
    assert "hush" not in line
    assert json.loads(line)["message"] == 'GET "/hub/x?token=[secret]" done'


def test_lines_for_people_end_with_the_id() -> None:
    assert PlainFormatter("%(message)s").format(record("done")) == "done"
    request_id.begin("quoted-02")
    assert PlainFormatter("%(message)s").format(record("done")) == "done [quoted-02]"
    hub = Formatter(fmt="%(message)s", color=False)
    assert hub.format(record("done", error=True)).splitlines()[0] == "done [quoted-02]"


def test_the_hubs_formatter_is_that_of_its_configuration() -> None:
    assert logging_config("text")["formatters"]["console"]["class"] == "factoryspawner.logs.Formatter"
    assert logging_config("json")["formatters"]["console"]["class"] == "factoryspawner.logs.HubJsonFormatter"


HUB_LOGS = """
import logging, sys
from jupyterhub.app import JupyterHub
from traitlets.config import Config
from factoryspawner.logs import logging_config

JupyterHub(config=Config({"JupyterHub": {"logging_config": logging_config(sys.argv[1])}})).log.info("hub")
for name in ("factoryspawner", "factorylink.client", "factorycommon.tls"):
    logging.getLogger(name).info("from /x?token=hush")
    logging.getLogger(name).debug("not at this level")
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_hub_formats_the_records_of_the_gateways_packages_as_its_own(form: str) -> None:
    ran = subprocess.run([sys.executable, "-c", HUB_LOGS, form], capture_output=True, text=True, check=True)
    lines = ran.stderr.splitlines()
    assert len(lines) == 4
    assert all("from /x?token=[secret]" in line for line in lines[1:])
    if form == "json":
        assert [json.loads(line)["logger"] for line in lines] == [
            "JupyterHub", "factoryspawner", "factorylink.client", "factorycommon.tls"
        ]  # fmt: skip
    else:
        assert all(line.startswith("[I 20") for line in lines), lines


async def test_a_fault_of_a_service_is_answered_in_words_with_the_requests_id(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("of-this-test")
    app = new_app("faulty", log)

    @app.get("/{number}")
    async def divide(number: int) -> int:
        return 1 // number

    caplog.set_level(logging.INFO)
    async with serving(app, tmp_path / "s.sock"):
        transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "s.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            assert (await http.get("/1")).json() == 1
            failed = await http.get("/0", headers={"X-Request-ID": "abcd1234"})
    assert (failed.status_code, failed.headers["X-Request-ID"]) == (500, "abcd1234")
    told = failed.json()
    assert (told["kind"], told["whose"], told["request"]) == ("unreachable", "operator", "abcd1234")
    assert "tell the operators" in told["do"]
    assert "ZeroDivision" not in failed.text
    assert any(one.name == log.name and one.getMessage().startswith("GET /{number}: 500 in ") for one in caplog.records)
    assert isinstance(read_problem(500, failed.content), LinkSilent)  # the request may be repeated
