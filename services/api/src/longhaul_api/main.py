"""The API's entry point."""

from longhaul_api.server import start


def main() -> None:
    start()
