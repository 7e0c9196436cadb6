"""`reference/cli.md`: every command with its arguments and options, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer.main
from docs.generator.markdown import code, codes, table

from longhaul_cli import exits
from longhaul_cli.app import app

_PAGE = """# Command line

`longhaul` speaks to the API that `--url` or `LONGHAUL_URL` names, with the key in `LONGHAUL_API_KEY`. `keys`, `migrate` and
`purge` work on the database in `LONGHAUL_DATABASE_URL`. Answers go to stdout, everything else to stderr.

{exits}

{options}

{commands}

## The processes

Each runs until SIGTERM or SIGINT and takes its [settings](settings.md) from the environment. One that is missing or
contradicts another ends the process with exit code 2 and a sentence.

| command | what it does |
|---|---|
| `longhaul-api` | Serves the API and the console. |
| `longhaul-controller` | Rings again, gives back the jobs of lost workers, publishes demand, deletes what is old. |
| `longhaul-worker` | Runs jobs: the keeper, and Celery below it. |
| `longhaul-worker register` | Publishes the tasks of `LONGHAUL_TASKS`, and ends. |"""
_COMMAND = """## longhaul {name}

```text
longhaul {usage}
```

{help}

{params}"""
_PASSED_BY = {"--help", "--install-completion", "--show-completion"}
_KINDS = {int: "NUMBER", Path: "PATH"}


def page() -> str:
    """The page's Markdown, without its head."""
    root = typer.main.get_command(app)
    sections = []
    for path, command in commands(root):
        arguments = [_argument(param) for param in command.params if not _is_option(param)]
        # A group that lists where it is called alone has its subcommands below.
        usage = " ".join([*path, *arguments])
        name = " ".join(path)
        help = str(command.help or "").strip()
        sections.append(_COMMAND.format(name=name, usage=usage, help=help, params=_table(command)).strip())
    return _PAGE.format(exits=exits.HELP, options=_table(root), commands="\n\n".join(sections))


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below a group, with the words that call it."""
    for name, command in getattr(group, "commands", {}).items():
        yield (*path, name), command
        yield from commands(command, (*path, name))


def _table(command: Any) -> str:
    rows = [
        (
            codes([*param.opts, *param.secondary_opts]) if _is_option(param) else code(_argument(param)),
            _value(param),
            param.help,
        )
        for param in command.params
        if param.opts[0] not in _PASSED_BY
    ]
    return table(("argument or option", "value", "meaning"), rows) if rows else ""


def _is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def _argument(param: Any) -> str:
    name = str(param.metavar or param.name.upper())
    return name if param.required or name.startswith("[") else f"[{name}]"


def _value(param: Any) -> str:
    if not _is_option(param) or param.is_flag:
        return ""
    annotation = param.type_descriptor.annotation
    kind = get_args(annotation)[0] if get_args(annotation) else annotation
    if issubclass(kind, Enum):
        return codes(one.value for one in kind)
    name = code(param.metavar or _KINDS.get(kind, "TEXT"))
    return f"{name}, default {code(param.default)}" if isinstance(param.default, int) else name
