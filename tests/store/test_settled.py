"""A start notices that nothing is to be prepared, and only then leaves the preparing out."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from charter.services.starter import STARTER_TEMPLATES
from charter.store import tables as t
from charter.store.settled import newest_revisions, settled
from tests.support import World

NAMES = [str(made["name"]) for made in STARTER_TEMPLATES]


def test_the_newest_revision_is_alembics_head() -> None:
    folder = Path(str(files("charter.store") / "migrations"))
    config = Config()
    config.set_main_option("script_location", str(folder))
    assert newest_revisions(folder) == set(ScriptDirectory.from_config(config).get_heads())


def _let_the_token_live(world: World) -> None:
    """The world's clock stands in the past; this question goes by the database's own."""
    with world.rt.database.unit_of_work() as tx:
        tx.conn.execute(sa.text("UPDATE api_tokens SET expires_at = now() + interval '1 hour'"))


def test_an_instance_whose_admin_has_signed_in_is_settled(empty_world: World) -> None:
    _let_the_token_live(empty_world)
    assert settled(empty_world.rt.database.url, "admin", NAMES)


@pytest.mark.parametrize(
    "change",
    [
        sa.update(t.api_tokens).values(revoked_at=sa.func.now()),
        sa.update(t.api_tokens).values(expires_at=sa.func.now()),
        sa.delete(t.active_bundle),
        sa.delete(t.templates).where(t.templates.c.name == "scratch"),
        sa.text("UPDATE alembic_version SET version_num = '0000'"),
        sa.text("DROP TABLE alembic_version"),
    ],
)
def test_whatever_is_missing_has_to_be_prepared(empty_world: World, change: sa.Executable) -> None:
    _let_the_token_live(empty_world)
    with empty_world.rt.database.unit_of_work() as tx:
        tx.conn.execute(change)
    assert not settled(empty_world.rt.database.url, "admin", NAMES)


def test_another_admins_instance_and_no_database_are_not_settled(empty_world: World) -> None:
    url = empty_world.rt.database.url
    assert not settled(url, "somebody-else", NAMES)
    assert not settled("postgresql+psycopg://nobody@/none?host=/nonexistent", "admin", NAMES)
