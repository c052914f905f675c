"""`charter template …`: what workspaces are made from, and which of it is approved."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from charter.cli.arguments import given, pairs
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import CommandError, usage
from charter.cli.show import table
from charter.cli.text import joined, one_line, yes_no
from charter.cli.text import pairs as show_pairs

app = noun("What workspaces are made from.")

Reference = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="Such as python@1.2.0.")]


@command(app, "list", examples=["charter template list", "charter template list --approved"])
def list_(
    call: Call,
    approved: Annotated[bool, typer.Option("--approved", help="Only approved ones.")] = False,
    limit: Limit = 100,
    all_: All = False,
) -> None:
    """List templates."""
    # The server knows no such filter: all of them are read, then filtered and cut here.
    page = call.client.page("templates", limit=None if all_ or approved else limit)
    if approved:
        kept = [t for t in page["items"] if t["approved"]]
        shown = kept if all_ else kept[:limit]
        page = {"items": shown, "next": None if len(shown) == len(kept) else shown[-1]["id"]}

    def text(items: list[Any]) -> None:
        table(
            ("TEMPLATE", "APPROVED", "FOR", "TITLE", "USE INSTEAD"),
            [
                (
                    f"{t['name']}@{t['version']}",
                    yes_no(t["approved"]),
                    joined(t["for_kinds"]),
                    t["title"],
                    t["use_instead"],
                )
                for t in items
            ],
        )

    call.listing(
        page,
        text,
        empty="No approved template. See them all: charter template list"
        if approved
        else "No templates yet. Create one: charter template create NAME@1.0.0 --title TITLE",
    )


def _find(call: Call, reference: str) -> dict[str, Any]:
    """The one template that a reference means; without a version it must be the only one."""
    name, at, version = reference.partition("@")
    named = [t for t in call.client.page("templates")["items"] if t["name"] == name]
    found = [t for t in named if not at or t["version"] == version]
    if len(found) == 1:
        return dict(found[0])
    if found:
        versions = joined(f"{name}@{t['version']}" for t in found)
        raise usage(f"{name} has several versions: {versions}.", "Name one of them.")
    raise CommandError(
        f"There is no template {reference}.",
        fix="charter template list shows those that there are.",
        code="not-found",
    )


@command(app, "show", examples=["charter template show python@1.0.0"])
def show(call: Call, template: Reference) -> None:
    """Show a template."""
    t = _find(call, template)

    def text() -> None:
        show_pairs(
            [
                ("template", f"{t['name']}@{t['version']}"),
                ("id", t["id"]),
                ("title", t["title"]),
                ("description", t["description"]),
                ("approved", yes_no(t["approved"])),
                ("use instead", t["use_instead"]),
                ("for", joined(t["for_kinds"])),
                ("environment", "\n".join(f"{k}={v}" for k, v in t["environment"].items())),
            ]
        )

    call.answer(t, text)


@command(
    app,
    "create",
    examples=[
        "charter template create python@1.0.0 --title 'Python 3' --env PIP_NO_CACHE_DIR=1",
        "charter template create bot@1.0.0 --title 'For agents' --for agent",
    ],
)
def create(
    call: Call,
    template: Reference,
    title: Annotated[str, typer.Option("--title", help="One line for people.")],
    description: Annotated[
        str | None, typer.Option("--description", help="What it is good for.")
    ] = None,
    for_kinds: Annotated[
        list[str] | None, typer.Option("--for", help="human or agent; repeatable.")
    ] = None,
    environment: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME=VALUE", help="A variable in it; repeatable."),
    ] = None,
) -> None:
    """Create a template; it cannot be used before it is approved."""
    name, _, version = template.partition("@")
    if not version:
        raise usage(f"{template!r} has no version.", f"Write it as {name}@1.0.0.")
    body = given(
        {
            "name": name,
            "version": version,
            "title": title,
            "description": description,
            "for_kinds": for_kinds,
            "environment": pairs(environment, "--env") or None,
        }
    )
    made = call.client.create("templates", body=body).body
    reference = f"{one_line(made['name'])}@{one_line(made['version'])}"
    call.said(
        made,
        f"{reference} is created, not approved. Approve it: charter template approve {reference}",
    )


def _set_approval(call: Call, reference: str, body: dict[str, object]) -> None:
    found = _find(call, reference)
    full = f"{found['name']}@{found['version']}"
    answer = call.client.post("templates", full, "approval", body=body).body
    word = "approved" if body["approved"] else "no longer approved"
    call.said(answer, f"{one_line(full)} is {word}.")


@command(app, "approve", examples=["charter template approve python@1.0.0"])
def approve(call: Call, template: Reference) -> None:
    """Approve a template for use."""
    _set_approval(call, template, {"approved": True})


@command(
    app, "withdraw", examples=["charter template withdraw python@1.0.0 --use-instead python-next"]
)
def withdraw(
    call: Call,
    template: Reference,
    use_instead: Annotated[
        str | None, typer.Option("--use-instead", help="What people are pointed to.")
    ] = None,
) -> None:
    """Withdraw the approval; running workspaces are kept, new ones are refused."""
    _set_approval(call, template, given({"approved": False, "use_instead": use_instead}))
