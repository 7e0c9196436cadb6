"""What the API promises to whoever submits, and whom it lets in."""

from __future__ import annotations

from tests.mutants.mutation import Edit, Mutation

ACCESS = "services/api/src/longhaul_api/ledger_access.py"
AUTH = "services/api/src/longhaul_api/auth.py"
CONNECTION = "services/core/src/longhaul/ledger/connection.py"
SUBMIT = "services/api/src/longhaul_api/routes/submit.py"
TESTS = "tests/integration/api/test_submit.py"

MUTATIONS = [
    Mutation(
        name="accepted-before-the-commit",
        breaks="The API answers 202, and commits the job a second later.",
        edits=[
            Edit(
                ACCESS,
                "            async with acquire(self._pool) as connection:\n                return await question(connection)\n",
                """            lent = acquire(self._pool)
            connection = await lent.__aenter__()
            await connection.execute("BEGIN")
            answer = await question(connection)
            asyncio.get_running_loop().call_later(1, lambda: asyncio.ensure_future(lent.__aexit__(None, None, None)))
            return answer
""",
            )
        ],
        test=f"{TESTS}::test_a_submit_is_answered_with_where_the_job_is",
    ),
    Mutation(
        name="accepted-before-it-is-on-disk",
        breaks="The API answers 202 for a commit that PostgreSQL has not written to its log, and loses in a crash.",
        edits=[Edit(CONNECTION, ' -c timezone=UTC"', ' -c timezone=UTC -c synchronous_commit=off"')],
        test=(
            "tests/integration/api/test_database_away.py"
            "::test_a_database_that_crashes_under_load_accepts_nothing_that_it_forgets"
        ),
    ),
    Mutation(
        name="ring-before-the-commit",
        breaks="A doorbell rings before its job is committed: a worker hears it and finds nothing.",
        edits=[
            Edit(
                SUBMIT,
                "    submitted = await context.submissions.submit(job)\n",
                "    context.ringer.ring(job.queue)\n    submitted = await context.submissions.submit(job)\n",
            ),
            Edit(SUBMIT, "    _ring(context, submitted)\n    return accepted(row)", "    return accepted(row)"),
        ],
        test=f"{TESTS}::test_no_doorbell_rings_before_the_commit",
    ),
    Mutation(
        name="revoked-key-remembered",
        breaks="An API process that has seen a key goes on accepting it after it was revoked, until it restarts.",
        edits=[Edit(AUTH, "        if expires <= now:\n", "        if expires <= now and principal is None:\n")],
        test="tests/unit/api/test_key_auth.py::test_a_key_is_asked_for_once_and_again_when_it_is_old",
    ),
]
