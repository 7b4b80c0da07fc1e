"""A built site over HTTP, for development: plain files, revalidated at every request."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import click
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from durably_wasm.cli.dist import was_built
from durably_wasm.cli.downloads import Report

# A browser refuses modules and WebAssembly under another type, and the machine's own table differs.
_MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".py": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".whl": "application/zip",
}


ASK_EACH_TIME = "no-cache"  # a browser keeps its copy, but asks whether it is still good: a rebuilt site is a new site


class SiteFiles(StaticFiles):
    """A site's files, which browsers may keep as the header `Cache-Control` says."""

    def __init__(self, dist: Path, cache_control: str) -> None:
        super().__init__(directory=dist, html=True)
        self._cache_control = cache_control

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file, with 304 when the browser's copy is still good, or with what went wrong."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as refused:
            response = PlainTextResponse(refused.detail, refused.status_code, refused.headers)
        response.headers["Cache-Control"] = self._cache_control
        media_type = _MEDIA_TYPES.get(Path(path).suffix)
        if media_type is not None and response.status_code == 200:
            response.headers["Content-Type"] = media_type
        return response


def site_app(dist: Path, cache_control: str = ASK_EACH_TIME) -> Starlette:
    """Return the ASGI application that serves a built site."""
    return Starlette(routes=[Mount("/", SiteFiles(dist, cache_control))])


def serve_site(dist: Path, host: str, port: int, report: Report) -> None:
    """Serve a built site until Ctrl-C; raise when it is none, or when the address cannot be had."""
    if not was_built(dist):
        raise click.ClickException(f"{dist} is no built site; first: durably-wasm build SOURCE --out {dist}")
    with _listening(host, port) as listener:
        report(f"Serving {dist} on {_url(listener)} (Ctrl-C stops)")
        server = uvicorn.Server(uvicorn.Config(site_app(dist), log_level="warning"))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        raise click.ClickException(f"Cannot listen on {host}:{port}: {reason}") from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
