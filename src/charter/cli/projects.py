"""`charter project …`: what work is done for, with its class of data and its environment."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.show import table
from charter.cli.text import one_line

app = noun("Projects of teams.")


@command(app, "list", examples=["charter project list"])
def list_(call: Call, limit: Limit = 100, all_: All = False) -> None:
    """List projects."""
    page = call.client.page("projects", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("NAME", "TEAM", "DATA", "ENVIRONMENT", "ID"),
            [(p["name"], p["team_id"], p["data_class"], p["environment"], p["id"]) for p in items],
        )

    call.listing(
        page, text, empty="No projects yet. Create one: charter project create NAME --team TEAM"
    )


@command(
    app,
    "create",
    examples=["charter project create shop --team web --data-class confidential"],
)
def create(
    call: Call,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")
    ],
    team: Annotated[str, typer.Option("--team", help="The team that it belongs to.")],
    data_class: Annotated[
        str, typer.Option("--data-class", help="public, internal, confidential or regulated.")
    ] = "internal",
    environment: Annotated[
        str,
        typer.Option(
            "--environment", help="production, staging, test, development or experimental."
        ),
    ] = "development",
) -> None:
    """Create a project; rules look at its class of data and its environment."""
    body = {"name": name, "team": team, "data_class": data_class, "environment": environment}
    made = call.client.create("projects", body=body).body
    call.said(made, f"Project {one_line(made['name'])} is created ({one_line(made['id'])}).")
