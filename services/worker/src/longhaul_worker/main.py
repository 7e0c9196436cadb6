"""`longhaul-worker`: run a worker pod's keeper; `longhaul-worker register` only publishes its tasks."""

from longhaul_worker.keeper import start


def main() -> None:
    start()
