"""The embedded servers keep their data and their privacy, and leave nothing behind, however they or their owner end."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import kombu
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests import servers
from tests.waiting import wait_for

from longhaul.errors import ConfigurationError
from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey, ServerFailed

FAST = {"fsync": "off"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, or needs prctl")

OWNER = """
import sys
from pathlib import Path
from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey
home = Path(sys.argv[1])
print(EmbeddedPostgres(home, options={"fsync": "off"}).start().pid, EmbeddedValkey(home).start().pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def new_home() -> Iterator[Path]:
    """A home that is not there yet."""
    with servers.temporary_home() as home:
        yield home


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """One home for most tests: whatever one did to it, the servers of the next start on it."""
    with servers.temporary_home() as home:
        yield home


@pytest.fixture
def postgres(home: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(home, options=FAST) as server:
        yield server


@pytest.fixture
def valkey(home: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(home) as server:
        yield server


def ask(server: EmbeddedPostgres, sql: str) -> object:
    with psycopg.connect(server.database_url) as connection:
        row = connection.execute(sql.encode()).fetchone()
        return row and row[0]


def client(server: EmbeddedValkey, db: int = 0) -> redis.Redis:
    return redis.Redis.from_url(server.redis_url(db), decode_responses=True)


def remember(postgres: EmbeddedPostgres, valkey: EmbeddedValkey) -> str:
    """Both keep what is returned, from now on."""
    what = secrets.token_hex(8)
    with psycopg.connect(postgres.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (what text)")
        connection.execute("TRUNCATE kept")
        connection.execute("INSERT INTO kept VALUES (%s)", [what])
    client(valkey, db=1).set("kept", what)
    return what


def remembered(postgres: EmbeddedPostgres, valkey: EmbeddedValkey) -> set[object]:
    return {ask(postgres, "SELECT what FROM kept"), client(valkey, db=1).get("kept")}


def processes_in(home: Path) -> list[int]:
    """Every process that has something of this home open or in its arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            words = [process.joinpath("cmdline").read_text(), str(process.joinpath("cwd").readlink())]
        except OSError:
            continue
        if any(str(home) in word for word in words):
            found.append(int(process.name))
    return found


def start_owner(home: Path) -> tuple[subprocess.Popen[str], list[int]]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    return owner, [int(pid) for pid in owner.stdout.readline().split()]


def test_a_second_start_finds_the_same_data(home: Path) -> None:
    with EmbeddedPostgres(home, options=FAST) as postgres, EmbeddedValkey(home) as valkey:
        urls = postgres.database_url, valkey.url
        what = remember(postgres, valkey)
    assert (postgres.pid, valkey.pid) == (None, None)
    assert not processes_in(home)
    with EmbeddedPostgres(home, options=FAST) as postgres, EmbeddedValkey(home) as valkey:
        assert (postgres.database_url, valkey.url) == urls
        assert remembered(postgres, valkey) == {what}


def test_a_crash_keeps_the_data(postgres: EmbeddedPostgres, valkey: EmbeddedValkey) -> None:
    what = remember(postgres, valkey)
    for server in (postgres, valkey):
        server.kill()
        assert server.pid is None
        server.start()
        server.restart(immediate=True)
    assert remembered(postgres, valkey) == {what}


def test_only_the_account_of_the_servers_can_read_anything(
    home: Path, postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    for path in (home, postgres.folder.path, valkey.folder.path, postgres.data, valkey.data):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for file in home.rglob("*"):
        assert not stat.S_IMODE(file.lstat().st_mode) & 0o077, file
    for server in (postgres, valkey):
        assert stat.S_IMODE((server.folder.path / "password").stat().st_mode) == 0o600
        command = subprocess.run(
            ["ps", "-ww", "-o", "args=", str(server.pid)], check=True, capture_output=True, text=True
        )
        assert server.password not in command.stdout
        assert server.pid
        assert os.getsid(server.pid) == server.pid, "Ctrl-C in the terminal would reach it"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.database_url.replace(postgres.password, "guessed"))
    if sys.platform == "linux":
        assert {postgres.pid, valkey.pid} < set(processes_in(home))
        assert not listening_ports(home)


@linux
def test_tcp_is_for_loopback_and_asks_for_a_password(home: Path) -> None:
    with EmbeddedPostgres(home, options=FAST, tcp=True) as postgres, EmbeddedValkey(home, tcp=True) as valkey:
        assert listening_ports(home) == {("0100007F", postgres.port), ("0100007F", valkey.port)}
        with psycopg.connect(postgres.tcp_url()), redis.Redis.from_url(valkey.tcp_url()) as through_tcp:
            assert through_tcp.ping()
        assert client(valkey).ping()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(postgres.tcp_url().replace(postgres.password, "guessed"))
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=valkey.port or 0, retry=Retry(NoBackoff(), 0)).ping()


def listening_ports(home: Path) -> set[tuple[str, int]]:
    """(address in hexadecimal, port) of every TCP socket on which a process of this home listens."""
    sockets = set()
    for pid in processes_in(home):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            sockets.add(str(file.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            address, port = words[1].split(":")
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                found.add((address, int(port, 16)))
    return found


@linux
def test_nothing_outlives_an_owner_that_is_killed(home: Path) -> None:
    owner, pids = start_owner(home)
    assert set(pids) < set(processes_in(home))
    owner.kill()
    owner.communicate()
    wait_for(lambda: not processes_in(home), what="The servers ended after their owner was killed.")


@linux
def test_a_start_right_after_the_owner_was_killed_waits_for_what_is_left(home: Path) -> None:
    owner, _ = start_owner(home)
    what = remember(EmbeddedPostgres(home), EmbeddedValkey(home))
    owner.kill()
    with EmbeddedPostgres(home, options=FAST) as postgres, EmbeddedValkey(home) as valkey:
        assert remembered(postgres, valkey) == {what}
    owner.communicate()


def test_another_owner_is_refused_with_a_sentence_and_disturbs_nothing(home: Path) -> None:
    owner, pids = start_owner(home)
    try:
        for server in (EmbeddedPostgres(home), EmbeddedValkey(home)):
            with pytest.raises(
                ConfigurationError, match=r"^Another Longhaul is running on .*: stop that one, or .*\.$"
            ):
                server.start()
        assert ask(EmbeddedPostgres(home), "SELECT 1") == 1
        for pid in pids:
            os.kill(pid, 0)
    finally:
        owner.communicate()  # closes its stdin: it ends in the ordinary way


@linux
def test_a_stale_process_id_that_another_program_has_now_is_no_obstacle(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    postgres.kill()
    # Of the same account, or PostgreSQL would see by itself that the process can't be a server of its own.
    for file in (postgres.data / "postmaster.pid", postgres.folder.path / ".s.PGSQL.5432.lock"):
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join([f"{valkey.pid}\n", *lines[1:]]))
    postgres.start()
    assert ask(postgres, "SELECT 1") == 1


def test_an_empty_pid_file_and_stale_sockets_are_no_obstacle(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    postgres.kill()
    valkey.kill()
    assert (valkey.folder.path / "valkey.sock").exists()
    (postgres.data / "postmaster.pid").write_text("")
    (postgres.folder.path / ".s.PGSQL.5432.lock").write_text("")
    assert ask(postgres.start(), "SELECT 1") == 1
    assert client(valkey.start()).ping()


def test_a_first_start_that_was_interrupted_is_made_anew(home: Path) -> None:
    with EmbeddedPostgres(home, options=FAST) as postgres:
        password = postgres.password
    postgres.data.rename(postgres.data.with_name("data.new"))
    (postgres.folder.path / "data.new" / "PG_VERSION").unlink()
    with postgres:
        assert ask(postgres, "SELECT 1") == 1
        assert postgres.password == password


def test_a_server_that_does_not_start_shows_its_log(home: Path) -> None:
    with pytest.raises(ServerFailed, match=r'(?s)stopped while it started.*"shared_buffers": "much"') as failure:
        EmbeddedPostgres(home, options={**FAST, "shared_buffers": "much"}).start()
    assert str(home / "postgres" / "server.log") in str(failure.value)
    with pytest.raises(ServerFailed, match=r"(?s)stopped while it started.*argument must be 'yes' or 'no'"):
        EmbeddedValkey(home, options={"appendonly": "perhaps"}).start()
    # Neither keeps the folder for itself.
    with EmbeddedPostgres(home, options=FAST), EmbeddedValkey(home):
        pass


def test_any_home_will_do(new_home: Path) -> None:
    for name in ("x" * 100, "a \"b\", %c $HOME `id` \\ 'd'"):  # too long for a Unix socket, and all that needs quotes
        postgres, valkey = EmbeddedPostgres(new_home / name, options=FAST), EmbeddedValkey(new_home / name)
        with postgres, valkey:
            assert ask(postgres, "SELECT 1") == 1
            assert client(valkey).ping()
            for server in (postgres, valkey):
                assert server.folder.socket_folder != server.folder.path
                assert stat.S_IMODE(server.folder.socket_folder.stat().st_mode) == 0o700
        assert not postgres.folder.socket_folder.exists()
        assert not valkey.folder.socket_folder.exists()


def test_a_home_that_is_a_file_is_refused_with_a_sentence(new_home: Path) -> None:
    new_home.write_text("")
    try:
        with pytest.raises(ConfigurationError, match=r"^The folder .* can't be made \(Not a directory\): choose .*\.$"):
            EmbeddedValkey(new_home).start()
    finally:
        new_home.unlink()


def test_a_paused_server_is_silent_and_goes_on_afterwards(postgres: EmbeddedPostgres, valkey: EmbeddedValkey) -> None:
    impatient = redis.Redis.from_url(valkey.url, socket_timeout=0.2)
    with psycopg.connect(postgres.database_url, autocommit=True) as connection:
        valkey.pause()
        postgres.pause()
        with pytest.raises(redis.TimeoutError):
            impatient.ping()
        answered = threading.Event()

        def query() -> None:
            connection.execute("SELECT 1")
            answered.set()

        thread = threading.Thread(target=query)
        thread.start()
        if sys.platform == "linux":
            assert not answered.wait(0.2)
        valkey.resume()
        postgres.resume()
        assert answered.wait(10)
        thread.join()
        assert impatient.ping()
    for server in (postgres, valkey):
        for end in (server.kill, server.stop):
            server.start().pause()
            end()
            assert server.pid is None


def test_celery_reaches_the_database_that_the_broker_url_names(valkey: EmbeddedValkey) -> None:
    with kombu.Connection(valkey.broker_url(3)) as connection:
        connection.SimpleQueue("doorbell").put("ring")
        assert client(valkey, db=3).llen("doorbell") == 1
        assert client(valkey, db=0).dbsize() == 0


def test_the_end_of_the_thread_that_started_it_is_not_the_end_of_the_server(valkey: EmbeddedValkey) -> None:
    thread = threading.Thread(target=valkey.restart)
    thread.start()
    thread.join()
    client(valkey).set("kept", "42")
    assert valkey._process
    with pytest.raises(subprocess.TimeoutExpired):
        valkey._process.wait(0.3)
    assert client(valkey).get("kept") == "42"


@linux
def test_an_interrupted_owner_stops_its_servers(home: Path) -> None:
    owner, _ = start_owner(home)
    owner.send_signal(signal.SIGINT)
    owner.communicate()
    wait_for(lambda: not processes_in(home), what="The servers ended with their interrupted owner.")
