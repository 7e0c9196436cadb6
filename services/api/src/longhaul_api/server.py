"""The API's process: one event loop, one server, and its end in bounded time."""

from __future__ import annotations

import asyncio
import gc
import signal

import uvicorn
import uvloop

from longhaul import telemetry
from longhaul.serving import Server, exit_with_a_sentence
from longhaul.settings import load_settings
from longhaul_api.app import create_app
from longhaul_api.context import Context
from longhaul_api.settings import ApiSettings

_COLLECT_AT = (20_000, 10, 50)
"""New objects until a look at the young ones, and looks until one at the older (Python's own: 700, 10, 10)."""

KEEP_ALIVE_SECONDS = 75
"""Idle connections stay longer than proxies keep theirs (ingress-nginx and AWS's balancers 60 s): who closes first must
be the proxy, or a submit that it sends meanwhile comes back as a 502. uvicorn's own are 5 s."""


def start() -> None:
    """Serve until SIGTERM or SIGINT. Exits 2 with a sentence where a setting is wrong."""
    with exit_with_a_sentence():
        settings = load_settings(ApiSettings)
        telemetry.setup("longhaul-api", settings)
        uvloop.run(_serve(settings))
    telemetry.flush_traces()


async def _serve(settings: ApiSettings) -> None:
    app = create_app(settings)
    server = create_server(app, settings)
    # A look through all objects holds up every stream, 0.2 s with 3,000 of them: so not at what stands until the end,
    # and seldom. Nearly all that a request leaves goes by its reference count.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AT)
    context: Context = app.state.context
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    serving = asyncio.create_task(server.serve())
    waiting = asyncio.create_task(stopped.wait())
    # A server that can't start (the port is taken) ends by itself.
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not serving.done():
        await stop(server, context)
    await serving


def create_server(app: object, settings: ApiSettings) -> Server:
    """A server for the app of `create_app`; `await server.serve()` runs it."""
    return Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]  # an ASGI app, which uvicorn types too narrowly
            host=settings.api_host,
            port=settings.api_port,
            loop="none",
            http="httptools",
            ws="websockets-sansio",
            ws_per_message_deflate=False,  # events are small, and each compressor keeps its own window
            server_header=False,
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
        )
    )


async def stop(server: Server, context: Context) -> None:
    """End in bounded time: unready, then no new requests and no streams, then what is in flight."""
    context.stopping = True
    await asyncio.sleep(context.settings.shutdown_delay_seconds)
    # Streams end, so that their clients go to another pod and resume there by Last-Event-ID.
    context.hub.stop()
    server.should_exit = True
