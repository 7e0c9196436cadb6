"""`reference/states.md`: the state machine, from `longhaul.states`."""

from __future__ import annotations

from docs.generator.attributes import attributes_of
from docs.generator.markdown import code, codes, table

from longhaul.states import TERMINAL, TRANSITIONS, Budget, Ending, State, Transition, decide

_PAGE = """# States

A job is in one of these states. [`states.py`](../../services/core/src/longhaul/states.py) decides, the ledger applies what
it decides with one conditional statement, and CHECK constraints hold what the states mean.

{transitions}

Terminal states: {terminal}. A job that is in one never changes its state again; a replay is a new job.

## How an attempt ends, and what that makes of the job

There are two budgets. `retries` is for errors that may pass and for timeouts, `max_interruptions` for crashes and lost
leases. Handing over costs nothing, however often it happens.

{endings}

A job that someone asked to cancel becomes `cancelled` wherever this table says `queued`.

The wait before a retry is the smaller of `backoff_max` and `backoff` times two to the power of the retries used so far, of
which a random share of up to one half is taken off; or what the task asked for with `Retryable(delay_seconds=...)`."""


def page() -> str:
    """The page's Markdown, without its head."""
    states = {State[one.name]: one.text for one in attributes_of(State)}
    endings = {Ending[one.name]: one.text for one in attributes_of(Ending)}
    return _PAGE.format(
        transitions=table(
            ("state", "meaning", "may become"),
            [(code(one), states[one], codes(sorted(TRANSITIONS[one])) or "the end") for one in State],
        ),
        terminal=codes(sorted(TERMINAL)),
        endings=table(
            ("ending", "meaning", "job, while its budget lasts", "budget used up", "costs"),
            [(code(one), text, *_outcomes(one)) for one, text in endings.items()],
        ),
    )


def _outcomes(ending: Ending) -> tuple[str, str, str]:
    first, last = _decide(ending, used=0), _decide(ending, used=1)
    costs = "a retry" if first.retries_used else "an interruption" if first.interruptions_used else "nothing"
    becomes = f"{code(first.state)}{', due after a wait' if first.delay_seconds else ''}"
    return becomes, "the same" if last.state is first.state else code(last.state), costs


def _decide(ending: Ending, *, used: int) -> Transition:
    budget = Budget(
        retries=used, retries_max=1, interruptions=used, max_interruptions=1, backoff_seconds=2, backoff_max_seconds=600
    )
    return decide(ending, budget, jitter=1.0)
