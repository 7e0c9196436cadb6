"""What the keeper must know of the tasks, without their code: a process of its own, without credentials, imports that.

`python -m longhaul_worker.task_specs` prints the specs as JSON; what the imported code prints goes to standard error.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

import orjson

from longhaul import telemetry
from longhaul.errors import ConfigurationError
from longhaul.serving import exit_with_a_sentence
from longhaul.task import TaskSpec, load_tasks
from longhaul_worker.supervisor import environment_without_credentials

_WRONG_SETTING_EXIT_CODE = 2


def load_specs(modules: Sequence[str]) -> list[TaskSpec]:
    """The specs of the tasks in these modules.

    Raises ConfigurationError with the reason if they can't be loaded.
    """
    command = [sys.executable, "-m", __name__, *modules]
    loader = subprocess.run(
        command, env=environment_without_credentials(), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    said = loader.stderr.decode(errors="replace").strip()
    if loader.returncode == _WRONG_SETTING_EXIT_CODE and said:
        raise ConfigurationError(said)
    if loader.returncode != 0:
        raise ConfigurationError(
            f"The modules in LONGHAUL_TASKS ({', '.join(modules)}) can't be imported: exit code {loader.returncode}.\n{said}"
        )
    telemetry.StandardError().write(f"{said}\n" if said else "")
    return [TaskSpec(**spec) for spec in orjson.loads(loader.stdout)]


def main() -> None:
    """Print the specs of the tasks in the modules that the arguments name."""
    answer = os.dup(1)
    os.dup2(2, 1)
    with exit_with_a_sentence():
        specs = [asdict(task.spec) for task in load_tasks(sys.argv[1:]).values()]
    with os.fdopen(answer, "wb") as output:
        output.write(orjson.dumps(specs))
        output.flush()
        os._exit(0)  # whatever threads the imported code left


if __name__ == "__main__":
    main()
