"""Bring a database to the newest schema, one process at a time.

An advisory lock makes replicas that start together wait for each other; the migrations run in one
transaction, so a process that dies in between leaves the old schema whole.

Alembic takes a second to load. A database that stands at the newest revision already, which every
start but the first one finds, is recognised without it.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from charter.store.settled import newest_revisions

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK: Final = 0x43485254  # "CHRT": the same number in every process, used for nothing else


def _config(conn: sa.Connection, folder: Path) -> Config:
    from alembic.config import Config  # noqa: PLC0415 — see above

    config = Config()
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = conn
    return config


def _stands_at(conn: sa.Connection) -> set[str]:
    """The revisions that the database says it stands at."""
    if not sa.inspect(conn).has_table("alembic_version"):
        return set()
    return set(conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalars())


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Upgrade (or, given an earlier revision, downgrade) to `revision`."""
    with as_file(files("charter.store") / "migrations") as folder, engine.connect() as conn:
        conn.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        try:
            if revision == "head" and _stands_at(conn) == newest_revisions(folder):
                return
            from alembic import command  # noqa: PLC0415 — see above

            config = _config(conn, folder)
            if revision in {"head", "heads"}:
                command.upgrade(config, revision)
            else:
                command.downgrade(config, revision)
            conn.commit()  # house: allow unit-of-work — schema changes are not a unit of work
        finally:
            conn.rollback()  # house: allow unit-of-work — ends a failed migration
            conn.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
