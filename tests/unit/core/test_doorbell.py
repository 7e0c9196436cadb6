"""The doorbell's names and messages. That they are Celery's own is in tests/integration/test_doorbell.py."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from longhaul import doorbell


def test_a_queue_and_a_pool_have_their_keys() -> None:
    assert doorbell.key("reports") == "doorbell:reports"
    assert doorbell.running_key("gpu") == "running:gpu"


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_as_many_messages_as_wanted_each_with_an_id_of_its_own(count: int) -> None:
    messages = [json.loads(message) for message in doorbell.messages("reports", count)]
    assert len({UUID(message["headers"]["id"]) for message in messages}) == count
    assert all(str(UUID(message["headers"]["id"])) == message["headers"]["id"] for message in messages)


def test_a_message_says_only_which_queue_has_work() -> None:
    """No job's id and no payload, so that a lost, repeated or forged one tells and costs nothing."""
    first, second = (json.loads(doorbell.messages(queue, 1)[0]) for queue in ("reports", 'od"d\nqueue'))
    assert first["properties"]["delivery_info"] == {"exchange": "", "routing_key": "doorbell:reports"}
    assert second["properties"]["delivery_info"]["routing_key"] == 'doorbell:od"d\nqueue'
    assert first["body"] == second["body"]


def test_a_thousand_fit_into_a_megabyte() -> None:
    assert sum(map(len, doorbell.messages("default", doorbell.PUSH_AT_MOST))) < 1_000_000


@pytest.mark.parametrize(
    ("url", "keepalive"), [("redis://localhost:6379/0", True), ("unix:///run/valkey.sock?db=1", None)]
)
def test_nobody_waits_for_a_doorbell(url: str, keepalive: bool | None) -> None:
    options = doorbell.create_client(url, timeout_seconds=0.5).connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.5, 0.5)
    assert options.get("socket_keepalive") is keepalive
    assert options["retry"].get_retries() == 0
