"""`charter passkey …`: see, name and remove passkeys; a browser adds them (portal: Account)."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.command import Call, Yes, command, noun
from charter.cli.show import table
from charter.cli.text import one_line, say, when

app = noun("Passkeys of your account; a browser adds them.")

Passkey = Annotated[str, typer.Argument(metavar="PASSKEY", help="Its id (psk_…).")]


@command(app, "list", examples=["charter passkey list", "charter passkey list --person dana"])
def list_(
    call: Call,
    person: Annotated[
        str | None, typer.Option("--person", metavar="HANDLE", help="Somebody else's; for admins.")
    ] = None,
) -> None:
    """List the passkeys with which one can sign in."""
    page = call.client.page("passkeys", limit=None, query={"person": person})

    def text(items: list[Any]) -> None:
        table(
            ("NAME", "ADDED", "LAST USED", "KEPT", "ID"),
            [
                (
                    each["name"],
                    when(each["created_at"]),
                    when(each["last_used_at"]),
                    "synced" if each["backed_up"] else "one device",
                    each["id"],
                )
                for each in items
            ],
        )

    call.listing(page, text, empty="No passkeys. Add one in the portal: Account.")


@command(app, "rename", examples=["charter passkey rename psk_01h… 'work phone'"])
def rename(
    call: Call,
    passkey: Passkey,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called from now on.")],
) -> None:
    """Give a passkey another name."""
    made: dict[str, Any] = call.client.put("passkeys", passkey, body={"name": name}).body
    call.answer(made, lambda: say(f"{made['id']} is called {one_line(made['name'])}."))


@command(app, "remove", examples=["charter passkey remove psk_01h…"])
def remove(
    call: Call,
    passkey: Passkey,
    last: Annotated[
        bool, typer.Option("--last", help="Even if it is the last way in but a one-time link.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Remove a passkey, and end the sessions that it opened."""
    call.confirm(f"Remove {passkey}? Nobody can sign in with it any more.", yes=yes)
    call.client.delete("passkeys", passkey, query={"last": "true"} if last else None)
    call.said({"id": passkey, "removed": True}, f"{passkey} is removed.")
