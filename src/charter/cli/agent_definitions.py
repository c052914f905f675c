"""`charter agent define|definitions|definition|change|retire`: what agents may be run, by whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from charter.cli.arguments import given, minutes
from charter.cli.command import All, Call, Limit, command
from charter.cli.show import table
from charter.cli.text import joined, one_line, pairs, say, when

_Name = Annotated[str, typer.Argument(metavar="DEFINITION", help="Its name or id.")]
_Repositories = Annotated[
    list[str] | None,
    typer.Option(
        "--repo",
        "--repository",
        help="A pattern of repositories: * for part of a segment, ** at the end for all below;"
        " repeatable.",
    ),
]
_Session = Annotated[
    str | None,
    typer.Option("--max-session", metavar="SPAN", help="How long one run may last: 30min, 2h."),
]
_RunBy = Annotated[
    list[str] | None,
    typer.Option(
        "--run-by", help="Who may run it: team, everybody, team:NAME, person:HANDLE; repeatable."
    ),
]
_Tier = Annotated[
    str | None, typer.Option("--tier", help="read-only, sandboxed, standard or trusted, at most.")
]
_Team = Annotated[str | None, typer.Option("--team", help="The team that answers for it.")]
_Description = Annotated[str | None, typer.Option("--description", help="What it is for.")]
_MINUTE = 60


def _bounds(
    description: str | None,
    repository: list[str] | None,
    tier: str | None,
    session: str | None,
    run_by: list[str] | None,
    team: str | None,
) -> dict[str, Any]:
    return given(
        {
            "description": description,
            "repositories": repository,
            "tier": tier,
            "max_session_seconds": None
            if session is None
            else minutes(session, "--max-session") * _MINUTE,
            "run_by": run_by,
            "team": team,
        }
    )


def define(
    call: Call,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")
    ],
    description: _Description = None,
    repository: _Repositories = None,
    tier: _Tier = None,
    session: _Session = None,
    run_by: _RunBy = None,
    team: _Team = None,
) -> None:
    """Define an agent: what it is for, where it may work, how wide, and who may run it.

    It begins in the read-only tier, and its own team may run it.
    """
    body = {"name": name, **_bounds(description, repository, tier, session, run_by, team)}
    made = call.client.create("agent-definitions", body=body).body
    call.answer(made, lambda: _describe(made))


def definitions(
    call: Call,
    state: Annotated[
        str | None, typer.Option("--state", help="Only those in this state: active or retired.")
    ] = None,
    limit: Limit = 100,
    all_: All = False,
) -> None:
    """List the agent definitions that you may see."""
    page = call.client.page(
        "agent-definitions", limit=None if all_ else limit, query={"state": state}
    )

    def text(items: list[Any]) -> None:
        table(
            ("NAME", "STATE", "TIER", "TEAM", "RUN BY", "REPOSITORIES", "RUNNING", "VERSION"),
            [
                (
                    d["name"],
                    d["state"],
                    d["tier"],
                    d["team"],
                    joined(d["run_by"]),
                    joined(d["repositories"], "none"),
                    d["running"],
                    d["version"],
                )
                for d in items
            ],
        )

    call.listing(
        page,
        text,
        empty="No definition yet. Make one: charter agent define NAME --repo 'web/*'"
        if state is None
        else "No definition matches.",
    )


def definition(call: Call, name: _Name) -> None:
    """Show an agent definition and every version of it."""
    found = call.client.get("agent-definitions", name)

    def text() -> None:
        _describe(found)
        say("")
        table(
            ("VERSION", "SINCE", "BY", "TIER", "SESSION", "RUN BY", "REPOSITORIES", "WHY"),
            [
                (
                    v["version"],
                    when(v["made_at"]),
                    v["made_by"],
                    v["tier"],
                    _session(v),
                    joined(v["run_by"]),
                    joined(v["repositories"], "none"),
                    v["why"],
                )
                for v in found["versions"]
            ],
        )

    call.answer(found, text)


def change(
    call: Call,
    name: _Name,
    why: Annotated[str, typer.Option("--why", "-m", help="Why; it stands with the version.")],
    description: _Description = None,
    repository: _Repositories = None,
    tier: _Tier = None,
    session: _Session = None,
    run_by: _RunBy = None,
    team: _Team = None,
) -> None:
    """Make a new version of an agent definition; what is not named stays.

    Instances that run are narrowed at their next request where the new version is narrower. They
    are not widened.
    """
    body = {"why": why, **_bounds(description, repository, tier, session, run_by, team)}
    made = call.client.patch("agent-definitions", name, body=body).body
    call.answer(made, lambda: _describe(made))


def retire(
    call: Call,
    name: _Name,
    why: Annotated[str, typer.Option("--why", "-m", help="Why; it stands in the trail.")],
) -> None:
    """Retire an agent definition: nothing new runs of it.

    Its running instances get no more credentials, so they end within minutes.
    """
    made = call.client.post("agent-definitions", name, "retire", body={"why": why}).body
    call.said(
        made,
        f"{one_line(made['name'])} is retired; {made['running']} of its instances still run.",
    )


def _session(d: Mapping[str, Any]) -> str:
    seconds = d["max_session_seconds"]
    return "policy's limit" if seconds is None else f"{seconds // _MINUTE} min"


def _describe(d: Mapping[str, Any]) -> None:
    pairs(
        [
            ("name", d["name"]),
            ("id", d["id"]),
            ("state", d["state"]),
            ("for", d["description"] or None),
            ("team", d["team"]),
            ("tier at most", d["tier"]),
            ("repositories", joined(d["repositories"], "none")),
            ("one run lasts", _session(d)),
            ("run by", joined(d["run_by"])),
            ("instances", f"{d['instances']}, of which {d['running']} run"),
            ("version", f"{d['version']}, {when(d['changed_at'])}, by {d['changed_by']}"),
        ]
    )


def register(app: typer.Typer) -> None:
    """Put the commands under `charter agent`."""
    command(
        app,
        "define",
        examples=[
            "charter agent define fixer --description 'Mends tests' --repo 'web/*'",
            "charter agent define auditor --repo 'git.example.org/**' --run-by everybody",
        ],
    )(define)
    command(
        app,
        "definitions",
        examples=["charter agent definitions", "charter agent definitions --state active --json"],
    )(definitions)
    command(app, "definition", examples=["charter agent definition fixer"])(definition)
    command(
        app,
        "change",
        examples=["charter agent change fixer --tier read-only -m 'It wrote where it should not'"],
    )(change)
    command(app, "retire", examples=["charter agent retire fixer -m 'Replaced by mender'"])(retire)
