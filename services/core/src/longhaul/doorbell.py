"""The doorbell: a Celery message that says only "this queue has work".

It carries no job id and no payload; it may be lost, repeated or reordered at no cost. What is pushed equals, field by
field, what the pinned Celery would send (`tests/integration/test_doorbell.py` compares them), so that a stock worker
hears it; but one variadic LPUSH carries hundreds, which `apply_async` can't.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

import orjson
import redis.asyncio as redis
from redis.backoff import NoBackoff
from redis.retry import Retry

CELERY_TASK: Final = "longhaul.doorbell"
_BODY: Final = (
    "W1tdLCB7fSwgeyJjYWxsYmFja3MiOiBudWxsLCAiZXJyYmFja3MiOiBudWxsLCAiY2hhaW4iOiBudWxsLCAiY2hvcmQiOiBudWxsfV0="
)
"""Base64 of Celery's `[args, kwargs, embed]` for a call without arguments."""
PUSH_AT_MOST: Final = 1000
"""Messages in one LPUSH: about 0.9 MB, so that one push does not hold up the server."""


def key(queue: str) -> str:
    """The Redis list of a queue's doorbells: Celery's queue, and the list that KEDA measures."""
    return f"doorbell:{queue}"


_TRIAL_KEY: Final = key("?")
"""Of no queue, since that can't be a queue's name. The list exists within a transaction only."""
POOLS_KEY: Final = "pools"
"""The Redis set of the pools that ever had a set of running jobs. Whoever adds to `running_key` adds to it as well."""


def running_key(pool: str) -> str:
    """The Redis set of the jobs that run on a pool's pods and count as demand."""
    return f"running:{pool}"


def create_client(url: str, *, timeout_seconds: float = 1.0) -> redis.Redis:
    """A client that gives up soon: nobody may wait for a doorbell."""
    keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}  # a Unix socket has none
    return redis.Redis.from_url(
        url,
        **keepalive,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        health_check_interval=10,
        retry=Retry(NoBackoff(), 0),
    )


def messages(queue: str, count: int) -> list[bytes]:
    """`count` doorbells for a queue, each with ids of its own, as Celery puts them into the list."""
    random = os.urandom(16 * count).hex()
    return [_message(queue, _uuid(random[32 * i : 32 * i + 32])) for i in range(count)]


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _message(queue: str, id: str) -> bytes:
    return orjson.dumps(
        {
            "body": _BODY,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": CELERY_TASK,
                "id": id,
                "shadow": None,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "root_id": id,
                "parent_id": None,
                "argsrepr": "()",
                "kwargsrepr": "{}",
                "origin": "longhaul",
                "ignore_result": True,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
            },
            "properties": {
                "correlation_id": id,
                "reply_to": id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": key(queue)},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": id,
            },
        }
    )


async def ring(client: redis.Redis, counts: Mapping[str, int]) -> None:
    """Push `counts[queue]` doorbells for each queue. Raises redis.RedisError; whoever rings may ignore it."""
    async with client.pipeline(transaction=False) as pipeline:
        for queue, count in counts.items():
            for start in range(0, count, PUSH_AT_MOST):
                pipeline.lpush(key(queue), *messages(queue, min(PUSH_AT_MOST, count - start)))
        await pipeline.execute()


async def count(client: redis.Redis, queues: Iterable[str]) -> dict[str, int]:
    """How many doorbells each queue has. Raises redis.RedisError."""
    names = list(queues)
    async with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.llen(key(name))
        return dict(zip(names, await pipeline.execute(), strict=True))


async def try_out(client: redis.Redis) -> None:
    """Push and pop a doorbell that nobody hears. Raises redis.RedisError if Redis refuses either: as a replica, without
    room in memory or on disk, or by an ACL."""
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(_TRIAL_KEY)
        pipeline.lpush(_TRIAL_KEY, b"")
        pipeline.brpop([_TRIAL_KEY], timeout=1)
        await pipeline.execute()


async def trim(client: redis.Redis, counts: Mapping[str, int]) -> None:
    """Take doorbells away that no due job stands behind, down to `counts[queue]`. Raises redis.RedisError."""
    async with client.pipeline(transaction=False) as pipeline:
        for queue, keep in counts.items():
            # Those at the head were pushed last; an LTRIM to nothing deletes the key.
            pipeline.ltrim(key(queue), -keep, -1) if keep else pipeline.delete(key(queue))
        await pipeline.execute()
