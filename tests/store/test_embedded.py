"""The embedded database: who may connect, what a crash leaves behind, where it can stand."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from charter.core.kernel.errors import UnavailableError
from charter.processes import start_of, wait_until
from charter.store import embedded_programs, embedded_socket
from charter.store.embedded import EmbeddedPostgres, temporary_postgres
from charter.store.embedded_socket import client_directory, link_client_directory

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

OTHER_UID = 200_001  # the range in which sandboxes run


def connect(server: EmbeddedPostgres) -> psycopg.Connection:
    return psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True)


def pid_of(server: EmbeddedPostgres) -> int:
    pid = server.status().pid
    assert pid is not None
    return pid


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server under pytest's own 0700 directory, which the server's uid cannot enter."""
    postgres = EmbeddedPostgres(tmp_path / "pg", durable=False)
    postgres.start()
    yield postgres
    postgres.reset()


def test_starts_answers_and_is_not_started_twice(server: EmbeddedPostgres) -> None:
    pid = pid_of(server)
    assert EmbeddedPostgres(server.home, durable=False).start() == server.url
    assert pid_of(server) == pid
    with connect(server) as db:
        row = db.execute(
            "SELECT current_user, current_setting('listen_addresses'),"
            " current_setting('data_checksums'), current_setting('server_encoding')"
        ).fetchone()
    assert row == ("charter", "", "on", "UTF8")


def test_everything_is_synced_unless_it_is_thrown_away(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "pg")
    postgres.start()
    try:
        with connect(postgres) as db:
            settings = db.execute(
                "SELECT current_setting('fsync'), current_setting('full_page_writes'),"
                " current_setting('synchronous_commit')"
            ).fetchone()
        assert settings == ("on", "on", "on")
    finally:
        postgres.reset()
    assert not postgres.home.exists()


def test_stop_and_start_keep_the_data(server: EmbeddedPostgres) -> None:
    with connect(server) as db:
        db.execute("CREATE TABLE kept AS SELECT 7 AS n")
    server.stop()
    assert not server.status().running
    server.stop()  # nothing runs, nothing happens
    server.start()
    with connect(server) as db:
        assert db.execute("SELECT n FROM kept").fetchone() == (7,)


def test_recovers_after_the_server_is_killed(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    server.start()
    try:
        with connect(server) as db:
            db.execute("CREATE TABLE survived AS SELECT 1 AS n")
        for _ in range(3):
            os.kill(pid_of(server), signal.SIGKILL)
            assert wait_until(lambda: server.status().pid is None, 10)
            server.start()
            with connect(server) as db:
                db.execute("INSERT INTO survived VALUES (1)")
        with connect(server) as db:
            assert db.execute("SELECT count(*) FROM survived").fetchone() == (4,)
    finally:
        server.reset()


def test_a_lock_file_that_names_a_reused_pid_is_stale(server: EmbeddedPostgres) -> None:
    server.stop()
    stranger = subprocess.Popen(["sleep", "60"], user=server.data.stat().st_uid)
    try:
        (server.data / "postmaster.pid").write_text(f"{stranger.pid}\n/proc/self/cwd\n0\n5432\n")
        server.start()
        with connect(server) as db:
            assert db.execute("SELECT 1").fetchone() == (1,)
    finally:
        stranger.kill()
        stranger.wait()


def test_a_recorded_pid_that_is_another_process_now_is_never_touched(
    server: EmbeddedPostgres,
) -> None:
    server.stop()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        identity = server.home / "server.pid"
        boot, _, rest = identity.read_text().split(" ", 2)
        identity.write_text(f"{boot} {stranger.pid} {rest}")
        assert not server.status().running
        server.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def attempt(server: EmbeddedPostgres, uid: int) -> str:
    """What another user of this host is told when trying to connect."""
    done = subprocess.run(
        [
            embedded_programs.find_programs(uid) / "psql",
            server.url.replace("+psycopg", ""),
            "-c",
            "SELECT 1",
        ],
        check=False,
        capture_output=True,
        text=True,
        user=uid,
        group=uid,
        extra_groups=[],
        cwd="/",
    )
    assert done.returncode != 0
    return done.stderr


def open_directories(server: EmbeddedPostgres) -> None:
    """Undo the first line of defence, so that the second one is what is tested."""
    for directory in (server.data, server.home):
        directory.chmod(0o755)
    (server.data / ".s.PGSQL.5432").chmod(0o777)


@as_root
def test_another_user_of_the_host_cannot_connect() -> None:
    with temporary_postgres() as server:
        assert "Permission denied" in attempt(server, OTHER_UID)
        open_directories(server)
        assert "Peer authentication failed" in attempt(server, 65_534)
        assert "failed" in attempt(server, OTHER_UID)  # no name at all: refused as well


def test_a_path_longer_than_a_socket_may_have(tmp_path: Path) -> None:
    home = tmp_path / ("long-" * 20) / "pg"
    postgres = EmbeddedPostgres(home, durable=False)
    try:
        assert len(postgres.start()) < len(str(home)) + 60
        with connect(postgres) as db:
            assert db.execute("SELECT 1").fetchone() == (1,)
        alias = client_directory(postgres.data)
        assert alias.readlink() == postgres.data
    finally:
        postgres.reset()
    assert not alias.is_symlink()


def test_an_alias_in_a_directory_of_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = tmp_path / "runtime"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setattr(embedded_socket, "_runtime_directory", lambda: open_to_all)
    with pytest.raises(UnavailableError, match="of this user only"):
        link_client_directory(tmp_path / ("long-" * 30))


@as_root
def test_data_of_another_account_is_refused_with_the_next_step(server: EmbeddedPostgres) -> None:
    server.stop()
    uid = server.data.stat().st_uid
    os.chown(server.data, 1, 1)
    with pytest.raises(UnavailableError, match="belongs to uid 1") as refusal:
        server.start()
    assert "CHARTER_STATE_DIR" in refusal.value.fix
    os.chown(server.data, uid, uid)


def test_data_of_another_major_version_is_refused(server: EmbeddedPostgres) -> None:
    server.stop()
    (server.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(UnavailableError, match="PostgreSQL 17"):
        server.start()


def test_what_the_server_said_stands_in_the_error(server: EmbeddedPostgres) -> None:
    server.stop()
    (server.data / "global" / "pg_control").unlink()
    with pytest.raises(UnavailableError, match="pg_control") as refusal:
        server.start()
    assert refusal.value.code == "database-not-started"


@as_root
def test_programs_in_a_private_checkout_are_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        cache = Path(directory) / "cache"
        Path(directory).chmod(0o755)
        monkeypatch.setattr(embedded_programs, "_PROGRAM_CACHE", cache)
        monkeypatch.setattr(embedded_programs, "_open_to_all", lambda _: False)
        postgres = EmbeddedPostgres(tmp_path / "pg", durable=False)
        try:
            postgres.start()
            assert Path(f"/proc/{pid_of(postgres)}/exe").resolve().is_relative_to(cache)
            (copy,) = cache.iterdir()
            made = copy.stat().st_ctime_ns
            postgres.stop()
            postgres.start()
            assert [path.stat().st_ctime_ns for path in cache.iterdir()] == [made]
        finally:
            postgres.reset()


def test_a_half_made_database_is_made_anew(tmp_path: Path) -> None:
    home = tmp_path / "pg"
    (home / "data.new").mkdir(parents=True)
    (home / "data.new" / "PG_VERSION").write_text("18\n")
    postgres = EmbeddedPostgres(home, durable=False)
    try:
        postgres.start()
        with connect(postgres) as db:
            assert db.execute("SELECT 1").fetchone() == (1,)
    finally:
        postgres.reset()


TEMPORARY = """
import sys
from charter.store.embedded import temporary_postgres
with temporary_postgres() as server:
    print(server.home, server.status().pid, flush=True)
    sys.stdin.read()
"""


def test_a_killed_test_run_leaves_no_server_behind() -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", TEMPORARY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    home, pid = run.stdout.readline().split()
    run.kill()
    run.communicate()
    assert wait_until(lambda: not Path(home).exists(), 10)
    assert wait_until(lambda: start_of(int(pid)) is None, 10)
