"""`charter enforcement-point …`: clusters, OPAs and AuthZEN clients that ask Charter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from charter.cli.arguments import one_of
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.show import table
from charter.cli.text import joined, one_line, pairs, remark, say, when, yes_no

app = noun("Clusters and engines that ask Charter.")

Point = Annotated[str, typer.Argument(metavar="POINT", help="Its name or id (pep_…).")]


def _follows(point: Mapping[str, Any]) -> str | None:
    """Whether the point decides by the bundle in force, in words."""
    if point["drift"] is None:
        return None
    return "no: another bundle" if point["drift"] else "yes"


def _state(point: Mapping[str, Any]) -> str:
    return "revoked" if point["revoked_at"] else "live"


def _show(point: Mapping[str, Any]) -> None:
    settings = point["settings"]
    status = point["last_status"] or {}
    pairs(
        [
            ("name", point["name"]),
            ("kind", point["kind"]),
            ("id", point["id"]),
            ("state", _state(point)),
            ("obligations", joined(settings.get("obligations", []), "none")),
            ("own agents", yes_no(bool(settings.get("own_agents", False)))),
            ("registered", f"{when(point['created_at'])} by {point['created_by']}"),
            ("token since", when(point["rotated_at"] or point["created_at"])),
            ("old token until", when(point["previous_until"])),
            ("last seen", when(point["last_seen_at"])),
            ("last report", when(point["last_status_at"])),
            ("follows", _follows(point)),
            ("bundle", status.get("active_revision")),
            ("errors", joined(status.get("errors", []), "")),
        ]
    )


@command(app, "list", examples=["charter enforcement-point list"])
def list_(call: Call, limit: Limit = 100, all_: All = False) -> None:
    """List the points, with whether they follow the bundle in force."""
    page = call.client.page("enforcement-points", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("NAME", "KIND", "STATE", "LAST SEEN", "FOLLOWS", "ID"),
            [
                (
                    p["name"],
                    p["kind"],
                    _state(p),
                    when(p["last_seen_at"]),
                    _follows(p),
                    p["id"],
                )
                for p in items
            ],
        )

    call.listing(
        page, text, empty="No points. Register one: charter enforcement-point register NAME"
    )


@command(app, "show", examples=["charter enforcement-point show edge-opa"])
def show(call: Call, point: Point) -> None:
    """Show one point and its last report."""
    found = call.client.get("enforcement-points", point)
    call.answer(found, lambda: _show(found))


def _token(made: Mapping[str, Any]) -> None:
    _show(made)
    say("Its token, shown this once:")
    say(one_line(made["token"]))


@command(
    app,
    "register",
    examples=[
        "charter enforcement-point register edge-opa --kind opa",
        "charter enforcement-point register gateway --kind authzen --obligation redact",
        "charter enforcement-point register bastion --kind authzen --project ledger",
    ],
)
def register(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    kind: Annotated[str, typer.Option("--kind", help="kubernetes, opa or authzen.")],
    obligation: Annotated[
        list[str] | None,
        typer.Option("--obligation", help="A type of obligation that it can carry out; repeat."),
    ] = None,
    project: Annotated[
        list[str] | None,
        typer.Option("--project", help="Before whose production it stands; repeatable."),
    ] = None,
    own_agents: Annotated[
        bool,
        typer.Option("--own-agents", help="Trust it to bring agents that Charter does not know."),
    ] = False,
) -> None:
    """Register a point; its token is shown this once."""
    one_of(kind, "--kind", ("kubernetes", "opa", "authzen"))
    settings: dict[str, Any] = {}
    if obligation:
        settings["obligations"] = obligation
    if project:
        settings["projects"] = project
    if own_agents:
        settings["own_agents"] = True
    # No idempotency key: the token of a repeated request could not be given again.
    body = {"name": name, "kind": kind, "settings": settings}
    made = call.client.post("enforcement-points", body=body).body
    call.answer(made, lambda: _token(made))


@command(
    app,
    "rotate",
    examples=[
        "charter enforcement-point rotate edge-opa",
        "charter enforcement-point rotate edge-opa --grace 0",
    ],
)
def rotate(
    call: Call,
    point: Point,
    grace: Annotated[
        int,
        typer.Option(
            "--grace",
            min=0,
            max=604_800,
            help="Seconds for which the old token stays valid; 0 ends it at once.",
        ),
    ] = 3600,
) -> None:
    """Give a point a new token; the old one stays valid for a while."""
    made = call.client.post(
        "enforcement-points", point, "rotate", body={"grace_seconds": grace}
    ).body
    call.answer(made, lambda: _token(made))


@command(app, "revoke", examples=["charter enforcement-point revoke edge-opa --yes"])
def revoke(
    call: Call,
    point: Point,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End a point for ever: its next request is refused."""
    call.confirm(f"Revoke {point}?", yes=yes)
    found = call.client.post("enforcement-points", point, "revoke").body
    call.said(found, f"{one_line(found['name'])} is revoked.")


@command(app, "decisions", examples=["charter enforcement-point decisions edge-opa --limit 20"])
def decisions(call: Call, point: Point, limit: Limit = 50, all_: All = False) -> None:
    """List what an OPA reported to have decided by itself."""
    page = call.client.page("enforcement-points", point, "decisions", limit=None if all_ else limit)

    def text(items: list[Any]) -> None:
        table(
            ("AT", "PATH", "EFFECT", "BUNDLE", "ID"),
            [
                (when(d["at"]), d["path"], d["effect"], d["revision"], d["decision_id"])
                for d in items
            ],
        )

    call.listing(page, text, empty="Nothing was reported yet.")


@command(
    app,
    "opa-config",
    examples=["charter enforcement-point opa-config edge-opa --token-path /etc/opa/token"],
)
def opa_config(
    call: Call,
    point: Point,
    credential_file: Annotated[
        str, typer.Option("--token-path", help="Where its token will lie on OPA's machine.")
    ] = "/etc/opa/charter-token",
) -> None:
    """Print the configuration file that an OPA is started with; it holds no secret."""
    import yaml  # noqa: PLC0415 — only here

    found = call.client.get(
        "enforcement-points", point, "configuration", query={"token_path": credential_file}
    )

    def text() -> None:
        remark("Save this as a file and start OPA with it: opa run --server --config-file FILE")
        say(yaml.safe_dump(found, sort_keys=False, width=4096).rstrip())

    call.answer(found, text)
