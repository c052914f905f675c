"""The schema: up, down and up again with rows in every table, and equal to `store.tables`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import as_file, files
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB

from charter.store import tables as t
from charter.store.migrate import migrate
from tests.spec import spec

NOW = datetime(2026, 3, 2, tzinfo=UTC)
# The first type that fits a column gives its value.
VALUES: tuple[tuple[type[Any], Any], ...] = (
    (sa.Boolean, True),
    (sa.Integer, 0),
    (sa.DateTime, NOW),
    (sa.Date, NOW.date()),
    (JSONB, {"key": "value"}),
    (ARRAY, ["one"]),
    (BYTEA, b"\x00\xff"),
    (sa.Text, "text"),
)


@pytest.fixture
def bare_engine(postgres_url: str) -> Iterator[sa.Engine]:
    """A database without any table."""
    name = f"bare_{uuid.uuid4().hex}"
    admin = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(sa.text(f"CREATE DATABASE {name}"))
    engine = sa.create_engine(sa.make_url(postgres_url).set(database=name))
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as conn:
            conn.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """A migrated database."""
    engine = sa.create_engine(database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def value_of(column: sa.Column[Any], rows: dict[str, dict[str, Any]]) -> Any:
    for key in column.foreign_keys:
        if key.column.table is column.table:
            continue  # the row points at itself
        return rows[key.column.table.name][key.column.name]
    for kind, value in VALUES:
        if isinstance(column.type, kind):
            return value
    raise AssertionError(f"no value for {column.table.name}.{column.name}: {column.type}")


def fill(engine: sa.Engine) -> None:
    """One row in every table, parents first, with every column set that can be."""
    rows: dict[str, dict[str, Any]] = {}
    with engine.begin() as conn:
        for table in t.metadata.sorted_tables:
            rows[table.name] = {
                c.name: value_of(c, rows) for c in table.columns if c.identity is None
            }
            conn.execute(sa.insert(table).values(**rows[table.name]))


def counts(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as conn:
        return {
            table.name: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in t.metadata.sorted_tables
        }


def shape(engine: sa.Engine) -> dict[str, set[tuple[Any, ...]]]:
    """Columns, constraints and indexes of the public schema, as PostgreSQL spells them."""
    queries = {
        "columns": "SELECT table_name, column_name, data_type, udt_name, is_nullable, "
        "column_default, is_identity FROM information_schema.columns "
        "WHERE table_schema = 'public'",
        "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) "
        "FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
        "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes "
        "WHERE schemaname = 'public'",
    }
    with engine.connect() as conn:
        return {
            name: {tuple(row) for row in conn.execute(sa.text(query)) if "alembic" not in row[0]}
            for name, query in queries.items()
        }


@spec("PV-5")
def test_up_down_and_up_again_with_a_row_in_every_table(bare_engine: sa.Engine) -> None:
    migrate(bare_engine)
    first = shape(bare_engine)
    fill(bare_engine)
    assert set(counts(bare_engine).values()) == {1}
    migrate(bare_engine)  # nothing to do, and nothing lost
    assert set(counts(bare_engine).values()) == {1}
    migrate(bare_engine, "base")
    left = shape(bare_engine)
    assert left == {"columns": set(), "constraints": set(), "indexes": set()}
    with bare_engine.connect() as conn:
        functions = conn.execute(
            sa.text("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        ).scalars()
        assert list(functions) == []
    migrate(bare_engine)
    assert shape(bare_engine) == first
    fill(bare_engine)
    assert set(counts(bare_engine).values()) == {1}


@spec("ID-6", "PV-5")
def test_every_agent_from_before_becomes_an_instance_of_a_definition(
    bare_engine: sa.Engine,
) -> None:
    migrate(bare_engine)
    fill(bare_engine)
    migrate(bare_engine, "0013")
    with bare_engine.begin() as conn:
        conn.execute(sa.text("UPDATE tasks SET repositories = '{web/login,web/cart}'"))
    migrate(bare_engine)
    with bare_engine.connect() as conn:
        row = conn.execute(
            sa.text(
                "SELECT d.implied, v.repositories, v.tier = a.tier AS tier, v.run_by, a.sponsor_id "
                "FROM agents a JOIN agent_definitions d ON d.id = a.definition_id "
                "JOIN agent_definition_versions v "
                "ON v.definition_id = d.id AND v.version = a.definition_version"
            )
        ).one()
    assert (row.implied, row.tier) == (True, True)
    assert row.repositories == ["web/login", "web/cart"]
    assert row.run_by == [f"person:{row.sponsor_id}"]


def test_there_is_one_head_and_one_base() -> None:
    with as_file(files("charter.store") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder))
        scripts = ScriptDirectory.from_config(config)
        assert len(scripts.get_heads()) == 1
        assert len(scripts.get_bases()) == 1


def test_the_migrated_schema_is_the_one_of_the_tables(
    engine: sa.Engine, bare_engine: sa.Engine
) -> None:
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_server_default": True})
        assert compare_metadata(context, t.metadata) == []
    # Alembic does not look at CHECK constraints and partial indexes; PostgreSQL's own words do.
    t.metadata.create_all(bare_engine)
    assert shape(engine) == shape(bare_engine)


@spec("AU-1", "ID-9")
@pytest.mark.parametrize("table", ["audit_log", "audit_checkpoints"])
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET at = now()", "DELETE FROM {}", "TRUNCATE {}", "TRUNCATE {} CASCADE"],
)
def test_the_trail_refuses_every_change(engine: sa.Engine, table: str, statement: str) -> None:
    fill(engine)
    with engine.begin() as conn, pytest.raises(sa.exc.ProgrammingError, match="append-only"):
        conn.execute(sa.text(statement.format(table)))
    assert counts(engine)[table] == 1


@spec("AU-1")
@pytest.mark.parametrize(
    "statement", ["UPDATE audit_pending SET leaf = ''", "TRUNCATE audit_pending"]
)
def test_what_waits_for_its_seal_stays_as_it_was_written(engine: sa.Engine, statement: str) -> None:
    fill(engine)
    with engine.begin() as conn, pytest.raises(sa.exc.ProgrammingError, match="append-only"):
        conn.execute(sa.text(statement))
    with engine.begin() as conn:  # sealing takes it out
        assert conn.execute(sa.text("DELETE FROM audit_pending")).rowcount == 1


def test_an_event_that_could_never_be_sealed_is_refused_when_it_is_written(
    engine: sa.Engine,
) -> None:
    insert = sa.insert(t.audit_pending)
    with engine.begin() as conn:
        conn.execute(insert.values(event_id="evt_1", leaf=b"x" * 65_535))
    with engine.begin() as conn, pytest.raises(sa.exc.IntegrityError, match="leaf_fits"):
        conn.execute(insert.values(event_id="evt_2", leaf=b"x" * 65_536))
