"""`charter token …`: personal access tokens, for scripts and other machines."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.show import table
from charter.cli.text import one_line, say, when

app = noun("Your personal access tokens.")


@command(app, "list", examples=["charter token list"])
def list_(call: Call, limit: Limit = 100, all_: All = False) -> None:
    """List your tokens; their secrets are not kept and cannot be shown."""
    page = call.client.page("tokens", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("NAME", "CREATED", "EXPIRES", "LAST USED", "ID"),
            [
                (
                    t["name"],
                    when(t["created_at"]),
                    when(t["expires_at"]),
                    when(t["last_used_at"]),
                    t["id"],
                )
                for t in items
            ],
        )

    call.listing(page, text, empty="No tokens. Make one: charter token create NAME")


@command(
    app,
    "create",
    examples=[
        "charter token create 'nightly build' --days 90",
        "export CHARTER_TOKEN=$(charter token create ci --json | jq -r .secret)",
    ],
)
def create(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    days: Annotated[int, typer.Option("--days", min=1, max=365, help="How long it is valid.")] = 30,
) -> None:
    """Make a token that speaks for you; its secret is shown this once."""
    made = call.client.create("tokens", body={"name": name, "days": days}).body

    def text() -> None:
        say(f"Token {one_line(made['name'])}, valid until {when(made['expires_at'])}.")
        say("Its secret, shown this once; use it as CHARTER_TOKEN:")
        say(one_line(made["secret"]))

    call.answer(made, text)


@command(app, "revoke", examples=["charter token revoke tok_01h…"])
def revoke(
    call: Call, token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id (tok_…).")]
) -> None:
    """End a token at once."""
    call.client.delete("tokens", token)
    call.said({"id": token, "revoked": True}, f"{token} is revoked.")
