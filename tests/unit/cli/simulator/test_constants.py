"""The CLI can be installed without the services: what the simulator repeats of them is held equal here."""

from longhaul_cli.simulator import jobs, pods
from longhaul_controller import deletion_cost
from longhaul_worker import drain


def test_they_are_those_of_the_services() -> None:
    assert jobs.KILL_MARGIN_SECONDS == drain.KILL_MARGIN_SECONDS
    assert pods.UNINTERRUPTIBLE == deletion_cost.UNINTERRUPTIBLE
