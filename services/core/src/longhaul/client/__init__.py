"""The Python client of the API: `Client`, and `AsyncClient` with the same methods.

    with Client() as longhaul:  # LONGHAUL_URL and LONGHAUL_API_KEY say where, and as whom
        job = longhaul.submit("documents.index", {"query": "leases"})
        for event in longhaul.events(job.id):
            print(event.type, event.data)
        print(longhaul.result(job.id))

Errors are the classes of `longhaul.errors`, found by the `code` that the API answers with.
"""

from longhaul.client.answers import ApiUnreachable, StillRunning, UnreadableAnswer
from longhaul.client.clients import AsyncClient, Client
from longhaul.client.connection import ClientSettings

__all__ = ["ApiUnreachable", "AsyncClient", "Client", "ClientSettings", "StillRunning", "UnreadableAnswer"]
