"""Who gets which job, and when."""

from __future__ import annotations

from tests.mutants.mutation import Edit, Mutation

CLAIMS = "services/core/src/longhaul/ledger/claims.py"
TESTS = "tests/integration/ledger/test_claim.py"

MUTATIONS = [
    Mutation(
        name="claim-without-a-lock",
        breaks="Two workers that claim at once take the same job.",
        edits=[Edit(CLAIMS, "ORDER BY rank_at, id LIMIT 1 FOR UPDATE SKIP LOCKED", "ORDER BY rank_at, id LIMIT 1")],
        test=f"{TESTS}::test_two_claimers_never_get_one_job",
    ),
    Mutation(
        name="claim-waits-for-locks",
        breaks="A claim waits for the job that another worker is just claiming, although other jobs are due.",
        edits=[Edit(CLAIMS, "LIMIT 1 FOR UPDATE SKIP LOCKED", "LIMIT 1 FOR UPDATE")],
        test=f"{TESTS}::test_claimers_of_what_is_not_limited_do_not_wait_for_each_other",
        error="builtins.TimeoutError",
    ),
    Mutation(
        name="claim-keeps-the-epoch",
        breaks="The next attempt runs under the epoch of the one before, so nothing fences the old owner off.",
        edits=[Edit(CLAIMS, "epoch = epoch + 1,", "epoch = greatest(epoch, 1),")],
        test=f"{TESTS}::test_each_claim_is_a_new_epoch_and_finds_the_last_checkpoint",
    ),
    Mutation(
        name="claim-before-its-time",
        breaks="A job starts before its `run_after`: delays and backoff are ignored.",
        edits=[Edit(CLAIMS, "queue = %(queue)s AND run_after <= now() AND task", "queue = %(queue)s AND task")],
        test=f"{TESTS}::test_a_delayed_job_waits_whatever_its_priority",
    ),
    Mutation(
        name="claim-by-age-alone",
        breaks="Jobs start in the order of their age, whatever their priority.",
        edits=[Edit(CLAIMS, "ORDER BY rank_at, id LIMIT 1", "ORDER BY id LIMIT 1")],
        test=f"{TESTS}::test_priority_goes_before_age",
    ),
    Mutation(
        name="claim-from-a-paused-queue",
        breaks="A paused queue goes on starting jobs.",
        edits=[Edit(CLAIMS, "WHERE name = %(queue)s AND paused_at IS NULL", "WHERE name = %(queue)s")],
        test=f"{TESTS}::test_a_paused_queue_starts_nothing_until_it_is_resumed",
    ),
    Mutation(
        name="claim-past-the-task-cap",
        breaks="More jobs of a task run at once than its `concurrency` allows.",
        edits=[Edit(CLAIMS, "AND task NOT IN (SELECT name FROM full_tasks) ", "")],
        test=f"{TESTS}::test_a_task_at_its_limit_lets_others_pass",
    ),
    Mutation(
        name="claimers-take-no-turns",
        breaks="Two workers that claim at once count the same free place of a limited queue, and both fill it.",
        edits=[Edit(CLAIMS, "AND max_running IS NOT NULL", "AND max_running < 0")],
        test=f"{TESTS}::test_the_last_place_goes_to_one_of_two_claimers[queue]",
    ),
    Mutation(
        name="two-suspects-on-one-worker",
        breaks="A worker runs several jobs that may each be what kills workers.",
        edits=[Edit(CLAIMS, " OR NOT EXISTS (SELECT FROM suspects))", " OR true)")],
        test=f"{TESTS}::test_a_worker_runs_one_suspect_at_once",
    ),
]
