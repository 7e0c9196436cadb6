"""What a running attempt may write, and what takes its job away."""

from __future__ import annotations

from tests.mutants.mutation import Edit, Mutation

LEASES = "services/core/src/longhaul/ledger/leases.py"
REAPING = "services/core/src/longhaul/ledger/reaping.py"
STATES = "services/core/src/longhaul/states.py"
TESTS = "tests/integration/ledger/test_leases.py"
REAP_TESTS = "tests/integration/ledger/test_reap.py"
STATE_TESTS = "tests/unit/core/test_states.py"

MUTATIONS = [
    Mutation(
        name="end-without-the-epoch",
        breaks="A stale owner ends the attempt that took its place.",
        edits=[
            Edit(
                LEASES,
                "WHERE id = %(job_id)s AND epoch = %(epoch)s AND state = 'running'\n      AND (NOT",
                "WHERE id = %(job_id)s AND state = 'running'\n      AND (NOT",
            )
        ],
        test=f"{TESTS}::test_a_late_end_after_the_reaper_is_refused",
    ),
    Mutation(
        name="record-without-the-epoch",
        breaks="A stale owner writes progress, logs and checkpoints into the attempt that took its place.",
        edits=[
            Edit(
                LEASES,
                "WHERE id = %(job_id)s AND epoch = %(epoch)s AND state = 'running'\n    RETURNING",
                "WHERE id = %(job_id)s AND state = 'running'\n    RETURNING",
            )
        ],
        test=f"{TESTS}::test_only_the_owners_of_a_batch_are_written",
    ),
    Mutation(
        name="renew-without-the-epoch",
        breaks="A worker renews a lease for an attempt that it lost, and never learns of the loss.",
        edits=[
            Edit(
                LEASES,
                "((id, epoch) IN (SELECT * FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[])))",
                "(id IN (SELECT * FROM unnest(%(ids)s::uuid[])))",
            )
        ],
        test=f"{TESTS}::test_an_older_epoch_renews_nothing",
    ),
    Mutation(
        name="renew-for-another-worker",
        breaks="A worker renews leases that belong to another worker.",
        edits=[Edit(LEASES, "WHERE worker_id = %(worker_id)s AND state = 'running'\n", "WHERE state = 'running'\n")],
        test=f"{TESTS}::test_another_worker_renews_nothing",
    ),
    Mutation(
        name="reap-without-the-lease",
        breaks="The reaper takes a job whose lease has not run out by the clock of the database that it writes to.",
        edits=[Edit(LEASES, "      AND (NOT %(expired_only)s OR lease_expires_at < now())\n", "")],
        test=f"{REAP_TESTS}::test_a_lease_that_has_not_run_out_by_now_is_left_whenever_the_reaper_looked",
    ),
    Mutation(
        name="reap-by-the-time-it-runs",
        breaks="A reap that lay in a database that hung finds every lease old when it goes on.",
        edits=[Edit(REAPING, "lease_expires_at < coalesce(%(as_of)s::timestamptz, now())", "lease_expires_at < now()")],
        test=f"{REAP_TESTS}::test_a_lease_that_ran_out_after_the_reaper_looked_is_left",
    ),
    Mutation(
        name="event-numbers-with-gaps",
        breaks="The numbers of a job's events have gaps, so streams wait for events that do not exist.",
        edits=[Edit(LEASES, "event_seq = event_seq + %(count)s", "event_seq = event_seq + %(count)s + 1")],
        test=f"{TESTS}::test_what_a_job_says_is_numbered_and_kept",
    ),
    Mutation(
        name="cancelled-job-queued-again",
        breaks="A job that was asked to cancel is queued again when its attempt is interrupted or fails.",
        edits=[
            Edit(
                LEASES,
                "CASE WHEN %(state)s = 'queued' AND cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE %(state)s END",
                "%(state)s",
            ),
            Edit(
                LEASES,
                "CASE WHEN %(state)s <> 'queued' OR cancel_requested_at IS NOT NULL THEN now() END",
                "CASE WHEN %(state)s <> 'queued' THEN now() END",
            ),
        ],
        test=f"{TESTS}::test_a_cancelled_job_is_not_queued_again",
    ),
    Mutation(
        name="retries-not-counted",
        breaks="A job that always fails is retried for ever.",
        edits=[Edit(LEASES, "retries = retries + %(retries_used)s,", "retries = retries,")],
        test=f"{TESTS}::test_an_end_makes_of_the_job_what_was_decided",
    ),
    Mutation(
        name="hand-over-counts-as-an-interruption",
        breaks="Drains use up the interruptions of a job that did nothing wrong, until it is a dead letter.",
        edits=[
            Edit(
                STATES,
                'return Transition(state=State.QUEUED, event="interrupted")',
                'return Transition(state=State.QUEUED, event="interrupted", interruptions_used=1)',
            )
        ],
        test=f"{STATE_TESTS}::test_each_ending_makes_of_a_job_what_its_budget_allows",
    ),
    Mutation(
        name="crash-budget-ignored",
        breaks="A job that kills its worker each time is started again for ever.",
        edits=[Edit(STATES, "if budget.interruptions >= budget.max_interruptions:", "if budget.interruptions < 0:")],
        test=f"{REAP_TESTS}::test_a_job_that_keeps_losing_its_owner_becomes_a_dead_letter_with_its_evidence",
    ),
]
