"""What clients do to jobs, and what is deleted."""

from __future__ import annotations

from tests.mutants.mutation import Edit, Mutation

JOBS = "services/core/src/longhaul/ledger/jobs.py"
SCHEMA = "services/core/src/longhaul/ledger/migrations/versions/0001_ledger.py"
RETENTION = "services/core/src/longhaul/ledger/retention.py"
KEYS = "services/core/src/longhaul/ledger/keys.py"
RESULTS = "services/core/src/longhaul/results.py"
SUBMIT_TESTS = "tests/integration/ledger/test_submit.py"
TESTS = "tests/integration/ledger/test_jobs.py"

MUTATIONS = [
    Mutation(
        name="digest-ignored",
        breaks="Another request under a known idempotency key is answered as if it were the first one, and never runs.",
        edits=[Edit(JOBS, 'same = row["request_digest"] == job.request_digest', "same = True")],
        test=f"{SUBMIT_TESTS}::test_the_same_key_and_another_request_is_a_conflict",
    ),
    Mutation(
        name="idempotency-key-of-all-tenants",
        breaks="A tenant that uses an idempotency key of another tenant is answered with that tenant's job.",
        edits=[
            Edit(SCHEMA, "ON jobs (tenant, idempotency_key) WHERE", "ON jobs (idempotency_key) WHERE"),
            Edit(JOBS, "ON CONFLICT (tenant, idempotency_key) WHERE", "ON CONFLICT (idempotency_key) WHERE"),
            Edit(
                JOBS,
                "(tenant, idempotency_key) IN (SELECT * FROM unnest(%(tenants)s::text[], %(keys)s::text[]))",
                "idempotency_key = ANY(%(keys)s)",
            ),
            Edit(JOBS, '(row["tenant"], row["idempotency_key"]): row', 'row["idempotency_key"]: row'),
            Edit(JOBS, "known.get((job.tenant, job.idempotency_key))", "known.get(job.idempotency_key)"),
        ],
        test=f"{SUBMIT_TESTS}::test_a_key_is_its_tenants_own",
    ),
    Mutation(
        name="cancel-overwrites-an-end",
        breaks="A cancel that comes too late turns a finished job into a cancelled one.",
        edits=[Edit(JOBS, "AND state IN ('waiting', 'queued', 'running') AND cancel", "AND cancel")],
        test=f"{TESTS}::test_a_cancel_ends_what_nobody_runs_and_asks_what_runs[failed]",
    ),
    Mutation(
        name="dead-letter-replayed-twice",
        breaks="A dead letter that two people replay at once runs twice.",
        edits=[
            Edit(
                JOBS,
                "      AND (NOT %(dead_letters)s OR (state = 'dead' AND resolution IS NULL))\n    RETURNING",
                "    RETURNING",
            )
        ],
        test=f"{TESTS}::test_a_dead_letter_is_replayed_once_however_many_ask_at_once",
    ),
    Mutation(
        name="retention-deletes-dead-letters",
        breaks="A dead letter that nobody has looked at is deleted for its age.",
        edits=[Edit(RETENTION, "\n      AND (state <> 'dead' OR resolution IS NOT NULL)", "")],
        test=f"{TESTS}::test_a_dead_letter_stays_until_it_is_resolved",
    ),
    Mutation(
        name="retention-deletes-unfinished-jobs",
        breaks="A job that waits or runs is deleted for its age.",
        edits=[
            Edit(RETENTION, "WHERE finished_at < now() - make_interval", "WHERE created_at < now() - make_interval")
        ],
        test="tests/integration/controller/test_retention.py::test_what_ended_long_ago_is_deleted_with_its_history",
    ),
    Mutation(
        name="collector-deletes-results",
        breaks="The collector deletes the stored result of a job that succeeded.",
        edits=[
            Edit(
                RETENTION,
                "(result_key = object.key OR (state = 'running' AND jobs.epoch = object.epoch))",
                "(state = 'running' AND jobs.epoch = object.epoch)",
            )
        ],
        test="tests/integration/controller/test_orphaned_results.py::test_a_result_goes_after_its_job",
    ),
    Mutation(
        name="collector-deletes-what-is-being-written",
        breaks="The collector deletes the result of an attempt whose end is about to be committed.",
        edits=[
            Edit(
                RETENTION,
                "(result_key = object.key OR (state = 'running' AND jobs.epoch = object.epoch))",
                "result_key = object.key",
            )
        ],
        test=(
            "tests/integration/controller/test_orphaned_results.py"
            "::test_only_what_nobody_refers_to_or_may_yet_refer_to_is_deleted"
        ),
    ),
    Mutation(
        name="altered-result-is-served",
        breaks="A stored result that was changed after it was written is served as the job's result.",
        edits=[Edit(RESULTS, "if digest.hexdigest() != stored.sha256:", "if not digest.hexdigest():")],
        test="tests/unit/core/test_results.py::test_a_changed_result_never_looks_whole",
    ),
    Mutation(
        name="revoked-key-accepted",
        breaks="An API key that was revoked opens the API for ever.",
        edits=[Edit(KEYS, 'FROM api_keys WHERE id = %s AND revoked_at IS NULL"', 'FROM api_keys WHERE id = %s"')],
        test="tests/integration/ledger/test_keys.py::test_a_revoked_key_is_worth_nothing_and_stays_listed",
    ),
]
