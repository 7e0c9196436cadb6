"""`longhaul`: the command line."""

from longhaul_cli.app import app


def main() -> None:
    app()
