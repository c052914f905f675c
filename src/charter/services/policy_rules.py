"""The rules of the bundle in force, as the browser of the portal shows them.

Of each rule: whom it concerns, how far it is switched on where, which tests name it, what it said
lately, and who is exempt.

Everything is bounded: totals come from `rule_usage`, examples from the newest decisions only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.rego.describe import RuleDescription
from charter.core.access.permissions import Permission
from charter.core.access.reach import reach_set
from charter.core.kernel.canonical import canonical_json
from charter.core.policy.bundle import Bundle
from charter.services import exemptions, lookup, policies, rule_usage
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Tx

USAGE_DAYS: Final = 90
NEWEST: Final = 2000  # decisions that are searched for examples
_MOST_EXAMPLES: Final = 10
_LOOSENED: Final = frozenset({"deny", "warn"})  # effects that an environment's severities loosen


def list_rules(rt: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """Every rule with whom it concerns and its mode in each environment."""
    del caller
    with rt.database.reading() as tx:
        policy = rt.policy.active(tx)
        enforcement = policy.bundle.settings().get("enforcement", {})
        return [_described(rule, enforcement) for rule in policy.rules]


def get_rule(rt: Runtime, caller: Caller, rule_id: str) -> dict[str, Any]:
    """One rule with its source, tests, use and exemptions; raises `NotFoundError`."""
    found = policies.rule(rt, caller, rule_id)
    spared = [e for e in exemptions.list_all(rt, caller) if e["rule"] == rule_id]
    with rt.database.reading() as tx:
        policy = rt.policy.active(tx)
        enforcement = policy.bundle.settings().get("enforcement", {})
        described = {rule.id: _described(rule, enforcement) for rule in policy.rules}
        since = tx.now - timedelta(days=USAGE_DAYS)
        return {
            **described.get(rule_id, {"concerns": "everybody", "environments": {}}),
            **found,
            "tests": list(_tests(policy.bundle, found)),
            "usage": rule_usage.totals(tx, since, tx.now, rule=rule_id),
            "examples": _examples(tx, caller, rule_id),
            "exemptions": spared,
        }


def _described(rule: RuleDescription, enforcement: Any) -> dict[str, Any]:
    return {
        "id": rule.id,
        "title": rule.title,
        "effect": rule.effect,
        "severity": rule.severity,
        "mode": str(rule.mode),
        "controls": list(rule.controls),
        "owner": rule.owner,
        "file": rule.file,
        "line": rule.line,
        "concerns": "agents" if "agent" in rule.file else "everybody",
        "environments": {
            name: _mode_there(rule, enforcement.get("rules", {}), there)
            for name, there in enforcement.get("environments", {}).items()
            if name != "_why"
        },
    }


def _mode_there(
    rule: RuleDescription, everywhere: Mapping[str, str], there: Mapping[str, Any]
) -> str:
    """How far a rule is switched on in one environment; the nearest word counts (ADR 014)."""
    mode = there.get("rules", {}).get(rule.id) or everywhere.get(rule.id)
    if mode is None and rule.effect in _LOOSENED and "agent" not in rule.file:
        mode = there.get("severity", {}).get(rule.severity)
    mode = mode or "enforce"
    return "refuses" if mode == "enforce" and rule.id in there.get("strict", ()) else mode


def _tests(bundle: Bundle, rule: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Which of the bundle's tests name the rule: file, the first line there, and the test."""
    seen: set[tuple[str, str]] = set()
    for path in bundle.test_modules:
        around = ""
        for number, line in enumerate(bundle.text(path).splitlines(), start=1):
            if line.startswith("test_"):
                around = line.split(" ", 1)[0]
            if f'"{rule["id"]}"' in line and (path, around) not in seen:
                seen.add((path, around))
                yield {"file": path, "line": number, "test": around}


def _examples(tx: Tx, caller: Caller, rule_id: str) -> list[dict[str, Any]]:
    """The newest decisions that the caller may see and in which the rule spoke."""
    c = t.decisions.c
    shown = ("id", "at", "action", "effect", "subject_kind", "subject_id")
    newest = sa.select(*(c[name] for name in shown), c.result)
    reach = reach_set(caller.subject, Permission.DECISION_VIEW, tx.now)
    if not reach.everything:
        newest = newest.where(sa.or_(c.subject_id == caller.id, c.team_id.in_(reach.teams)))
    newest_rows = newest.order_by(c.id.desc()).limit(NEWEST).subquery()
    spoke = f'"rule":{canonical_json(rule_id)}'
    query = (
        sa.select(*(newest_rows.c[name] for name in shown))
        .where(sa.func.strpos(newest_rows.c.result, spoke) > 0)
        .order_by(newest_rows.c.id.desc())
        .limit(_MOST_EXAMPLES)
    )
    rows = tx.all(query)
    names = lookup.subject_names(tx, (row["subject_id"] for row in rows))
    return [{**row, "subject_name": names.get(row["subject_id"])} for row in rows]
