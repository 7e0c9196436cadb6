"""TLS in front of the embedded servers, which know none: real handshakes, with certificates that were made for them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trustme
from anyio.from_thread import start_blocking_portal

_SSL_REQUEST_BYTES = 8
"""What a client of PostgreSQL sends before its handshake."""


class TlsFront:
    """Speaks TLS on a port of 127.0.0.1, and goes on in plain with `target_port`."""

    def __init__(self, target_port: int, certificate: trustme.LeafCert, *, is_postgres: bool = False) -> None:
        self.handshakes = 0
        """Those that came to their end: the client trusted the certificate."""
        self.port = 0
        self._target_port = target_port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(self._context)
        self._is_postgres = is_postgres
        self._server: asyncio.Server
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(OSError, EOFError):  # an SSLError is an OSError
            if self._is_postgres:
                await reader.readexactly(_SSL_REQUEST_BYTES)
                writer.write(b"S")
            await writer.start_tls(self._context)
            self.handshakes += 1
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers.append(upstream_writer)
            await asyncio.wait(
                [
                    asyncio.create_task(_pump(reader, upstream_writer)),
                    asyncio.create_task(_pump(upstream_reader, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
            upstream_writer.close()
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()


@contextmanager
def serving(*fronts: TlsFront) -> Iterator[None]:
    """They listen, in a thread of their own."""
    with start_blocking_portal() as portal:
        for front in fronts:
            portal.call(front.open)
        yield
        for front in fronts:
            portal.call(front.close)


def write_authority(authority: trustme.CA, folder: Path) -> Path:
    """Its certificate, as a file for clients."""
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path
