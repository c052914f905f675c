"""`charter explain decision ID`: the reasons of a decision, readable without knowing Charter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from charter.cli.command import Call, command, noun
from charter.cli.decisions import Id
from charter.cli.show import reasons
from charter.cli.text import effect_word, one_line, say, when

app = noun("Why something was decided as it was.")

_MEANS: Final = {
    "allow": "Nothing forbade it.",
    "warn": "It went ahead, with a warning.",
    "require_approval": "It may go ahead once the people named below have agreed.",
    "deny": "It did not go ahead.",
}


@command(
    app,
    "decision",
    examples=["charter explain decision dec_01h…", "charter explain decision dec_01h… --json"],
)
def decision(call: Call, decision_id: Id) -> None:
    """Explain a decision: who wanted what, which rules spoke, what to do, and where they stand."""
    found = call.client.get("decisions", decision_id)
    result = found["result"]
    document = {
        "id": found["id"],
        "effect": result["effect"],
        "sentence": _sentence(found),
        "reasons": result["violations"],
        "next": _next(result["violations"], result["effect"]),
        "shadow": result["shadow"],
    }

    def text() -> None:
        say(f"{effect_word(result['effect'])}: {document['sentence']}")
        say(*reasons(result))
        if not result["violations"]:
            say("No rule objected.")
        for step in _next(result["violations"], result["effect"]):
            say(f"next: {one_line(step)}")
        say(
            f"Rules of bundle {one_line(found['bundle_digest'])}; see one: charter policy show RULE"
        )

    call.answer(document, text)


def _sentence(d: Mapping[str, Any]) -> str:
    what = one_line(d["resource_id"] or f"a new {d['resource_kind']}")
    return (
        f"{one_line(d['subject_kind'])} {one_line(d['subject_id'])} asked for"
        f" {one_line(d['action'])} on {what} at {when(d['at'])}."
        f" {_MEANS.get(d['effect'], '')}"
    ).strip()


def _next(violations: Sequence[Mapping[str, Any]], effect: str) -> list[str]:
    """What would change the outcome: the fixes of the rules that made it."""
    return list(
        dict.fromkeys(str(v["fix"]) for v in violations if v["effect"] == effect and v.get("fix"))
    )
