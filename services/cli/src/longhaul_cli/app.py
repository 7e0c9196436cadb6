"""The commands, put together; and what becomes of errors."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from longhaul.errors import LonghaulError
from longhaul_cli import exits, output
from longhaul_cli.dead_letters import dead_letters
from longhaul_cli.doctor import doctor
from longhaul_cli.fleet import tasks, workers
from longhaul_cli.follow import follow
from longhaul_cli.jobs import cancel, jobs, show
from longhaul_cli.keys import keys
from longhaul_cli.ledger import migrate, purge
from longhaul_cli.queues import queues
from longhaul_cli.simulate import replay, simulate
from longhaul_cli.size import size
from longhaul_cli.submit import submit
from longhaul_cli.up import up
from longhaul_cli.webhooks import webhooks


class _Commands(TyperGroup):
    """An error of Longhaul's is a sentence on stderr and an exit code, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LonghaulError as error:
            output.print_error(error)
            raise typer.Exit(exits.of_error(error)) from None


def _print_version(asked: bool) -> None:
    if asked:
        output.stdout().print(f"longhaul {version('longhaul-cli')}")
        raise typer.Exit


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False, epilog=exits.HELP)


@app.callback()
def longhaul(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Option(help="The API; LONGHAUL_URL where not given, or else http://127.0.0.1:8080.")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Longhaul: hour-long work behind a fast API.

    The API's key is read from LONGHAUL_API_KEY.
    """
    context.obj = url


app.command()(up)
app.command()(submit)
app.command()(follow)
app.command("jobs")(jobs)
app.command()(show)
app.command()(cancel)
app.command()(replay)
app.command()(tasks)
app.add_typer(queues, name="queues")
app.command()(workers)
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(keys, name="keys")
app.add_typer(webhooks, name="webhooks")
app.command()(size)
app.command()(simulate)
app.command()(migrate)
app.command()(purge)
app.command()(doctor)
