"""The console: a page, its scripts and its style, with a policy that lets them talk to this API only."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from fastapi import FastAPI, Request, Response

from longhaul.errors import NotFound

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def install(app: FastAPI) -> None:
    """Serve `console/index.html` at `/` and its other files below `/console/`, as they were at the start."""
    pages = {
        file.name: _Page(file.read_bytes(), media_type)
        for file in (files("longhaul_api") / "console").iterdir()
        for suffix, media_type in _TYPES.items()
        if file.name.endswith(suffix)
    }

    async def console(request: Request) -> Response:
        page = pages.get(request.path_params.get("file", "index.html"))
        if page is None:
            raise NotFound
        return page.answer(request)

    app.add_api_route("/", console, methods=["GET"], include_in_schema=False)
    app.add_api_route("/console/{file}", console, methods=["GET"], include_in_schema=False)


class _Page:
    """A file of the console."""

    def __init__(self, content: bytes, media_type: str) -> None:
        self._content = content
        self._media_type = media_type
        self._headers = {
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-cache",
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"',
        }

    def answer(self, request: Request) -> Response:
        if request.headers.get("if-none-match") == self._headers["ETag"]:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers, media_type=self._media_type)
