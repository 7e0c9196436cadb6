"""The seam between keeper and task: frames, attempts, what is written of them, and what a task may leave behind."""

from __future__ import annotations

from tests.mutants.mutation import Edit, Mutation

WORKER = "services/worker/src/longhaul_worker"
ATTEMPT = f"{WORKER}/attempt.py"
CELERY_APP = f"{WORKER}/celery/app.py"
CELERY_POOL = f"{WORKER}/celery/pool.py"
CHILD = f"{WORKER}/session/child.py"
DRAIN = f"{WORKER}/drain.py"
EXECUTE = f"{WORKER}/child/execute.py"
HALVING = f"{WORKER}/halving.py"
RECORDER = f"{WORKER}/recorder.py"
SERVER = f"{WORKER}/session/server.py"
SLOTS = f"{WORKER}/slots.py"
SPOOL = f"{WORKER}/outcome_spool.py"
SUPERVISOR = f"{WORKER}/supervisor.py"

ATTEMPT_TESTS = "tests/unit/worker/test_attempt.py"
CHILD_TESTS = "tests/unit/worker/test_child_session.py"
KEEPER_TESTS = "tests/unit/worker/test_keeper_session.py"
RECORDER_TESTS = "tests/integration/worker/test_recorder.py"
SPOOL_TESTS = "tests/unit/worker/test_outcome_spool.py"
FAULT_TESTS = "tests/integration/worker/test_faults.py"
RUNNING_TESTS = "tests/integration/worker/test_attempts.py"

OF_A_CHILD = [
    Mutation(
        name="answers-matched-by-order",
        breaks="One question that a signal interrupts shifts every later answer by one, so a job gets its neighbour's.",
        edits=[
            Edit(
                CHILD,
                "self._pending.pop(frame.number, None)",
                "self._pending.pop(min(self._pending, default=0), None)",
            )
        ],
        test=f"{CHILD_TESTS}::test_an_answer_reaches_its_own_question_in_whatever_order_they_come",
    ),
    Mutation(
        name="job-usable-after-its-attempt",
        breaks="A thread that outlives its attempt goes on reporting while the next job runs.",
        edits=[Edit(CHILD, "        channel.is_over = True\n", "")],
        test=f"{CHILD_TESTS}::test_nothing_can_be_said_for_an_attempt_that_is_over",
    ),
    Mutation(
        name="job-usable-in-a-fork",
        breaks="A process that a task forked reports for the job over its parent's connection.",
        edits=[Edit(CHILD, "if self.is_over or self._session.current_pid() != self._session.pid:", "if self.is_over:")],
        test=f"{CHILD_TESTS}::test_a_process_that_the_task_forked_says_nothing",
    ),
    Mutation(
        name="soft-limit-inside-a-frame",
        breaks="The soft limit cuts the frame in half that the task is just sending.",
        edits=[Edit(CHILD, "        if not self._main_is_inside:\n            self._raise", "        self._raise")],
        test=f"{CHILD_TESTS}::test_a_soft_limit_that_finds_the_task_in_a_call_is_raised_after_it",
    ),
    Mutation(
        name="exit-of-a-task-not-reported",
        breaks="A task that exits ends its process without a report, and is run again as if it had crashed.",
        edits=[
            Edit(
                EXECUTE,
                "except BaseException as error:  # noqa: BLE001 - SystemExit",
                "except Exception as error:  # SystemExit",
            ),
            Edit(
                EXECUTE,
                "except BaseException as error:  # noqa: BLE001 - a handler",
                "except Exception as error:  # a handler",
            ),
        ],
        test=f"{RUNNING_TESTS}::test_any_other_error_ends_the_job_at_once[exit-task_failed]",
    ),
    Mutation(
        name="descendants-not-killed",
        breaks="A process that a task started runs on beside the next job.",
        edits=[Edit(EXECUTE, "left_behind = end_descendants(os.getpid())", "left_behind = 0")],
        test=f"{RUNNING_TESTS}::test_what_a_task_started_ends_with_its_attempt",
    ),
    Mutation(
        name="credentials-passed-to-celery",
        breaks="User code finds the database's password in its environment.",
        edits=[Edit(SUPERVISOR, "in os.environ.items() if name not in CREDENTIALS}", "in os.environ.items()}")],
        test="tests/unit/worker/test_celery_settings.py::test_celery_sees_no_credentials_of_the_database",
    ),
    Mutation(
        name="connections-of-celery-inherited",
        breaks="A task that writes to a wrong descriptor speaks to Redis in Celery's name.",
        edits=[Edit(CELERY_APP, "    _drop_sockets_of_main()\n", "")],
        test=f"{FAULT_TESTS}::test_a_task_that_writes_to_all_sockets_reaches_no_connection_of_celery",
    ),
    Mutation(
        name="fork-in-a-handler",
        breaks="Each error of a job quotes an error that Celery handled when it started the process.",
        edits=[Edit(CELERY_POOL, "if sys.exception() is None:", "if True:")],
        test=f"{FAULT_TESTS}::test_a_child_that_is_born_while_celery_handles_an_error_of_redis_knows_nothing_of_it",
    ),
]

OF_THE_KEEPER = [
    Mutation(
        name="orphans-of-a-killed-guard-not-adopted",
        breaks="What a task started runs on after the guard that would have ended it was killed.",
        edits=[Edit(SUPERVISOR, "        adopt_orphans()  # those of a guard that is killed\n", "")],
        test=f"{FAULT_TESTS}::test_a_killed_guard_leaves_no_process_of_a_task_behind",
    ),
    Mutation(
        name="frame-of-another-attempt-accepted",
        breaks="What a child says about its last job is booked to the one that it runs now.",
        edits=[Edit(SERVER, "return attempt if is_this else None", "return attempt")],
        test=f"{KEEPER_TESTS}::test_what_is_said_about_another_attempt_is_refused_and_books_nothing",
    ),
    Mutation(
        name="claim-from-a-busy-child",
        breaks="A child that runs a job gets a second one, and the first one stays running for ever.",
        edits=[
            Edit(
                SERVER,
                '            if self.state is not State.IDLE:\n                raise BrokenFrame(f"it asked for a job while it was {self.state}")\n',
                "",
            )
        ],
        test=f"{KEEPER_TESTS}::test_a_child_that_is_not_idle_may_not_ask_for_a_job",
    ),
    Mutation(
        name="kill-by-slot",
        breaks="A deadline of a job that has ended kills the next job of its slot.",
        edits=[
            Edit(
                SLOTS,
                "        if self.attempt is attempt:\n            self.process.kill()",
                "        self.process.kill()",
            )
        ],
        test=f"{KEEPER_TESTS}::test_a_kill_names_the_attempt_and_spares_the_next_one_in_the_same_slot",
    ),
    Mutation(
        name="lost-attempt-not-killed",
        breaks="A process whose job another worker runs by now goes on computing.",
        edits=[
            Edit(
                ATTEMPT,
                "        if self.child is not None and not self.is_over:\n            self.child.kill(self)\n        self._over()\n",
                "        self._over()\n",
            )
        ],
        test=f"{ATTEMPT_TESTS}::test_a_lost_lease_stops_the_process_and_writes_nothing",
    ),
    Mutation(
        name="checkpoint-acknowledged-before-its-commit",
        breaks="A task goes on from a checkpoint that the next attempt may not find.",
        edits=[
            Edit(
                ATTEMPT,
                "        if self._is_ledger_up and not self.is_over:\n            self._checkpoint_saved",
                "        if self.is_over:\n            self._checkpoint_saved",
            )
        ],
        test=f"{ATTEMPT_TESTS}::test_a_checkpoint_is_due_at_once_and_answers_once_it_is_written",
    ),
    Mutation(
        name="end-before-the-notes",
        breaks="The end of an attempt is committed before all that it said, and the rest is lost.",
        edits=[Edit(RECORDER, "if not self._has_notes(end.lease)]", "]")],
        test=f"{RECORDER_TESTS}::test_all_that_an_attempt_said_is_written_before_its_end",
    ),
    Mutation(
        name="unanswered-record-written-again",
        breaks="Log lines whose commit was not answered are written twice.",
        edits=[
            Edit(
                RECORDER,
                "if counts.get(attempt.lease, 0) >= attempt.reports_written",
                "if -1 >= attempt.reports_written",
            )
        ],
        test=f"{RECORDER_TESTS}::test_a_record_whose_answer_was_lost_is_not_written_again",
    ),
    Mutation(
        name="poison-not-isolated",
        breaks="A value that the database refuses ends every attempt whose outcome is in the same batch.",
        edits=[
            Edit(HALVING, "        if len(items) > 1:\n", "        if not items:\n"),
            Edit(HALVING, "        answers = [error]\n", "        answers = [error] * len(items)\n"),
        ],
        test=f"{RECORDER_TESTS}::test_an_outcome_that_can_not_be_stored_ends_its_own_attempt_only",
    ),
    Mutation(
        name="refused-end-not-rehearsed",
        breaks="A ledger that refuses every success for a while makes failures of all jobs that succeed meanwhile.",
        edits=[Edit(RECORDER, "        await ledger.rehearse(stand_ins.harmless_end(end))\n", "")],
        test=f"{RECORDER_TESTS}::test_a_ledger_that_refuses_every_success_costs_no_outcome",
    ),
    Mutation(
        name="swallowed-write-taken-for-a-loss",
        breaks="A trigger that swallows the writes of renewals, reports or ends stops every job that runs.",
        edits=[Edit(RECORDER, "            if lease in lost:\n", "            if lease not in ():\n")],
        test=f"{RECORDER_TESTS}::test_a_ledger_that_swallows_writes_costs_neither_a_lease_nor_an_outcome",
    ),
    Mutation(
        name="refused-outcome-deleted",
        breaks="An outcome on disk that the ledger refuses is deleted, and nobody can look at it.",
        edits=[Edit(RECORDER, "        self._spool.quarantine(end.lease)\n", "")],
        test=f"{RECORDER_TESTS}::test_an_outcome_that_can_not_be_stored_is_put_aside_on_disk",
    ),
    Mutation(
        name="spool-deleted-before-the-commit",
        breaks="An outcome leaves the disk before it is committed: a keeper that dies in between loses a finished hour.",
        edits=[
            Edit(
                RECORDER,
                "        async for end, answer in write_each(ledger.end, ends):\n",
                "        for end in ends:\n            self._spool.delete(end.lease)\n"
                "        async for end, answer in write_each(ledger.end, ends):\n",
            )
        ],
        test=f"{RECORDER_TESTS}::test_an_outcome_is_on_disk_until_it_is_committed",
    ),
    Mutation(
        name="spool-without-fsync",
        breaks="An outcome that was saved while the database was away is an empty file after a crash of the machine.",
        edits=[Edit(SPOOL, "                os.fsync(file.fileno())\n", "")],
        test=f"{SPOOL_TESTS}::test_an_outcome_is_on_the_disk_before_it_has_its_name",
    ),
    Mutation(
        name="unreadable-outcome-not-put-aside",
        breaks="A file of the spool that can't be read is passed over without a word, at each start again.",
        edits=[Edit(SPOOL, 'self._put_aside(path, f"{type(error).__name__}: {error}")', "del error")],
        test=f"{SPOOL_TESTS}::test_a_file_that_can_not_be_read_is_put_aside",
    ),
    Mutation(
        name="claim-while-draining",
        breaks="A pod that must go claims jobs, and interrupts them right away.",
        edits=[Edit(RECORDER, "if not self.is_up or self.is_draining:", "if not self.is_up:")],
        test=f"{RECORDER_TESTS}::test_a_keeper_that_must_go_claims_nothing",
    ),
    Mutation(
        name="drain-without-a-hand-over",
        breaks="A pod that must go kills its jobs at the end of the drain instead of asking for a checkpoint.",
        edits=[Edit(DRAIN, "        attempt.ask_to_hand_over()\n", "        del attempt\n")],
        test="tests/integration/worker/test_faults.py::test_a_drain_makes_a_long_job_hand_over",
    ),
]
