"""`charter login|logout|whoami`: who this command line speaks for."""

from __future__ import annotations

import getpass
import platform
import re
import secrets
import sys
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from charter.cli.client import Client
from charter.cli.command import Call, command
from charter.cli.errors import CommandError, ExitCode, usage
from charter.cli.profile import Saved, Target, forget, is_loopback, normalised, save, target
from charter.cli.text import joined, one_line, pairs, printable, remark, say, when
from charter.core.access.sign_in_attempt import challenge_of

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_LONGEST_NAME: Final = 200  # of a token, as the API takes it
_LINK: Final = re.compile(r"charter_lnk_[0-9a-z]{26}_[A-Za-z0-9_-]{43}")
_TOKEN: Final = re.compile(r"^charter_pat_[0-9a-z]{26}_[A-Za-z0-9_-]{43}$")


@command(
    app,
    "login",
    examples=[
        "charter login",
        "charter login --link 'http://127.0.0.1:8470/sign-in?link=charter_lnk_…'",
        "charter login --link - < link.txt",
        "charter login --step-up",
    ],
)
def login(
    call: Call,
    link: Annotated[
        str | None,
        typer.Option(
            "--link",
            metavar="LINK",
            help="The one-time link, or a personal token. - reads it from standard input;"
            " without this option it is asked for.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="How the new token is called in your list.")
    ] = None,
    step_up: Annotated[
        bool,
        typer.Option(
            "--step-up",
            help="Confirm that it is you: a fresh token in place of the saved one.",
        ),
    ] = False,
    allow_http: Annotated[
        bool,
        typer.Option("--allow-http", help="Sign in at another machine without encryption."),
    ] = False,
) -> None:
    """Sign in with a one-time link or in a browser, and keep the token for later commands.

    Where people sign in with a provider, the page for it is shown, and its code is asked for. Link
    or code is exchanged for a personal token, which is saved for this user of this machine only.
    Before privileged actions Charter may ask for a fresh proof that it is you: take a link from the
    portal (Account, Another device), where you confirm it, and give it to charter login --step-up.
    """
    before = _saved(call, link) if step_up else None
    verifier = None if step_up or link is not None else _offer_browser(call)
    text = _secret(call, link)
    url = _address(call, text)
    if url.startswith("http://") and not is_loopback(url) and not allow_http:
        raise CommandError(
            f"{url} is another machine and the connection to it is not encrypted: whoever is in"
            " between could read your token.",
            fix="Use its https address; or add --allow-http if the network is yours alone.",
            code="insecure-url",
        )
    token, expires_at = text, None
    if not _TOKEN.match(text):
        name = name or f"command line on {platform.node()}"[:_LONGEST_NAME]
        with Client(Target(url, None, None)) as client:
            shown = {"link": _bare(text), "token_name": name}
            shown |= {"verifier": verifier} if verifier else {}
            made = client.post("sign-in", body=shown, signed_in=False).body
        token, expires_at = str(made["secret"]), made["expires_at"]
    with Client(Target(url, token, None)) as client:
        me = client.get("me")
        if before is not None and (url, me["handle"]) != (before.url, before.handle):
            client.post("sign-out")
            raise CommandError(
                f"That was a link of {one_line(me['handle'])} at {url}, and you are"
                f" {one_line(before.handle)} at {before.url}.",
                fix="Take one from your own account page; or sign in anew: charter login.",
                code="somebody-elses-link",
            )
    if before is not None:
        _revoke(before)
    file = save(Saved(url, token, str(me["handle"])))
    answer = {"url": url, "handle": me["handle"], "expires_at": expires_at, "file": str(file)}

    def tell() -> None:
        until = f" until {when(expires_at)}" if expires_at else ""
        say(f"Signed in at {url} as {one_line(me['handle'])}{until}.")

    call.answer(answer, tell)


def _saved(call: Call, link: str | None) -> Saved:
    """The sign-in that a step-up replaces; says where the link for it comes from."""
    found = target(call.url)
    if found.saved is None:
        raise usage(
            f"No sign-in is saved for {found.url}, so there is nothing to confirm."
            if found.token is None
            else "CHARTER_TOKEN holds the token, and this cannot replace it there.",
            "Sign in: charter login. A token from elsewhere is replaced by a new one:"
            " charter token create.",
        )
    if link is None:
        remark(f"Open {found.url}/account, choose Another device, and paste its link here.")
    return found.saved


def _revoke(saved: Saved) -> None:
    """End the token that a fresh one replaces; one that is dead already is no trouble."""
    try:
        with Client(Target(saved.url, saved.token, saved)) as client:
            client.post("sign-out")
    except CommandError as error:
        if error.exit_code is not ExitCode.NOT_SIGNED_IN:
            remark(f"The old token could not be revoked: {printable(error.message)}")


def _offer_browser(call: Call) -> str | None:
    """Where people sign in with a provider, show the page for it; the secret of its code."""
    found = target(call.url)
    if call.json or not sys.stdin.isatty():
        return None
    try:
        with Client(Target(found.url, None, None)) as client:
            ways = client.get("sign-in", "providers", signed_in=False)["items"]
    except CommandError:
        return None  # a link may lead to another server, or to this one later
    if not ways:
        return None
    verifier = secrets.token_urlsafe(32)
    labels = joined(one_line(way["label"]) for way in ways)
    remark(
        f"To sign in with {labels}, open this page in a browser and paste the code that it shows:"
        f"\n  {found.url}/sign-in/command-line?challenge={challenge_of(verifier)}"
    )
    return verifier


def _secret(call: Call, link: str | None) -> str:
    if link is None:
        if call.json or not sys.stdin.isatty():
            raise usage(
                "There is nobody here to ask for the link.",
                "Give it with --link LINK, or --link - to read standard input.",
            )
        link = getpass.getpass("Code, sign-in link or token (not shown): ")
    elif link == "-":
        link = sys.stdin.readline()
    link = link.strip()
    if not (_LINK.search(link) or _TOKEN.match(link)):
        raise usage(
            "That is neither a sign-in link nor a personal token; it may be incomplete.",
            "Copy the whole link; ./dev up prints one, and so does charter person link HANDLE.",
        )
    return link


def _bare(link: str) -> str:
    """The secret in a link, whatever stands around it."""
    found = _LINK.search(link)
    return link if found is None else found.group()


def _address(call: Call, link: str) -> str:
    """The server: the named one, else the one that the link leads to."""
    parts = urlsplit(link)
    if call.url is None and parts.scheme in {"http", "https"} and parts.netloc:
        return normalised(f"{parts.scheme}://{parts.netloc}")
    return target(call.url).url


@command(app, "logout", examples=["charter logout"])
def logout(call: Call) -> None:
    """Revoke the saved token and forget it."""
    found = target(call.url)
    saved = found.saved
    if saved is None:
        call.said({"url": found.url, "signed_out": False}, f"No sign-in is saved for {found.url}.")
        return
    revoked = True
    try:
        with Client(Target(saved.url, saved.token, saved)) as client:
            client.post("sign-out")
    except CommandError as error:
        revoked = error.exit_code is ExitCode.NOT_SIGNED_IN  # it is dead already
        if not revoked:
            remark(f"The token could not be revoked at the server: {printable(error.message)}")
    forget(saved.url)
    call.said(
        {"url": saved.url, "signed_out": True, "revoked": revoked},
        f"Signed out of {saved.url}."
        if revoked
        else "The token is forgotten here; it is valid until it expires.",
    )


@command(app, "whoami", examples=["charter whoami", "charter whoami --json | jq .permissions"])
def whoami(call: Call) -> None:
    """Show who you are to Charter at this moment, and what you may do."""
    me: dict[str, Any] = call.client.get("me")

    def text() -> None:
        pairs(
            [
                ("you", f"{me['handle']} ({me['kind']})"),
                ("id", me["id"]),
                ("server", call.client.url),
                ("signed in by", me["via"]),
                ("teams", joined((t.get("name", t.get("id")) for t in me["teams"]), "none")),
                ("roles", joined(map(_role, me["roles"]), "none")),
                ("sponsor", me.get("sponsor_id")),
                ("tier", me.get("tier")),
                ("task", me.get("task_id")),
                ("may", joined(me["permissions"], "nothing")),
            ]
        )

    call.answer(me, text)


def _role(role: dict[str, Any]) -> str:
    kind, scope = role.get("scope_kind"), role.get("scope_id") or role.get("scope")
    where = f" in {kind} {scope}" if scope and kind != "organisation" else ""
    return f"{role.get('role')}{where}"
