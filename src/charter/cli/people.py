"""`charter person …`: accounts, and the one-time links by which people sign in."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.arguments import given
from charter.cli.command import All, Call, Limit, Yes, command, noun
from charter.cli.show import table
from charter.cli.text import joined, one_line, pairs, say, when

app = noun("People and their sign-in links.")

Handle = Annotated[str, typer.Argument(metavar="PERSON", help="Handle or id.")]


@command(app, "list", examples=["charter person list", "charter people list --json"])
def list_(call: Call, limit: Limit = 100, all_: All = False) -> None:
    """List people."""
    page = call.client.page("people", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("HANDLE", "NAME", "E-MAIL", "STATE", "SINCE", "ID"),
            [
                (
                    p["handle"],
                    p["display_name"],
                    p["email"],
                    "deactivated" if p["deactivated_at"] else "active",
                    when(p["created_at"]),
                    p["id"],
                )
                for p in items
            ],
        )

    call.listing(page, text, empty="No people yet. Add one: charter person create HANDLE")


@command(
    app,
    "create",
    examples=["charter person create dana", "charter person create lee --time-zone Europe/Paris"],
)
def create(
    call: Call,
    handle: Annotated[
        str, typer.Argument(metavar="HANDLE", help="Short name: a-z, 0-9, dots, hyphens.")
    ],
    name: Annotated[str | None, typer.Option("--name", help="Full name, as shown.")] = None,
    email: Annotated[str | None, typer.Option("--email", help="E-mail address.")] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="For calendars, such as Europe/Paris.")
    ] = None,
) -> None:
    """Add a person; they have no role until one is granted."""
    body = given({"handle": handle, "display_name": name, "email": email, "time_zone": time_zone})
    made = call.client.create("people", body=body).body

    def text() -> None:
        who = one_line(made["handle"])
        say(f"{who} is added ({one_line(made['id'])}).")
        say(f"Let them sign in: charter person link {who}")
        say(f"Give them a role: charter role grant {who} developer --team TEAM")

    call.answer(made, text)


@command(app, "link", examples=["charter person link dana"])
def link(call: Call, person: Handle) -> None:
    """Make a one-time sign-in link; whoever holds it signs in as that person, once."""
    made = call.client.post("people", person, "sign-in-link").body

    def text() -> None:
        say(one_line(made["url"]))
        say(f"Works once, until {when(made['expires_at'])}.")

    call.answer(made, text)


@command(app, "deactivate", examples=["charter person deactivate dana --yes"])
def deactivate(call: Call, person: Handle, yes: Yes = False) -> None:
    """Close an account: its sessions, tokens and agents end."""
    call.confirm(f"Deactivate {person}?", yes=yes)
    found = call.client.post("people", person, "deactivate").body
    document = found if isinstance(found, dict) else {"handle": person}
    call.said(document, f"{one_line(document['handle'])} is deactivated.")


@command(app, "reactivate", examples=["charter person reactivate dana"])
def reactivate(call: Call, person: Handle) -> None:
    """Open an account again; roles, tokens and agents do not come back with it."""
    found = call.client.post("people", person, "reactivate").body
    document = found if isinstance(found, dict) else {"handle": person}
    who = one_line(document["handle"])
    call.said(document, f"{who} is active again, and holds no role: charter role grant {who} ROLE")


@command(app, "show", examples=["charter person show dana", "charter person show dana --json"])
def show(call: Call, person: Handle) -> None:
    """Show where somebody comes from, their manager, teams, roles and last sign-in."""
    found = call.client.get("people", person)
    call.answer(found, lambda: _show(found))


_KEPT_BY = {"local": "kept here", "scim": "provisioned by SCIM", "oidc": "came by single sign-on"}


def _show(found: Any) -> None:
    source = _KEPT_BY.get(found["source"], found["source"])
    state = "active"
    if found["deactivated_at"]:
        state = f"deactivated {when(found['deactivated_at'])}"
    if found["removed_at"]:
        state = f"removed by its directory {when(found['removed_at'])}"
    pairs(
        [
            ("handle", found["handle"]),
            ("id", found["id"]),
            ("name", found["display_name"]),
            ("e-mail", found["email"]),
            ("state", state),
            ("account", source),
            ("directory", found["directory"]),
            ("external id", found["external_id"]),
            ("manager", found["manager"]),
            ("teams", joined(found["teams"], "none")),
            ("roles", joined(found["roles"], "none")),
            ("signs in with", joined(found["signs_in_with"], "one-time links")),
            ("last sign-in", when(found["last_sign_in_at"]) or "never"),
            ("time zone", found["time_zone"]),
            ("since", when(found["created_at"])),
        ]
    )
