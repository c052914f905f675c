"""`charter team …`: teams, who is in them, and what they may use."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.show import quotas, table
from charter.cli.text import joined, one_line, when

app = noun("Teams, their members and quotas.")

Team = Annotated[str, typer.Argument(metavar="TEAM", help="Name or id.")]
Person = Annotated[str, typer.Argument(metavar="PERSON", help="Handle or id.")]


@command(app, "list", examples=["charter team list"])
def list_(call: Call, limit: Limit = 100, all_: All = False) -> None:
    """List teams and their members."""
    page = call.client.page("teams", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("NAME", "MEMBERS", "SINCE", "ID"),
            [(t["name"], joined(t["members"]), when(t["created_at"]), t["id"]) for t in items],
        )

    call.listing(page, text, empty="No teams yet. Create one: charter team create NAME")


@command(app, "create", examples=["charter team create web"])
def create(
    call: Call,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")
    ],
) -> None:
    """Create a team."""
    made = call.client.create("teams", body={"name": name}).body
    call.said(
        made,
        f"Team {one_line(made['name'])} is created. Add people: charter team add"
        f" {one_line(made['name'])} PERSON",
    )


@command(app, "add", examples=["charter team add web dana"])
def add(call: Call, team: Team, person: Person) -> None:
    """Put a person into a team."""
    call.client.post("teams", team, "members", body={"person": person})
    call.said({"team": team, "person": person, "member": True}, f"{person} is in {team}.")


@command(app, "remove", examples=["charter team remove web dana"])
def remove(call: Call, team: Team, person: Person) -> None:
    """Take a person out of a team."""
    call.client.delete("teams", team, "members", person)
    call.said(
        {"team": team, "person": person, "member": False}, f"{person} is no longer in {team}."
    )


@command(app, "quota", examples=["charter team quota web", "charter team quota web --json"])
def quota(call: Call, team: Team) -> None:
    """Show what a team may use and uses."""
    found = call.client.get("teams", team, "quota")
    call.listing(found, quotas, empty=f"{team} has no quota.")
