"""What changes between two kept bundles, file by file."""

from __future__ import annotations

import difflib
from typing import Any, Final

import sqlalchemy as sa

from charter.core.kernel.errors import NotFoundError
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

_MOST_LINES: Final = 2000  # a page shows no more; the bundles themselves are kept


def get_diff(rt: Runtime, caller: Caller, before: str, after: str) -> dict[str, Any]:
    """The files that differ, each as a unified diff; raises `NotFoundError` for an unknown bundle.

    `left_out` says how many lines are not shown.
    """
    del caller
    with rt.database.reading() as tx:
        old, new = _files(tx, before), _files(tx, after)
    files: list[dict[str, Any]] = []
    left = _MOST_LINES
    left_out = 0
    for path in sorted(set(old) | set(new)):
        if old.get(path) == new.get(path):
            continue
        lines = list(
            difflib.unified_diff(
                old.get(path, "").splitlines(),
                new.get(path, "").splitlines(),
                f"a/{path}",
                f"b/{path}",
                lineterm="",
            )
        )
        kind = "added" if path not in old else "deleted" if path not in new else "changed"
        files.append({"path": path, "kind": kind, "diff": "\n".join(lines[:left])})
        left_out += max(len(lines) - left, 0)
        left = max(left - len(lines), 0)
    return {"before": before, "after": after, "files": files, "left_out": left_out}


def _files(tx: Tx, digest: str) -> dict[str, str]:
    row = tx.one(sa.select(t.bundles.c.files).where(t.bundles.c.digest == digest))
    if row is None:
        raise NotFoundError("There is no such bundle.", fix="charter policy bundles lists them.")
    return dict(row["files"])
