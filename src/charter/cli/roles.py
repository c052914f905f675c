"""`charter role …`: who holds which role, where, and until when."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.arguments import given, moment
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import usage
from charter.cli.show import table
from charter.cli.text import one_line, say, when

app = noun("Who holds which role, and where.")


@command(app, "list", examples=["charter role list", "charter role list --person dana"])
def list_(
    call: Call,
    person: Annotated[str | None, typer.Option("--person", help="Only this person's.")] = None,
    limit: Limit = 100,
    all_: All = False,
) -> None:
    """List the roles that people hold."""
    page = call.client.page(
        "role-bindings", limit=None if all_ else limit, query={"person": person}
    )

    def text(items: list[Any]) -> None:
        table(
            ("PERSON", "ROLE", "IN", "GRANTED BY", "SINCE", "UNTIL", "ID"),
            [
                (
                    b["person"],
                    b["role"],
                    b["scope_kind"] + (f" {b['scope']}" if b["scope"] else ""),
                    b["granted_by_name"],
                    when(b["created_at"]),
                    when(b["expires_at"]),
                    b["id"],
                )
                for b in items
            ],
        )

    call.listing(page, text, empty="No role is held. Grant one: charter role grant PERSON ROLE")


@command(
    app,
    "grant",
    examples=[
        "charter role grant dana developer --team web",
        "charter role grant lee security-admin --days 30",
    ],
)
def grant(
    call: Call,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Handle or id.")],
    role: Annotated[
        str,
        typer.Argument(
            metavar="ROLE",
            help="developer, team-lead, platform-admin, security-admin or read-only.",
        ),
    ],
    team: Annotated[str | None, typer.Option("--team", help="Only within this team.")] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Only within this project.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="When it ends by itself.")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="After how many days it ends by itself.")
    ] = None,
) -> None:
    """Give a role: in the whole organisation, or within a team or a project."""
    if team is not None and project is not None:
        raise usage("A role holds in one scope.", "Give --team or --project, not both.")
    scope_kind = "team" if team else "project" if project else "organisation"
    body = given(
        {
            "person": person,
            "role": role,
            "scope_kind": scope_kind,
            "scope": team or project,
            "expires_at": moment(until, days, "--until"),
        }
    )
    made = call.client.create("role-bindings", body=body).body

    def text() -> None:
        where = f"{scope_kind} {team or project}" if scope_kind != "organisation" else scope_kind
        end = f" until {when(made['expires_at'])}" if made.get("expires_at") else ""
        say(f"{person} is {one_line(made['role'])} in the {where}{end} ({one_line(made['id'])}).")

    call.answer(made, text)


@command(app, "revoke", examples=["charter role revoke rb_01h…"])
def revoke(
    call: Call,
    binding: Annotated[
        str, typer.Argument(metavar="ID", help="The id from charter role list (rb_…).")
    ],
) -> None:
    """Take a role away; the person's running agents are narrowed at once."""
    call.client.delete("role-bindings", binding)
    call.said({"id": binding, "revoked": True}, f"{binding} is revoked.")
