"""`charter scim …`: connect a directory (Okta, Entra ID, …) that provisions people and teams."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.command import All, Call, Limit, Yes, command, noun
from charter.cli.errors import usage
from charter.cli.show import table
from charter.cli.text import one_line, say, when

app = noun("Directories that provision people and teams.")
token_app = noun("The tokens that directories provision with.")
app.add_typer(token_app, name="token")

Directory = Annotated[
    str, typer.Option("--directory", help="Which directory, such as okta; people are kept by it.")
]


@command(token_app, "list", examples=["charter scim token list"])
def list_(call: Call, limit: Limit = 100, all_: All = False) -> None:
    """List the tokens; their secrets are not kept and cannot be shown."""
    page = call.client.page("scim", "tokens", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("NAME", "DIRECTORY", "STATE", "EXPIRES", "LAST USED", "ID"),
            [
                (
                    t["name"],
                    t["directory"],
                    "revoked" if t["revoked_at"] else "live",
                    when(t["expires_at"]),
                    when(t["last_used_at"]),
                    t["id"],
                )
                for t in items
            ],
        )

    call.listing(
        page, text, empty="No directory. Connect one: charter scim token create NAME --directory D"
    )


@command(
    token_app,
    "create",
    examples=["charter scim token create okta-2027 --directory okta --days 365"],
)
def create(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call the token.")],
    directory: Directory,
    days: Annotated[int, typer.Option("--days", min=1, help="How long it is valid.")] = 365,
) -> None:
    """Make a token for a directory; its secret is shown this once."""
    body = {"name": name, "directory": directory, "days": days}
    # No idempotency key: the secret of a repeated request could not be given again.
    made = call.client.post("scim", "tokens", body=body).body

    def text() -> None:
        say(
            f"{one_line(made['name'])} provisions for {one_line(made['directory'])} "
            f"until {when(made['expires_at'])}."
        )
        say(f"Base URL:     {one_line(made['url'])}")
        say("Bearer token, shown this once:")
        say(one_line(made["secret"]))

    call.answer(made, text)


@command(token_app, "revoke", examples=["charter scim token revoke okta-2026 --yes"])
def revoke(
    call: Call,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its name or id (scm_…).")],
    yes: Yes = False,
) -> None:
    """End a token at once; what it provisioned stays."""
    call.confirm(f"Revoke {token}?", yes=yes)
    made = call.client.post("scim", "tokens", token, "revoke").body
    document = made if isinstance(made, dict) else {"name": token}
    call.said(document, f"{one_line(document['name'])} is revoked.")


@command(
    app,
    "adopt",
    examples=[
        "charter scim adopt okta --person dana",
        "charter scim adopt okta --team payments",
    ],
)
def adopt(
    call: Call,
    directory: Annotated[str, typer.Argument(metavar="DIRECTORY", help="Which directory.")],
    person: Annotated[str | None, typer.Option("--person", help="Handle or id.")] = None,
    team: Annotated[str | None, typer.Option("--team", help="Name or id.")] = None,
) -> None:
    """Hand somebody, or a team, that is kept here over to a directory."""
    if (person is None) == (team is None):
        raise usage("Name one person or one team.", "charter scim adopt DIRECTORY --person HANDLE")
    kind = "person" if team is None else "team"
    body = {"directory": directory, "kind": kind, "ref": person or team}
    made = call.client.post("scim", "adoptions", body=body).body
    call.said(
        made, f"{one_line(made['name'])} is kept by {one_line(made['directory'])} from now on."
    )
