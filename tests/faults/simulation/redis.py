"""Redis: a list of doorbells, which say nothing but that there is work, and those who wait for one."""

from __future__ import annotations

from tests.faults.simulation import times
from tests.faults.simulation.kernel import AWAY, Kernel, Task, Wish
from tests.faults.simulation.network import Line, Network, Server


class Redis(Server):
    """Source: services/core/src/longhaul/doorbell.py, and BRPOP as kombu uses it."""

    def __init__(self, kernel: Kernel, network: Network) -> None:
        super().__init__(kernel, network, "redis")
        self.doorbells = 0
        self.repeats = 1
        """How often a ring arrives."""
        self._waiting: list[tuple[Task, int, Line]] = []

    def ring(self, count: int) -> None:
        """LPUSH."""
        self.doorbells += count * self.repeats
        self._serve()

    def count(self) -> int:
        """LLEN."""
        return self.doorbells

    def trim(self, keep: int) -> None:
        """LTRIM."""
        self.doorbells = min(self.doorbells, keep)

    def pop(self, line: Line) -> Wish:
        """BRPOP, again and again, until there is a doorbell. It is gone once it is sent: who dies now has lost it."""

        def start(task: Task) -> None:
            if line.is_cut:
                task.go_on(times.CELERY_TIMEOUT, AWAY)
            elif not self.answers or not line.is_known:
                task.go_on(times.CELERY_TIMEOUT if self.is_hung else 0.001, AWAY)
            else:
                self._waiting.append((task, task.turn, line))
                self._serve()

        return start

    def stop(self) -> None:
        """Down; whether the list comes back with it is the fault's choice."""
        super().stop()
        self.drop(0.001)

    def hang(self) -> None:
        super().hang()
        self.drop(times.CELERY_TIMEOUT)

    def drop(self, seconds: float) -> None:
        """Connections that wait are broken, which their owners see so much later: `CLIENT KILL`."""
        waiting, self._waiting = self._waiting, []
        for task, turn, _ in waiting:
            if task.turn == turn:
                task.go_on(seconds, AWAY)

    def _serve(self) -> None:
        while self.doorbells and self._waiting and self.answers:
            task, turn, line = self._waiting.pop(0)
            if task.turn == turn and line.is_known and line.process.is_alive:
                self.doorbells -= 1
                if line.is_cut:
                    task.go_on(times.CELERY_TIMEOUT, AWAY)  # sent, and lost
                else:
                    task.go_on(self.network.latency(), True)
