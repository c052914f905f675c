"""Fixtures that every test may use: a real PostgreSQL, a database of its own, a world, a server."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from charter.adapters.opa.client import OpaClient
from charter.store.embedded import temporary_postgres
from charter.store.migrate import migrate
from tests.peers import opa_program, running_opa, why_no_opa
from tests.support import Clock, World, build_world, compile_once, end_shared_engine

os.environ.setdefault("RUST_BACKTRACE", "0")
# A busy machine is no failed property: what must be fast is measured by benchmarks.
settings.register_profile("charter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("charter")


_skips = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count what is skipped."""
    config.stash[_skips] = []


def pytest_unconfigure() -> None:
    """End what all tests shared."""
    end_shared_engine()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CHARTER_CI is 1 a skip is a failure, unless its reason begins with `optional:`.

    A machine that lacks something would otherwise pass by not looking.
    """
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        item.config.stash[_skips].append(f"{item.nodeid}: {reason}")
        optional = reason.removeprefix("Skipped: ").startswith("optional:")
        if os.environ.get("CHARTER_CI") == "1" and not optional:
            report.outcome = "failed"
            report.longrepr = f"A skip counts as a failure here. {reason}"
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many tests were skipped, also when it is none."""
    terminalreporter.write_line(f"{len(config.stash[_skips])} skipped")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A throw-away server with a migrated template database."""
    with temporary_postgres() as server:
        admin = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
        with admin.connect() as conn:
            conn.execute(sa.text("CREATE DATABASE charter_template"))
        template = sa.create_engine(_named(server.url, "charter_template"))
        migrate(template)
        template.dispose()
        admin.dispose()
        yield server.url


def _named(url: str, name: str) -> str:
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def fresh_database(postgres_url: str) -> Iterator[str]:
    """A migrated, empty database for as long as the block lasts."""
    name = f"test_{uuid.uuid4().hex}"
    admin = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(
            sa.text(f"CREATE DATABASE {name} TEMPLATE charter_template STRATEGY file_copy")
        )
    try:
        yield _named(postgres_url, name)
    finally:
        with admin.connect() as conn:
            conn.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


@contextmanager
def fresh_world(postgres_url: str, state_dir: Path, now: Clock | None = None) -> Iterator[World]:
    """An instance on a database of its own, taken apart with its sandboxes at the end."""
    with fresh_database(postgres_url) as url:
        world = build_world(url, state_dir, now=now, make=compile_once)
        try:
            yield world
        finally:
            for found in world.rt.provider.observe_all():
                world.rt.provider.delete(found.workspace_id, found.generation)
            world.rt.policy.close()
            world.rt.database.close()


@pytest.fixture(scope="module", autouse=True)
def engines_end_where_they_were_made(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what a module that makes policy engines leaves in cycles, while on this thread.

    The library complains about an engine that is dropped on another thread, and a server that a
    later test starts may be what collects it.
    """
    yield
    if hasattr(request.module, "RegorusEngine"):
        gc.collect()


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
def empty_world(postgres_url: str, tmp_path: Path) -> Iterator[World]:
    """A fresh instance: policies, templates, the first administrator, nothing else."""
    with fresh_world(postgres_url, tmp_path / "state") as world:
        yield world


@pytest.fixture
def world(empty_world: World) -> World:
    """An instance with the cast of the story."""
    empty_world.cast()
    return empty_world


@pytest.fixture(scope="session")
def opa() -> Path:
    """The program of a real OPA; what needs it is left out where there is none."""
    program = opa_program()
    if program is None:
        pytest.skip(why_no_opa())
    return program


@pytest.fixture(scope="session")
def opa_url(opa: Path) -> Iterator[str]:
    """A real OPA server."""
    with running_opa(opa) as url:
        yield url


@pytest.fixture
def opa_client(opa_url: str) -> Iterator[OpaClient]:
    """A client of that server."""
    client = OpaClient(opa_url)
    yield client
    client.close()
