"""The reaper, the doorbells that the controller rings and takes away, and who leads."""

from __future__ import annotations

from tests.mutants.mutation import Edit, Mutation

REAPER = "services/controller/src/longhaul_controller/reaper.py"
DUTY = "services/controller/src/longhaul_controller/duty.py"
LEDGER = "services/controller/src/longhaul_controller/ledger.py"
LEADER = "services/controller/src/longhaul_controller/leader.py"
RERING = "services/controller/src/longhaul_controller/rering.py"
DOORBELL = "services/core/src/longhaul/doorbell.py"
QUEUES = "services/core/src/longhaul/ledger/queues.py"
REAPER_TESTS = "tests/integration/controller/test_reaper.py"
RERING_TESTS = "tests/integration/controller/test_rering.py"

MUTATIONS = [
    Mutation(
        name="reaper-without-silence",
        breaks="After an outage, when every lease is old, the reaper takes all running jobs from owners that are alive.",
        edits=[
            Edit(REAPER, "if self._leader.ledger_up_seconds() < self._lease_seconds or not await", "if not await"),
        ],
        test=f"{REAPER_TESTS}::test_the_reaper_is_silent_until_the_ledger_was_seen_up_for_a_lease",
    ),
    Mutation(
        name="reaper-by-the-time-of-the-evidence",
        breaks="The reaper takes jobs whose leases ran out while it waited for Kubernetes.",
        edits=[
            Edit(
                REAPER,
                "ledger.reap(as_of=as_of, losses=await self._explain(owners))",
                "ledger.reap(losses=await self._explain(owners), as_of=await ledger.read_clock())",
            )
        ],
        test=f"{REAPER_TESTS}::test_a_lease_that_runs_out_while_the_reaper_asks_for_evidence_is_left",
    ),
    Mutation(
        name="evidence-stops-the-reap",
        breaks="A pod that Kubernetes describes oddly keeps its jobs from being given back.",
        edits=[
            Edit(
                REAPER,
                "            except Exception as error:  # noqa: BLE001 - the reap",
                "            except OSError as error:  # noqa: BLE001 - the reap",
            )
        ],
        test=f"{REAPER_TESTS}::test_evidence_that_fails_costs_the_evidence_only",
        error="tests.integration.controller.test_reaper.OddPod",
    ),
    Mutation(
        name="duty-ends-the-controller",
        breaks="An error that nobody expected in one duty ends all of them, and the process.",
        edits=[
            Edit(
                DUTY,
                "            except Exception as error:  # noqa: BLE001 - the others",
                "            except OSError as error:  # noqa: BLE001 - the others",
            )
        ],
        test="tests/unit/controller/test_duty.py::test_whatever_a_duty_raises_it_runs_again",
    ),
    Mutation(
        name="leader-after-a-freeze",
        breaks="A leader that was frozen acts as the leader when it wakes up, before it has looked who leads now.",
        edits=[Edit(LEADER, "return self._leads and not self._is_gap()", "return self._leads")],
        test="tests/integration/controller/test_leader.py::test_a_loop_that_stood_still_does_not_lead_until_it_has_looked",
    ),
    Mutation(
        name="leader-that-only-reads",
        breaks="The reaper's silence ends while the database is read-only, and owners that could not renew lose their jobs.",
        edits=[
            Edit(LEDGER, "        await leadership.beat(self.connection)\n", ""),
            Edit(REAPER, "            self._refused_at = loop.time()\n", ""),
        ],
        test="tests/integration/controller/test_refused_writes.py::test_an_owner_that_could_not_renew_has_a_whole_lease_to_do_so[read-only]",
    ),
    Mutation(
        name="rering-never",
        breaks="A job whose doorbell was lost waits until another job of its queue rings.",
        edits=[Edit(RERING, "        if missing:\n", "        if not due and missing:\n")],
        test=f"{RERING_TESTS}::test_what_redis_lost_is_rung_again_at_the_next_look",
    ),
    Mutation(
        name="trim-at-once",
        breaks="A doorbell that is on its way between a commit and the controller's look is taken away.",
        edits=[Edit(RERING, "lasting = surplus & self._had_surplus", "lasting = surplus")],
        test=f"{RERING_TESTS}::test_a_surplus_goes_only_when_it_lasts_two_looks",
    ),
    Mutation(
        name="surplus-stays",
        breaks="Doorbells that stand for nothing stay, and the scaler keeps pods for them.",
        edits=[Edit(RERING, "lasting = surplus & self._had_surplus", "lasting = surplus - surplus")],
        test=f"{RERING_TESTS}::test_a_surplus_goes_only_when_it_lasts_two_looks",
    ),
    Mutation(
        name="trim-from-the-wrong-end",
        breaks="The controller takes away the doorbells that workers would hear next.",
        edits=[Edit(DOORBELL, "pipeline.ltrim(key(queue), -keep, -1)", "pipeline.ltrim(key(queue), 0, keep - 1)")],
        test=f"{RERING_TESTS}::test_what_is_trimmed_was_rung_last",
    ),
    Mutation(
        name="paused-queue-rings",
        breaks="A paused queue is rung for, and scaled up for, while nothing may start.",
        edits=[
            Edit(
                QUEUES,
                "ON open_tasks.queue = queues.name AND queues.paused_at IS NULL",
                "ON open_tasks.queue = queues.name",
            )
        ],
        test=f"{RERING_TESTS}::test_a_paused_queue_rings_nothing",
    ),
]
