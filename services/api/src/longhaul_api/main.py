"""The API's entry point."""

from longhaul.settings import load_settings
from longhaul_api.server import run
from longhaul_api.settings import ApiSettings


def main() -> None:
    run(load_settings(ApiSettings))
