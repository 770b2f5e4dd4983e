"""The server behind the proxies: small and large responses, WebSockets, event streams. It prints its address."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import WSMsgType, web

OPEN: set[web.WebSocketResponse] = set()
CHUNK = bytes(2**16)


async def small(_request: web.Request) -> web.Response:
    """Answer with about 500 bytes of JSON, as Jupyter answers a status request."""
    return web.json_response({"x": "y" * 500})


async def big(request: web.Request) -> web.StreamResponse:
    """Answer with the requested number of bytes."""
    left = int(request.query["bytes"])
    answer = web.StreamResponse(headers={"Content-Length": str(left)})
    await answer.prepare(request)
    with suppress(ConnectionError):  # the proxy may disconnect before the end
        while left:
            await answer.write(CHUNK[:left])
            left -= min(left, len(CHUNK))
    return answer


async def upload(request: web.Request) -> web.Response:
    """Answer with the number of received bytes."""
    total = 0
    async for chunk in request.content.iter_any():
        total += len(chunk)
    return web.json_response(total)


async def seen(request: web.Request) -> web.Response:
    """Answer with the request's path and headers as they arrived, as JSON."""
    return web.json_response({"path": request.raw_path, "headers": dict(request.headers)})


async def events(request: web.Request) -> web.StreamResponse:
    """Send an event at once, and another one after three seconds."""
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    await answer.write(b"data: one\n\n")
    await asyncio.sleep(3)
    with suppress(ConnectionError):  # the client may disconnect before the end
        await answer.write(b"data: two\n\n")
    return answer


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Echo every message; ``close`` closes the connection with code 4001 and a reason."""
    socket = web.WebSocketResponse(protocols=("v1.kernel.websocket.jupyter.org",), max_msg_size=0)
    await socket.prepare(request)
    OPEN.add(socket)
    async for message in socket:
        if message.type == WSMsgType.TEXT and message.data == "close":
            await socket.close(code=4001, message=b"because")
        elif message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    OPEN.discard(socket)
    return socket


async def sockets(_request: web.Request) -> web.Response:
    """Answer with the number of open WebSockets."""
    return web.json_response(len(OPEN))


async def main() -> None:
    """Serve on a free port until killed."""
    app = web.Application(client_max_size=0)
    for name, handler in (("small", small), ("big", big), ("events", events), ("echo", echo), ("sockets", sockets)):
        app.router.add_get(f"/user/one/{name}", handler)
    app.router.add_put("/user/one/upload", upload)
    app.router.add_get("/user/one/{rest:.*}", seen)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
