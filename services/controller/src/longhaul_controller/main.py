"""`longhaul-controller`: run one replica of the controller."""

from longhaul_controller.controller import start


def main() -> None:
    start()
