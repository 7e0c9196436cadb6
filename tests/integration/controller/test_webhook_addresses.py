"""F39: URLs that want to lead inside. Only public addresses are spoken to, and the one that was looked at."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from shutil import which

import pytest
from tests.integration.controller.deliveries import REFUSED, delivering, ended, settings, settled, unaffected
from tests.integration.controller.receiver import receiving

from longhaul.ledger.connection import Connection

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F39")]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0", "169.254.169.254"],
)
async def test_a_private_address_is_refused_at_once(connection: Connection, database_url: str, host: str) -> None:
    async with receiving() as receiver, delivering(settings(database_url, webhook_allow_private=False)):
        id = await ended(connection, receiver.url(host))
        found = await settled(connection, id, "failed")
    assert (found["tries"], found["last_status"], found["last_error"]) == (1, None, REFUSED)
    assert receiver.requests == []
    await unaffected(connection, id)


async def test_a_name_is_asked_once_and_its_answer_is_where_the_message_goes(
    connection: Connection, database_url: str
) -> None:
    """DNS rebinding: whoever checks one answer and connects by another can be led inside."""
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]  # where nobody listens

    async with receiving() as receiver, delivering(settings(database_url), resolve_host=rebinding):
        await settled(connection, await ended(connection, receiver.url("rebind.example")), "delivered")
    assert asked == ["rebind.example"]
    assert receiver.requests[0].headers["host"] == f"rebind.example:{receiver.port}"


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["2606:4700::1111", "fd00:ec2::254"]])
async def test_a_name_with_any_private_address_is_refused_at_each_try(
    connection: Connection, database_url: str, answers: list[str]
) -> None:
    """Also one that was public at the try before: each try checks what it connects to."""
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        if len(asked) == 1:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return answers

    strict = settings(database_url, webhook_allow_private=False)
    async with receiving() as receiver, delivering(strict, resolve_host=rebinding):
        id = await ended(connection, receiver.url("rebind.example"))
        found = await settled(connection, id, "failed")
    assert (found["tries"], found["last_error"], receiver.requests) == (2, REFUSED, [])


@pytest.mark.fault("F50")
@pytest.mark.parametrize("error", [RuntimeError("odd"), asyncio.CancelledError(), SystemExit(1)], ids=repr)
async def test_a_try_that_ends_in_an_odd_way_holds_up_no_other(
    connection: Connection, database_url: str, error: BaseException
) -> None:
    async def resolve(host: str, _: int) -> list[str]:
        if host == "odd.example":
            raise error
        return ["127.0.0.1"]

    async with (
        receiving() as receiver,
        delivering(settings(database_url, webhook_tries=2), resolve_host=resolve),
    ):
        odd = await ended(connection, receiver.url("odd.example"))
        await settled(connection, await ended(connection, receiver.url("good.example")), "delivered")
        found = await settled(connection, odd, "failed")
        await settled(connection, await ended(connection, receiver.url("good.example")), "delivered")
    assert (found["tries"], found["last_error"]) == (2, "The message could not be sent.")


async def test_https_checks_the_name_although_it_connects_to_the_address(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    names: list[str | None] = []
    certificate, server = make_certificate(tmp_path)
    server.sni_callback = lambda _socket, name, _context: names.append(name)

    async def local(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        receiving(tls=server) as receiver,
        delivering(settings(database_url, webhook_tries=1), resolve_host=local, ssl_context=trusting),
    ):
        await settled(connection, await ended(connection, receiver.url("receiver.example")), "delivered")
        found = await settled(connection, await ended(connection, receiver.url("other.example")), "failed")
    assert names == ["receiver.example", "other.example"]
    assert receiver.requests[0].headers["host"] == f"receiver.example:{receiver.port}"
    assert (len(receiver.requests), found["last_error"]) == (1, "The receiver could not be reached.")


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """For `receiver.example`: the certificate, and a server's context with it."""
    if which("openssl") is None:
        pytest.skip("openssl, which makes the receiver's certificate, is not on the PATH.")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=receiver", "-addext", "subjectAltName=DNS:receiver.example", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return certificate, context
