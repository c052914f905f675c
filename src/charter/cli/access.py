"""`charter access …`: who may do what, and why."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from charter.cli import networks
from charter.cli.arguments import one_of
from charter.cli.command import Call, command, noun
from charter.cli.show import table
from charter.cli.text import joined, one_line, say

app = noun("Who may do what, and why.")

_VERDICTS: Final = {
    "allow": "Yes",
    "warn": "Yes, with a warning",
    "require_approval": "Only with an approval",
    "deny": "No",
    "depends": "Yes, unless a rule objects to the request itself",
}
_SHOWN_RULES: Final = 3
_CELLS: Final = {"allow": "yes", "approval": "approval", "policy": "rules", "deny": "no"}


@command(
    app,
    "why",
    examples=[
        "charter access why dana workspace.stop workspace:api",
        "charter access why my-agent workspace.create --team web",
        "charter access why me policy.apply",
    ],
)
def why(
    call: Call,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="A person, an agent, or: me.")],
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="As charter access matrix lists it.")
    ],
    resource: Annotated[
        str | None,
        typer.Argument(
            metavar="[RESOURCE]",
            help="workspace:NAME, agent:NAME, team:NAME, project:NAME or person:HANDLE.",
        ),
    ] = None,
    team: Annotated[
        str | None, typer.Option("--team", help="Where something new would belong.")
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="And to which of the team's projects.")
    ] = None,
) -> None:
    """Say whether somebody may do something now: bindings, delegation and rules, step by step."""
    found: Any = call.client.get(
        "access",
        "why",
        query={
            "subject": subject,
            "action": action,
            "resource": resource,
            "team": team,
            "project": project,
        },
    )

    def text() -> None:
        what = found["resource"]
        aimed = f"{what['kind']} {what['id'] or ''}".rstrip()
        if what["owner"] == found["subject"]["id"]:
            aimed = f"a {aimed} of their own"
        name = one_line(found["subject"]["name"])
        say(f"{_VERDICTS[found['effect']]}: {name}, {found['action']}, {one_line(aimed)}.")
        for step in found["steps"]:
            mark = "+" if step["holds"] else "-"
            inner = "    " if step["of"] == "sponsor-binding" else "  "
            where = f" ({one_line(step['scope'])})" if step["scope"] else ""
            say(f"{inner}{mark} {one_line(step['text'])}{where}")
        for reason in found["reasons"]:
            say(f"{one_line(reason['rule'])}: {one_line(reason['message'])}")
            if reason["fix"]:
                say(f"  → {one_line(reason['fix'])}")
        if found["note"]:
            say(one_line(found["note"]))

    call.answer(found, text)


@command(
    app,
    "matrix",
    examples=["charter access matrix", "charter access matrix --role developer"],
)
def matrix(
    call: Call,
    role: Annotated[str | None, typer.Option("--role", help="Only this role, with rules.")] = None,
) -> None:
    """Print which role may do what under the rules in force.

    A cell says how far a permission reaches (own things, the team's, all) and whether rules have a
    say: "approval" where one may ask for an approval, "rules" where one may refuse.
    """
    found: Any = call.client.get("access", "matrix")
    one_of(role, "--role", found["roles"])
    roles = found["roles"] if role is None else [role]

    def text() -> None:
        if len(roles) == 1:
            table(
                ("ACTION", "MAY", "REACH", "RULES"),
                [
                    (
                        row["action"],
                        _CELLS[cell["effect"]],
                        cell["reach"] or "",
                        _some(cell["rules"]),
                    )
                    for row in found["items"]
                    for cell in [row["roles"][roles[0]]]
                ],
            )
            return
        table(
            ("ACTION", *(name.upper() for name in roles)),
            [
                (row["action"], *(_cell(row["roles"][name]) for name in roles))
                for row in found["items"]
            ],
        )

    call.answer(found, text)


def _some(rules: list[str]) -> str:
    left = len(rules) - _SHOWN_RULES
    return joined(rules[:_SHOWN_RULES], "") + (f" and {left} more" if left > 0 else "")


def _cell(cell: dict[str, Any]) -> str:
    if cell["effect"] == "deny":
        return "-"
    says = "" if cell["effect"] == "allow" else f", {_CELLS[cell['effect']]}"
    return f"{cell['reach']}{says}"


networks.register(app)
