"""`charter notification …`: what comes by mail, channels of teams, and the outbox."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli.arguments import one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import usage
from charter.cli.show import table
from charter.cli.text import joined, one_line, say, when

app = noun("Mails, channels, and what was sent.")
channel_app = noun("Chats and webhooks of teams.")
app.add_typer(channel_app, name="channel")

Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its name or id (nch_…).")]
_WHEN = ("at-once", "digest", "off")


@command(app, "preferences", examples=["charter notification preferences"])
def preferences(call: Call) -> None:
    """Show where mails for you go, and when each kind comes."""
    found = call.client.get("notifications", "preferences")
    call.answer(found, lambda: _preferences(found))


def _preferences(found: Mapping[str, Any]) -> None:
    address = found["address"] or "nowhere: you have no address"
    say(f"Mails go to {address}." if found["mail"] else "This server sends no mails.")
    table(
        ("KIND", "WHEN", "WHAT"),
        [
            (k["kind"], k["when"] + (" (always)" if k["fixed"] else ""), k["title"])
            for k in found["kinds"]
        ],
    )


@command(
    app,
    "prefer",
    examples=[
        "charter notification prefer approval at-once",
        "charter notification prefer lifecycle off",
    ],
)
def prefer(
    call: Call,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="As preferences lists them.")],
    choice: Annotated[str, typer.Argument(metavar="WHEN", help="at-once, digest or off.")],
) -> None:
    """Choose when a kind of notice comes to you by mail."""
    one_of(choice, "WHEN", _WHEN)
    found = call.client.put("notifications", "preferences", body={"kinds": {kind: choice}}).body
    call.answer(found, lambda: _preferences(found))


@command(app, "test", examples=["charter notification test"])
def test(call: Call) -> None:
    """Send yourself a test mail."""
    made = call.client.post("notifications", "test").body
    call.said(made, f"A test mail is on its way: {one_line(made['delivery'])}.")


@command(
    app,
    "deliveries",
    examples=[
        "charter notification deliveries",
        "charter notification deliveries --state dead --json",
    ],
)
def deliveries(
    call: Call,
    state: Annotated[
        str | None, typer.Option("--state", help="waiting, delivered, dead or skipped.")
    ] = None,
    limit: Limit = 50,
    all_: All = False,
) -> None:
    """List messages that left, wait or failed, newest first."""
    if state is not None:
        one_of(state, "--state", ("waiting", "delivered", "dead", "skipped"))
    query = {} if state is None else {"state": state}
    page = call.client.page(
        "notifications", "deliveries", limit=None if all_ else limit, query=query
    )

    def text(items: list[Any]) -> None:
        table(
            ("AT", "VIA", "TO", "KIND", "STATE", "TRIES", "REASON", "ID"),
            [
                (
                    when(d["created_at"]),
                    d["via"],
                    d["to"],
                    d["kind"],
                    d["state"],
                    str(d["attempts"]),
                    d["reason"],
                    d["id"],
                )
                for d in items
            ],
        )
        for fix in dict.fromkeys(d["fix"] for d in items if d["fix"]):
            say(one_line(fix))

    call.listing(page, text, empty="No messages.")


@command(app, "retry", examples=["charter notification retry dlv_01h…"])
def retry(
    call: Call,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id (dlv_…).")],
) -> None:
    """Try a message again now."""
    found = call.client.post("notifications", "deliveries", delivery, "retry").body
    call.said(found, f"{one_line(found['id'])} is tried again.")


# --- channels ---------------------------------------------------------------------------------
@command(channel_app, "list", examples=["charter notification channel list"])
def list_(call: Call) -> None:
    """List channels, with how the newest message fared."""
    page = call.client.page("notifications", "channels", limit=None)

    def text(items: list[Any]) -> None:
        table(
            ("NAME", "KIND", "FOR", "ADDRESS", "CARRIES", "LAST", "ID"),
            [
                (
                    c["name"],
                    c["kind"],
                    c["team"] or "organisation",
                    c["shown"],
                    joined(c["kinds"]),
                    c["last_state"],
                    c["id"],
                )
                for c in items
            ],
        )

    call.listing(page, text, empty="No channels. Add one: charter notification channel add NAME")


@command(
    channel_app,
    "add",
    examples=[
        "charter notification channel add news --kind slack --url-from address.txt",
        "charter notification channel add siem --kind webhook --url-file siem-address",
    ],
)
def add(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    kind: Annotated[str, typer.Option("--kind", help="slack or webhook.")],
    team: Annotated[
        str | None, typer.Option("--team", help="Whose it is; else the organisation's.")
    ] = None,
    carry: Annotated[
        list[str] | None, typer.Option("--carry", help="A kind of notice; repeat. Else all.")
    ] = None,
    url_from: Annotated[
        Path | None,
        typer.Option("--url-from", metavar="FILE", help="File here with the address; - for stdin."),
    ] = None,
    url_file: Annotated[
        str | None,
        typer.Option("--url-file", metavar="NAME", help="File on the server with the address."),
    ] = None,
    secret_from: Annotated[
        Path | None,
        typer.Option("--secret-from", metavar="FILE", help="File here with the secret."),
    ] = None,
    secret_file: Annotated[
        str | None,
        typer.Option("--secret-file", metavar="NAME", help="File on the server with the secret."),
    ] = None,
) -> None:
    """Add a channel. Its address is a secret, so it comes from a file and is never shown."""
    one_of(kind, "--kind", ("slack", "webhook"))
    body = {
        "name": name,
        "kind": kind,
        "team": team,
        "kinds": carry,
        "url": _content(url_from),
        "url_file": url_file,
        "secret": _content(secret_from),
        "secret_file": secret_file,
    }
    # No idempotency key: a generated secret could not be given again.
    made = call.client.post(
        "notifications", "channels", body={k: v for k, v in body.items() if v is not None}
    ).body

    def text() -> None:
        say(f"{one_line(made['name'])} is added, for {one_line(made['shown'])}.")
        if made["secret"]:
            say("Its secret, shown this once:")
            say(one_line(made["secret"]))
        say(f"Try it: charter notification channel test {one_line(made['name'])}")

    call.answer(made, text)


def _content(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise usage(f"{path} cannot be read: {error}.", "Name a text file.") from error
    return text.strip()


@command(channel_app, "test", examples=["charter notification channel test payments-chat"])
def test_channel(call: Call, channel: Channel) -> None:
    """Send a test message into a channel."""
    made = call.client.post("notifications", "channels", channel, "test").body
    call.said(
        made,
        f"A test message is on its way: {one_line(made['delivery'])}. "
        "What came of it: charter notification deliveries",
    )


@command(channel_app, "remove", examples=["charter notification channel remove payments-chat -y"])
def remove(
    call: Call,
    channel: Channel,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a channel; what waits for it is not sent."""
    call.confirm(f"Remove {channel}?", yes=yes)
    call.client.delete("notifications", "channels", channel)
    call.said({"channel": channel, "removed": True}, f"{one_line(channel)} is removed.")
