"""Whether a database needs any preparing, found out with next to nothing loaded.

Every start but the first finds a database that is ready. To notice that must not cost the second
that the toolkit, the policy engine and the migrations take to load; so this module knows the driver
and a few questions, and answers "no" whenever it is not sure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import psycopg

_REVISION: Final = re.compile(r'^(down_revision|revision)\b.*?=\s*(?:"([^"]+)"|None)', re.MULTILINE)
_SCHEME: Final = re.compile(r"^postgresql\+psycopg://")
_CONNECT_SECONDS: Final = 5
_TEMPLATES: Final = "SELECT count(DISTINCT name) FROM templates WHERE name = ANY(%s)"
_SIGNED_IN: Final = (
    "SELECT EXISTS (SELECT FROM people p JOIN ("
    "SELECT person_id, revoked_at, expires_at FROM sessions UNION ALL "
    "SELECT person_id, revoked_at, expires_at FROM api_tokens"
    ") live ON live.person_id = p.id WHERE p.handle = %s "
    "AND live.revoked_at IS NULL AND live.expires_at > now())"
)


def newest_revisions(folder: Path) -> set[str]:
    """The revisions below `folder` that no other one follows."""
    made: set[str] = set()
    followed: set[str] = set()
    for path in (folder / "versions").glob("[0-9]*.py"):
        for name, revision in _REVISION.findall(path.read_text(encoding="utf-8")):
            (made if name == "revision" else followed).add(revision)
    return made - followed


def settled(url: str, admin_handle: str, templates: Iterable[str]) -> bool:
    """Whether schema, policy, templates and first administrator are there, and no link is due."""
    names = sorted(set(templates))
    try:
        with (
            as_file(files("charter.store") / "migrations") as folder,
            psycopg.connect(
                _SCHEME.sub("postgresql://", url), connect_timeout=_CONNECT_SECONDS
            ) as conn,
        ):
            stands_at = {row[0] for row in conn.execute("SELECT version_num FROM alembic_version")}
            if stands_at != newest_revisions(folder):
                return False
            if conn.execute("SELECT 1 FROM active_bundle").fetchone() is None:
                return False
            if conn.execute(_TEMPLATES, [names]).fetchone() != (len(names),):
                return False
            return conn.execute(_SIGNED_IN, [admin_handle]).fetchone() == (True,)
    except psycopg.Error:
        return False
