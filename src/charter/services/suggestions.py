"""The smallest change that would pass, for a stored decision or a request that is being typed.

The search itself is `core.policy.counterfactual`; here it is given what exists (approved templates,
the requester's teams and projects), a worker that decides, and a bound in time. What it finds is
said as changes, as a sentence, and as a command that can be run as it stands.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.rego.worker import FAILURE_MARK, PolicyWorker
from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import CharterError
from charter.core.kernel.units import MIB_PER_GIB, show_mib
from charter.core.policy.asked import AMOUNTS, LABEL, Facts, action_of, current, sizes_of
from charter.core.policy.bundle import Bundle
from charter.core.policy.choices import YOUR_REASON, Known
from charter.core.policy.counterfactual import Change, Proposal, Search, smallest_change
from charter.core.policy.trial import BoundReachedError
from charter.core.resources.quotas import quota_scopes
from charter.services import quotas
from charter.services.runtime import Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

_SECONDS: Final = 8.0
_PREVIEW_SECONDS: Final = 3.0
_PREVIEW_WAIT_SECONDS: Final = 1.0
_MOST_PLACES: Final = 20
_WORDS: Final = {
    "vcpu": "vCPU",
    "memory_mib": "memory",
    "disk_mib": "disk",
    "gpu": "GPU",
    "egress_allowlist": "allowed destinations",
    "minutes": "minutes until the deadline",
    "place": "the place",
}


def known_to(tx: Tx, facts: Facts, *, now: bool) -> Known:
    """What could be chosen beside what the facts and policy data tell.

    `now` says that the facts are of this moment. Other places are offered only then: what was in
    use of their quotas at another time is not known.
    """
    rows = tx.all(
        sa.select(t.templates)
        .where(t.templates.c.approved)
        .order_by(t.templates.c.name, t.templates.c.version.desc())
    )
    kind = "agent" if facts["document"]["subject"].get("kind") == "agent" else "human"
    templates = [
        {
            **{name: row[name] for name in ("name", "version", "approved", "use_instead")},
            "for_kinds": list(row["for_kinds"]),
        }
        for row in rows
        if kind in row["for_kinds"]
    ]
    return Known(templates, _places(tx, facts) if now else ())


def _places(tx: Tx, facts: Facts) -> list[dict[str, Any]]:
    """The other teams and projects in which this person could place the same thing."""
    subject, ref = facts["subject"], facts["resource"]
    if subject["kind"] != "human" or ref["id"] is not None or not facts.get("quota"):
        return []
    teams = tx.all(sa.select(t.teams).where(t.teams.c.id.in_(subject["teams"])))
    projects = tx.all(
        sa.select(t.projects)
        .where(t.projects.c.team_id.in_(subject["teams"]))
        .order_by(t.projects.c.name)
        .limit(_MOST_PLACES)
    )
    names = {row["id"]: row["name"] for row in teams}
    found = [_place(tx, facts, team, None) for team in sorted(teams, key=lambda row: row["name"])]
    for project in projects:
        home = {"id": project["team_id"], "name": names[project["team_id"]]}
        found.append(_place(tx, facts, home, project))
    here = (ref["team_id"], ref["project_id"])
    return [place for place in found if (place["team"], place["project"]) != here]


def _place(
    tx: Tx, facts: Facts, team: Row | Mapping[str, Any], project: Row | None
) -> dict[str, Any]:
    scopes = quota_scopes(
        owner_kind="human",
        owner_id=facts["subject"]["id"],
        team_id=team["id"],
        project_id=None if project is None else project["id"],
    )
    return {
        "team": team["id"],
        "team_name": team["name"],
        "project": None if project is None else project["id"],
        "project_name": None if project is None else project["name"],
        "data_class": "internal" if project is None else project["data_class"],
        "environment": "development" if project is None else project["environment"],
        "lines": [
            {
                "scope": line.scope,
                "label": line.label,
                "limit": line.limit.as_json(),
                "used": line.used.as_json(),
            }
            for line in quotas.lines(tx, scopes)
        ],
    }


def search(
    worker: PolicyWorker,
    facts: Facts,
    settings: Mapping[str, Any],
    known: Known,
    seconds: float = _SECONDS,
) -> dict[str, Any]:
    """The suggestion, by a worker that has the deciding bundle loaded."""
    found = smallest_change(facts, settings, known, _evaluator(worker, seconds))
    return as_json(found, facts, settings)


def _evaluator(
    worker: PolicyWorker, seconds: float
) -> Callable[[Sequence[Facts]], list[Mapping[str, Any]]]:
    deadline = time.monotonic() + seconds

    def evaluate(many: Sequence[Facts]) -> list[Mapping[str, Any]]:
        if time.monotonic() > deadline:
            raise BoundReachedError
        answers = worker.decide([canonical_json(one) for one in many])
        if any(answer.startswith(FAILURE_MARK) for answer in answers):
            raise BoundReachedError  # facts that cannot be judged are no proposal
        return [json.loads(answer) for answer in answers]

    return evaluate


def for_preview(rt: Runtime, bundle: Bundle, facts: Facts, known: Known) -> dict[str, Any] | None:
    """The suggestion for a request that would be refused now; None when it takes too long."""
    try:
        with rt.policy.workers.use(bundle, wait_seconds=_PREVIEW_WAIT_SECONDS) as worker:
            return search(worker, facts, bundle.settings(), known, _PREVIEW_SECONDS)
    except CharterError:
        return None


# --- saying it ----------------------------------------------------------------------------------
def as_json(found: Search, facts: Facts, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The transmitted form: proposals, the best first, and a sentence when there is none."""
    return {
        "proposals": [_proposal(one, facts, settings) for one in found.proposals],
        "why_none": None if found.proposals else _why_none(found),
        "evaluations": found.evaluations,
        "complete": not found.exhausted,
    }


def _why_none(found: Search) -> str:
    choosable = [name for name in found.fields if name != "justification"]
    if found.stubborn:
        objecting = ", ".join(found.stubborn)
        if not choosable:
            return f"Nothing in this request can be chosen otherwise. What objects: {objecting}."
        return (
            f"No other choice in this request would satisfy {objecting}: it does not depend on "
            "what a requester may choose."
        )
    if found.exhausted:
        return (
            f"The search ended at its bound of time or {found.evaluations} evaluations without "
            "finding a change that passes."
        )
    return (
        f"No change was found that passes; {found.evaluations} were tried, in "
        f"{len(found.fields)} fields."
    )


def _proposal(proposal: Proposal, facts: Facts, settings: Mapping[str, Any]) -> dict[str, Any]:
    violations = proposal.decision["violations"]
    asking = [v for v in violations if v["effect"] == Effect.REQUIRE_APPROVAL]
    return {
        "changes": [change.as_json() for change in proposal.changes],
        "effect": proposal.effect.value,
        "sentence": _sentence(proposal, asking),
        "rules": [v["rule"] for v in violations],
        "command": command(facts, proposal, settings),
    }


def _sentence(proposal: Proposal, asking: Sequence[Mapping[str, Any]]) -> str:
    said = ", ".join(_change(change) for change in proposal.changes)
    match proposal.effect:
        case Effect.ALLOW:
            end = "it would be allowed."
        case Effect.WARN:
            end = "it would be allowed, with a warning."
        case _:
            roles = sorted({role for v in asking for role in v["approvers"]})
            end = f"it would need an approval ({' or '.join(roles)}) and not be denied."
    return f"With {said}, {end}"


def _change(change: Change) -> str:
    field, word = change.field, field_word(change.field)
    if change.after is None:
        return f"without {word}"
    if field == "justification":
        return "a justification"
    after = show(field, change.after)
    if change.before is None:
        return f"{word} {after}"
    return f"{word} {after} (asked for: {show(field, change.before)})"


def field_word(field: str) -> str:
    """A field of a request as people call it."""
    if field.startswith(LABEL):
        return f"label {field.removeprefix(LABEL)}"
    return _WORDS.get(field, field.replace("_", " "))


def show(field: str, value: object) -> str:
    """A value of a field for people."""
    if field.endswith("_mib") and isinstance(value, int):
        return show_mib(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def command(facts: Facts, proposal: Proposal, settings: Mapping[str, Any]) -> str | None:
    """The command that makes the changed request, or None where no command says all of it."""
    changed = proposal.facts
    if action_of(facts) != "workspace.create":
        return None
    resource = changed["document"]["resource"]
    allowlist = current(changed, "egress_allowlist")
    if allowlist == [] or facts["document"]["subject"].get("kind") != "human":
        return None  # an empty list cannot be typed; agents speak to the API
    words = ["charter", "workspace", "create", str(resource.get("name", "NAME"))]
    words += ["--template", str(current(changed, "template"))]
    words += ["--size", str(current(changed, "size"))]
    size = sizes_of(settings).get(str(current(changed, "size")), {})
    for field in AMOUNTS:
        amount = current(changed, field)
        if amount != size.get(field):
            words += [f"--{field.removesuffix('_mib')}", _typed(field, amount)]
    if current(changed, "network") not in (None, "none"):
        words += ["--network", str(current(changed, "network"))]
    for host in allowlist or ():
        words += ["--allow-egress", str(host)]
    for name, value in sorted((resource.get("labels") or {}).items()):
        words += ["--label", f"{name}={value}"]
    words += _where(changed)
    reason = current(changed, "justification")
    if reason or proposal.effect is Effect.REQUIRE_APPROVAL:
        words += ["--justification", str(reason or YOUR_REASON)]
    return shlex.join(words)


def _where(changed: Facts) -> list[str]:
    ref = changed["resource"]
    if ref.get("project_id"):
        return ["--project", str(ref["project_id"])]
    several = len(changed["subject"].get("teams", ())) > 1
    return ["--team", str(ref["team_id"])] if several else []


def _typed(field: str, amount: int) -> str:
    if not field.endswith("_mib"):
        return str(amount)
    whole = amount % MIB_PER_GIB == 0
    return f"{amount // MIB_PER_GIB}GiB" if whole else f"{amount}MiB"
