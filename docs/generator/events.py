"""`reference/events.md`: the types of events, and what each carries."""

from __future__ import annotations

from docs.generator.markdown import code, table

from longhaul.ledger.events import ATTEMPT_ENDINGS, REPORTS, TERMINAL_EVENTS
from longhaul_api.feed import KEPT

_PAGE = """# Events

The history of a job is a list of events, numbered from 1 without gaps. Streams, log pages and the list of attempts all
read it. Each event is an [`EventView`](api.md#eventview): `job_id`, `id`, `type`, `at`, `attempt`, `data`.

{types}

As a server-sent event:

```text
id: 7
event: progress
data: {{"job_id":"...","id":7,"type":"progress","at":"...","attempt":1,"data":{{"fraction":0.5,"message":"half way"}}}}
```

A client that is more than {behind} events behind is sent the changes of state among the older ones, and then the newest
{kept} of all kinds. `GET /v1/jobs/{{job_id}}/logs` has every log line."""
_ENDED = "`ending`, and `error` and `evidence` where there are any"
TYPES = {
    "queued": ("The job was accepted. Always event 1.", "`origin_id` where it is a replay"),
    "started": ("An attempt began.", "`worker`"),
    "progress": (
        "The task reported progress; by default the newest at most every half second.",
        "`fraction`, `message`, `data`",
    ),
    "log": ("The task wrote a log line.", "`level`, `message`, `fields`"),
    "checkpoint": ("The task saved a checkpoint.", "`size_bytes`"),
    "retrying": ("The attempt ended with an error that may pass, or a timeout.", f"{_ENDED}; `retry_after_seconds`"),
    "interrupted": ("The platform ended the attempt, or its process died.", _ENDED),
    "cancel_requested": ("Someone asked the running job to stop.", ""),
    "succeeded": ("The end.", "`ending`"),
    "failed": ("The end.", _ENDED),
    "dead": ("The end: the job is in the dead-letter queue.", _ENDED),
    "cancelled": ("The end.", f"{_ENDED}, if an attempt was running"),
}


def page() -> str:
    """The page's Markdown, without its head."""
    known = ATTEMPT_ENDINGS | REPORTS | {"queued", "started", "cancel_requested"}
    assert known == TYPES.keys(), f"the ledger's types and this page's differ: {known ^ TYPES.keys()}"
    rows = [(code(one), *told, "yes" if one in TERMINAL_EVENTS else "") for one, told in TYPES.items()]
    return _PAGE.format(types=table(("type", "meaning", "`data`", "last"), rows), behind=2 * KEPT, kept=KEPT)
