"""Bring a database to the newest schema, one process at a time.

An advisory lock makes replicas that start together wait for each other; the migrations run in one
transaction, so a process that dies in between leaves the old schema whole.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

_LOCK: Final = 0x43485254  # "CHRT": the same number in every process, used for nothing else


def _config(conn: sa.Connection, folder: str) -> Config:
    config = Config()
    config.set_main_option("script_location", folder)
    config.attributes["connection"] = conn
    return config


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Upgrade (or, given an earlier revision, downgrade) to `revision`."""
    with as_file(files("charter.store") / "migrations") as folder, engine.connect() as conn:
        conn.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        try:
            config = _config(conn, str(folder))
            if revision in {"head", "heads"}:
                command.upgrade(config, revision)
            else:
                command.downgrade(config, revision)
            conn.commit()  # house: allow unit-of-work — schema changes are not a unit of work
        finally:
            conn.rollback()  # house: allow unit-of-work — ends a failed migration
            conn.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
