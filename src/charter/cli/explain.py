"""`charter explain DECISION`: why it came out so, readable without knowing Charter or Rego.

The record is taken apart by the server; here it is written down: first the sentence, then each rule
with file, line and the values that it saw, then what nearly spoke, and last the way around.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from charter.cli.command import Call, command, noun
from charter.cli.text import coloured, effect_word, joined, one_line, printable, say
from charter.cli.waiting import working

app = noun("Why something was decided as it was.")

Ref = Annotated[
    str,
    typer.Argument(
        metavar="DECISION", help="Its id (dec_…), or last: your newest that was no plain yes."
    ),
]

_LONGEST_VALUE: Final = 100  # characters; --json has all of it
_UNCHANGED: Final = {
    "dry-run": "in dry run",
    "exempted": "exempted",
    "off": "switched off",
    "granted": "answered by an approval given before",
}


@command(
    app,
    "decision",
    examples=["charter explain last", "charter explain dec_01h…", "charter explain last --json"],
)
def decision(call: Call, decision_id: Ref) -> None:
    """Explain a decision: rules with lines and values, near misses, the smallest change to pass.

    The word decision may be left out: charter explain dec_01h…
    """
    with working("explain", "deciding again and looking for what would pass"):
        found = call.client.get("decisions", decision_id, "explanation")
    call.answer(found, lambda: say(*lines(found)))


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The explanation for people."""
    yield f"{effect_word(found['effect'])}: {one_line(found['sentence'])}"
    yield f"decision {one_line(found['id'])}, rules {one_line(found['bundle_digest'])}"
    if not found["rules"]:
        yield "No rule objected."
    for rule in found["rules"]:
        yield ""
        yield from _rule(rule, effect_word(rule["effect"]))
    for title, part, say_one in (
        ("Held, and changed nothing", found["silent"], _silent),
        ("Nearly spoke", found["near"], _near),
        ("Smallest change that passes", [found["suggestion"]], suggestion),
    ):
        shown = [one for one in part if one is not None]
        if shown:
            yield from ("", coloured(title, "bold"))
        for one in shown:
            yield from say_one(one)
    for step in found["remedies"]:
        yield f"next: {one_line(step)}"
    for note in (found["now"].get("sentence"), *found["notes"]):
        if note:
            yield f"note: {one_line(note)}"


def _rule(rule: Mapping[str, Any], word: str) -> Iterator[str]:
    place = f"  {one_line(rule['file'])}:{rule['line']}" if rule["file"] else "  built in"
    yield f"{coloured(one_line(rule['rule']), 'bold')} ({word}){place}"
    yield f"  {one_line(rule['message'])}"
    yield from _statements(rule["statements"])
    if rule["approvers"]:
        yield f"  who may approve: {joined(rule['approvers'])}"
    if rule["fix"]:
        yield f"  fix: {one_line(rule['fix'])}"


def _silent(rule: Mapping[str, Any]) -> Iterator[str]:
    yield from _rule(rule, _UNCHANGED.get(rule["state"], one_line(rule["state"])))


def _statements(statements: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    width = max((len(str(s["line"])) for s in statements), default=0)
    for statement in statements:
        said = "" if statement["held"] else coloured("   does not hold", "yellow")
        yield f"  {statement['line']:>{width}}  {one_line(statement['text'])}{said}"
        for value in statement["values"]:
            yield f"  {'':>{width}}    {_value(value)}"


def _value(value: Mapping[str, Any]) -> str:
    name = one_line(value["path"] or value["text"])
    if value["undefined"]:
        shown = "has no value"
    else:
        text = one_line(json.dumps(value["value"], ensure_ascii=False))
        shown = "= " + (text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + " …")
    at = f"  ({one_line(value['at'])})" if value["at"] else ""
    return coloured(f"{name} {shown}{at}", "dim")


def _near(near: Mapping[str, Any]) -> Iterator[str]:
    names = {v["text"]: v["path"] for s in near["statements"] for v in s["values"] if v["path"]}
    left, right = (one_line(names.get(near[s], near[s])) for s in ("left_text", "right_text"))
    yield (
        f"{coloured(one_line(near['rule']), 'bold')} ({effect_word(near['effect'])})"
        f"  {one_line(near['file'])}:{near['stopped_line']}"
    )
    for name, value in ((left, near["left"]), (right, near["right"])):
        if name != str(value):
            yield coloured(f"  {name} = {value}", "dim")
    yield f"  {near['left']} {one_line(near['sign'])} {near['right']} does not hold, by little"


def suggestion(found: Mapping[str, Any]) -> Iterator[str]:
    """The proposals, the best first, with the command where there is one."""
    if found["why_none"]:
        yield f"  {one_line(found['why_none'])}"
    for proposal in found["proposals"]:
        yield f"  {one_line(proposal['sentence'])}"
        if proposal["command"]:
            yield f"    {printable(proposal['command'])}"
