"""Runs in a pod: follows one job by many streams at once and prints, as JSON, what each of them saw.

`python streams.py JOB COUNT`, with LONGHAUL_URL and LONGHAUL_API_KEY.
"""

import asyncio
import json
import sys

from longhaul.client import AsyncClient


async def follow(client: AsyncClient, job: str) -> list[int]:
    """The ids of the events, as they came."""
    return [event.id async for event in client.events(job)]


async def main(job: str, count: int) -> None:
    """Follow, and print."""
    async with AsyncClient(retry_seconds=60) as client:
        print(json.dumps(await asyncio.gather(*(follow(client, job) for _ in range(count)))))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
