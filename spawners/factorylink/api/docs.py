"""Serves the page that describes the user API to people: the OpenAPI schema, and Swagger UI, which shows it.

Swagger UI's files come with the package fastapi-offline; nothing is loaded from other hosts. The page has the hub's own
origin, so its Content Security Policy allows only these scripts, and requests only to this origin. The page needs no
token, since it contains no personal data; its requests carry the token that the reader enters.
"""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, HTTPException, Response

_FILES = Path(fastapi_offline.__file__).parent / "static"
_POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    )
)
# Addresses are relative to the page's own, so they hold below any base URL.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API of the factories</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<script src="docs/swagger-ui-bundle.js" defer></script>
<script src="docs/begin.js" defer></script>
</head>
<body>
<main id="api"></main>
<noscript>This page needs JavaScript. The description itself: <a href="openapi.json">openapi.json</a>.</noscript>
</body>
</html>
"""
# Without `validatorUrl`, Swagger UI would send the schema's URL to a server of its developers.
_BEGIN = """"use strict";
SwaggerUIBundle({ url: "openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null });
"""


def describe(app: FastAPI, prefix: str) -> None:
    """Serve the page about ``app`` at ``{prefix}/docs``, and the schema of ``app`` at ``{prefix}/openapi.json``.

    Neither path is part of the schema itself.
    """

    @cache
    def schema() -> bytes:
        return json.dumps(app.openapi()).encode()

    @app.get(f"{prefix}/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return _answer(await asyncio.to_thread(schema), "application/json")

    @app.get(f"{prefix}/docs", include_in_schema=False)
    async def docs() -> Response:
        return _answer(_PAGE.encode(), "text/html; charset=utf-8")

    @app.get(f"{prefix}/docs/{{name}}", include_in_schema=False)
    async def file(name: str) -> Response:
        found = await asyncio.to_thread(_file, name)
        if found is None:
            raise HTTPException(404, "There is no such file.")
        return _answer(*found)


@cache
def _file(name: str) -> tuple[bytes, str] | None:
    """Return a file of the page and its media type; None if there is no such file."""
    match name:
        case "begin.js":
            return _BEGIN.encode(), "text/javascript; charset=utf-8"
        case "swagger-ui-bundle.js":
            return (_FILES / name).read_bytes(), "text/javascript; charset=utf-8"
        case "swagger-ui.css":
            return (_FILES / name).read_bytes(), "text/css; charset=utf-8"
        case _:
            return None


def _answer(content: bytes, media_type: str) -> Response:
    headers = {
        "Content-Security-Policy": _POLICY,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, headers=headers, media_type=media_type)
