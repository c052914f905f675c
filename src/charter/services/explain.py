"""Why a decision came out as it did, from the record of it: rules, lines, values, and a way around.

A stored decision has its facts, its result and the digest of its bundle, so it can be taken apart
at any later time. The bundle that made it is loaded into a worker, its rules are traced over the
facts (see `adapters.rego.trace`), and the smallest change that would have passed is searched for.
What is shown is true of the moment of the decision; where the rules in force today would say
otherwise, that is said beside it.

Whoever may see a decision may see its explanation: it holds nothing but the decision's own facts
and the policy that was applied to them. Where a part cannot be had (a bundle that no longer loads,
a rule that never ends), the rest is given, with a note.

Source: Spec PC-13.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.rego.worker import PolicyWorker
from charter.core.kernel.canonical import canonical_json, rfc3339
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import CharterError, NotFoundError
from charter.core.policy.bundle import Bundle
from charter.core.policy.choices import Known
from charter.services import decisions, suggestions
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

LAST: Final = "last"
"""In place of an id: the caller's newest decision that was not a yes."""

_WAIT_SECONDS: Final = 5.0
_MILLISECONDS: Final = 1000
_MEANS: Final = {
    Effect.ALLOW: "Nothing forbade it.",
    Effect.WARN: "It was allowed, with a warning.",
    Effect.REQUIRE_APPROVAL: "It needs an approval first.",
    Effect.DENY: "It was denied.",
}
_KEPT: Final = ("effect", "package", "file", "line", "end_line")

Json = dict[str, Any]


def explain(rt: Runtime, caller: Caller, ref: str) -> Json:
    """The explanation of one decision; `ref` is its id or `last`.

    Raises `NotFoundError` for what there is not or what the caller may not see.
    """
    began = time.perf_counter()
    with rt.database.reading() as tx:
        row = _row(tx, caller, ref)
        facts: Json = json.loads(row["facts"])
        result: Json = json.loads(row["result"])
        stored = tx.one(
            sa.select(t.bundles.c.files).where(t.bundles.c.digest == row["bundle_digest"])
        )
        known = suggestions.known_to(tx, facts, now=False)
        now = _now(rt, tx, row, facts)
        who = _who(tx, facts)
    bundle = Bundle({} if stored is None else stored["files"])
    trace, suggestion, notes = _work_out(rt, bundle, facts, result, known)
    bodies = trace["bodies"]
    used: set[int] = set()
    rules = [_spoken(v, bodies, bundle, "fired", used) for v in result["violations"]]
    silent = [_spoken(v, bodies, bundle, _silence(v), used) for v in result["shadow"]]
    silent += list(_unheard(bodies, used, bundle))
    decisive = [v for v in result["violations"] if v["effect"] == row["effect"]]
    return {
        "id": row["id"],
        "at": rfc3339(row["at"]),
        "action": row["action"],
        "subject": who,
        "effect": row["effect"],
        "sentence": _sentence(who, row, facts, decisive),
        "bundle_digest": row["bundle_digest"],
        "rules": rules,
        "silent": silent,
        "near": sorted(_near(bodies, bundle), key=lambda near: (near["share"], near["rule"])),
        "others": list(_others(bodies)),
        "remedies": list(dict.fromkeys(v["fix"] for v in decisive if v["fix"])),
        "suggestion": suggestion,
        "now": now,
        "notes": [*notes, *trace["notes"]],
        "milliseconds": round((time.perf_counter() - began) * _MILLISECONDS, 1),
    }


def _row(tx: Tx, caller: Caller, ref: str) -> Row:
    if ref != LAST:
        return decisions.visible(tx, caller, ref)
    c = t.decisions.c
    row = tx.one(
        sa.select(t.decisions)
        .where(c.subject_id == caller.id, c.effect.in_([Effect.DENY, Effect.REQUIRE_APPROVAL]))
        .order_by(c.id.desc())
        .limit(1)
    )
    if row is None:
        raise NotFoundError(
            "No request of yours was refused or needed an approval.",
            fix="charter decision list shows the decisions that you may see.",
        )
    return row


def _who(tx: Tx, facts: Mapping[str, Any]) -> str:
    subject = facts["subject"]
    if subject is None:  # an enforcement point brought somebody whom Charter does not know
        return str(facts["document"]["subject"].get("id", "Somebody without a name"))
    if subject["kind"] == "human":
        return str(subject["handle"])
    if subject["kind"] == "system":
        return f"the directory {subject['name']}"
    row = tx.one(sa.select(t.agents.c.name).where(t.agents.c.id == subject["id"]))
    return f"the agent {subject['id'] if row is None else row['name']}"


def _sentence(who: str, row: Row, facts: Mapping[str, Any], decisive: list[Json]) -> str:
    resource = facts["document"].get("resource") or {}
    name = resource.get("name") or row["resource_id"] or f"a new {row['resource_kind']}"
    why = " ".join(v["message"] for v in decisive)
    return (
        f"{who} asked for {row['action']} on {name}. {_MEANS[Effect(row['effect'])]} {why}".strip()
    )


def _now(rt: Runtime, tx: Tx, row: Row, facts: Mapping[str, Any]) -> Json:
    """What the rules in force today say of the same facts."""
    try:
        policy = rt.policy.active(tx)
    except CharterError:
        return {"same_rules": False, "effect": None, "sentence": "No policy is in force now."}
    if policy.digest == row["bundle_digest"]:
        return {"same_rules": True, "effect": row["effect"], "sentence": None}
    effect = decisions.evaluate(policy, facts).effect.value
    word = "the same" if effect == row["effect"] else effect.replace("_", " ")
    return {
        "same_rules": False,
        "effect": effect,
        "sentence": "The rules have changed since. This explains the decision under the rules that "
        f"made it; of the same facts, those in force now say: {word}.",
    }


def _work_out(
    rt: Runtime, bundle: Bundle, facts: Json, result: Json, known: Known
) -> tuple[Json, Json | None, list[str]]:
    """Trace, suggestion and notes; what fails leaves a note in its place."""
    trace: Json = {"bodies": [], "notes": []}
    suggestion: Json | None = None
    notes: list[str] = []
    try:
        with rt.policy.workers.use(bundle, wait_seconds=_WAIT_SECONDS) as worker:
            trace = worker.trace(canonical_json(facts["document"]))
            if Effect(result["effect"]).rank > Effect.WARN.rank:
                suggestion = _suggestion(worker, bundle, facts, known)
    except CharterError as error:
        part = "The smallest change" if trace["bodies"] else "The rules"
        notes.append(f"{part} could not be worked out: {error.message}")
    return trace, suggestion, notes


def _suggestion(worker: PolicyWorker, bundle: Bundle, facts: Json, known: Known) -> Json:
    return suggestions.search(worker, facts, bundle.settings(), known)


# --- from the trace to what is shown ------------------------------------------------------------
def _text(bundle: Bundle, file: str, line: int, end_line: int) -> str:
    """The rule as it stands in its file."""
    return "\n".join(bundle.text(file).split("\n")[line - 1 : end_line])


def _said(body: Json, said: object) -> tuple[str, str]:
    """The id and the message under which the aggregator hears what a rule says."""
    if isinstance(said, dict):
        rule = str(said.get("id", body["default_id"]))
        return rule, str(said.get("message", f"{rule} applies."))
    return str(body["default_id"]), str(said)


def _spoken(
    violation: Json, bodies: list[Json], bundle: Bundle, state: str, used: set[int]
) -> Json:
    """A rule that spoke, with the place and the values of the body that made it speak."""
    found: Json = {
        **violation,
        "state": state,
        "file": None,
        "line": None,
        "end_line": None,
        "text": None,
        "statements": [],
    }
    candidates = [
        (number, body, solution, _said(body, solution["said"]))
        for number, body in enumerate(bodies)
        for solution in body["solutions"]
        if _said(body, solution["said"])[0] == violation["rule"]
    ]
    # Several bodies may speak under one id; the message tells them apart.
    exact = [c for c in candidates if c[3][1] == violation["message"]]
    for _, body, solution, _said_as in (exact or candidates)[:1]:
        used.update(c[0] for c in candidates)
        found |= {name: body[name] for name in ("file", "line", "end_line")}
        found["text"] = _text(bundle, body["file"], body["line"], body["end_line"])
        found["statements"] = solution["statements"]
    return found


def _silence(violation: Json) -> str:
    return "dry-run" if violation["mode"] == "dry-run" else "exempted"


def _unheard(bodies: list[Json], used: set[int], bundle: Bundle) -> Iterator[Json]:
    """Rules that hold and were not heard: switched off, or answered by a grant."""
    for number, body in enumerate(bodies):
        if body["state"] != "fired" or number in used or body["effect"] == "obligation":
            continue
        rule, message = _said(body, body["solutions"][0]["said"])
        yield {
            "rule": rule,
            "message": message,
            "state": "granted" if body["effect"] == "require_approval" else "off",
            **{name: body[name] for name in _KEPT},
            "text": _text(bundle, body["file"], body["line"], body["end_line"]),
            "statements": body["solutions"][0]["statements"],
        }


def _near(bodies: list[Json], bundle: Bundle) -> Iterator[Json]:
    """Rules that one more step would have made speak."""
    for body in bodies:
        if body["near"] is None:
            continue
        near = body["near"]
        yield {
            "rule": body["id"] or body["default_id"],
            **{name: body[name] for name in _KEPT},
            **near,
            "stopped_line": near["line"],
            "line": body["line"],
            "statement": near["text"],
            "text": _text(bundle, body["file"], body["line"], body["end_line"]),
            "statements": body["statements"],
        }


def _others(bodies: list[Json]) -> Iterator[Json]:
    """The rest in short: where each stopped."""
    for body in bodies:
        if body["state"] == "fired" or body["near"] is not None:
            continue
        stopped = body["statements"][-1]["text"] if body["statements"] else None
        yield {
            "rule": body["id"] or body["default_id"],
            "state": body["state"],
            "file": body["file"],
            "line": body["line"],
            "stopped_line": body["stopped_line"],
            "statement": stopped,
        }
