"""`charter role …`: who holds which role, where, and until when."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.arguments import given, moment, one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import usage
from charter.cli.show import table
from charter.cli.text import one_line, say, when

_REACHES = ("own", "team", "all", "shared")

app = noun("Who holds which role, where, and what each role may do.")


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
            help="developer, team-lead, platform-admin, security-admin, read-only or an own role.",
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


@command(app, "catalogue", examples=["charter role catalogue"])
def catalogue(call: Call) -> None:
    """List every role, built-in and own, with what it is for."""
    page: Any = call.client.get("roles")

    def text() -> None:
        table(
            ("ROLE", "KIND", "PERMISSIONS", "HELD BY", "WHAT FOR"),
            [
                (
                    r["name"],
                    "built-in" if r["built_in"] else "own",
                    str(len(r["permissions"])),
                    str(r["holders"]),
                    r["title"],
                )
                for r in page["items"]
            ],
        )

    call.answer(page, text)


@command(app, "show", examples=["charter role show developer"])
def show(
    call: Call, name: Annotated[str, typer.Argument(metavar="ROLE", help="Its name.")]
) -> None:
    """Show what a role holds, and how far each permission reaches."""
    found: Any = call.client.get("roles", name)
    call.answer(found, lambda: _told(found))


def _told(role: Any) -> None:
    kind = "built-in" if role["built_in"] else "own role"
    people = f"{role['holders']} {'person' if role['holders'] == 1 else 'people'}"
    say(f"{one_line(role['name'])} ({kind}, held by {people}): {one_line(role['title'])}")
    table(("PERMISSION", "REACH"), [*role["permissions"].items()])


@command(
    app,
    "define",
    examples=[
        'charter role define operator --title "Stops what runs away" --allow workspace.stop=all',
        "charter role define lead-lite --from team-lead --deny approval.vote",
    ],
)
def define(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="ROLE", help="Lower-case letters and hyphens.")],
    title: Annotated[str | None, typer.Option("--title", help="What it is for, one line.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow", metavar="PERMISSION[=REACH]", help="own, team or all; own by default."
        ),
    ] = None,
    deny: Annotated[
        list[str] | None,
        typer.Option("--deny", metavar="PERMISSION", help="Leave it out of what --from holds."),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--from", metavar="ROLE", help="Begin with what this one holds.")
    ] = None,
) -> None:
    """Make a role of your own, or replace what it holds.

    Changing a role counts for everybody who holds it, from their next request on.
    """
    begin: Any = None if base is None else call.client.get("roles", base)
    permissions: dict[str, str] = {} if begin is None else dict(begin["permissions"])
    for each in allow or ():
        permission, _, reach = each.partition("=")
        permissions[permission] = one_of(reach or "own", "--allow", _REACHES) or ""
    for permission in deny or ():
        if permissions.pop(permission, None) is None:
            raise usage(
                f"{permission} is not among what the role would hold.",
                "Leave that --deny out, or look at the role named by --from.",
            )
    wording = title or (begin or {}).get("title")
    if wording is None:
        raise usage("A role says what it is for.", "Give --title, or --from a role that has one.")
    body = {"title": wording, "permissions": permissions}
    made: Any = call.client.put("roles", name, body=body).body
    call.answer(made, lambda: _told(made))


@command(app, "retire", examples=["charter role retire operator"])
def retire(
    call: Call, name: Annotated[str, typer.Argument(metavar="ROLE", help="An own role.")]
) -> None:
    """Take an own role away for good; refused while anybody holds it."""
    call.client.delete("roles", name)
    call.said({"name": name, "retired": True}, f"{name} is retired.")
