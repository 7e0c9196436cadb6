"""A sidecar between a worker and Redis, whose connections can die as nobody notices. It runs in a worker's image.

While the file /tmp/deaf is there, each connection on which somebody waits for a doorbell (BRPOP) dies for good: whatever
either side sends is swallowed, and it is never closed. All other connections go on.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

DEAF = Path("/tmp/deaf")
PORT = 6380


class Line:
    """A client's connection, and the one to Redis that belongs to it."""

    def __init__(self) -> None:
        self._is_for_doorbells = False
        self._is_dead = False

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Hand on what one side says, as long as the line lives, until that side closes it."""
        with suppress(OSError):
            while data := await source.read(65536):
                if self._lives_after(data):
                    sink.write(data)
                    await sink.drain()
        sink.close()

    def _lives_after(self, data: bytes) -> bool:
        # The keeper's trial of Redis is a transaction, whose BRPOP waits for nothing.
        self._is_for_doorbells |= b"BRPOP" in data and b"MULTI" not in data
        if self._is_for_doorbells and not self._is_dead and DEAF.exists():
            self._is_dead = True
            print("a connection died", flush=True)
        return not self._is_dead


async def connect(client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
    try:
        reader, writer = await asyncio.open_connection(os.environ["REDIS_HOST"], 6379)
    except OSError:
        client_writer.close()
        return
    line = Line()
    await asyncio.gather(line.pump(client_reader, writer), line.pump(reader, client_writer))


async def serve() -> None:
    server = await asyncio.start_server(connect, "127.0.0.1", PORT)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
