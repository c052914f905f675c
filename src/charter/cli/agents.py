"""`charter agent …`: sponsor agents for one task each, follow them, stop them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from charter.cli import agent_definitions
from charter.cli.agent_key import own_thumbprint
from charter.cli.arguments import given, minutes
from charter.cli.command import All, Call, Limit, command, noun
from charter.cli.errors import ExitCode, usage
from charter.cli.show import approval, decision, table
from charter.cli.text import joined, one_line, pairs, remark, say, when

app = noun("Sponsor agents, and stop them.")

Name = Annotated[str, typer.Argument(metavar="AGENT", help="Its name or id.")]
CredentialFile = Annotated[
    Path | None,
    typer.Option(
        "--credential-file", metavar="FILE", help="Put the credential here (mode 0600), unshown."
    ),
]
Thumbprint = Annotated[
    str | None,
    typer.Option(
        "--thumbprint",
        metavar="SHA256",
        help="Of the agent's public key (RFC 7638): the credential counts only with a proof of it.",
    ),
]


@command(
    app,
    "create",
    examples=[
        "charter agent create fixer --task 'Fix the login test' --repo web/login --for 2h",
        "charter agent create nightly --definition fixer --task 'Mend a test' --repo web/api",
        "charter agent create reader --task 'Find dead code' --tier read-only --json",
    ],
)
def create(
    call: Call,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")
    ],
    task: Annotated[str, typer.Option("--task", help="What it is to do, in one line.")],
    repository: Annotated[
        list[str] | None,
        typer.Option("--repo", "--repository", help="A repository it may use; repeatable."),
    ] = None,
    tier: Annotated[
        str, typer.Option("--tier", help="read-only, sandboxed, standard or trusted.")
    ] = "read-only",
    *,
    team: Annotated[
        str | None, typer.Option("--team", help="Needed when you are in several teams.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="The project it is for.")] = None,
    lifetime: Annotated[
        str, typer.Option("--for", metavar="SPAN", help="Until its deadline: 90min, 2h, 1d.")
    ] = "60min",
    justification: Annotated[
        str | None, typer.Option("--justification", "-m", help="Why; approvers read it.")
    ] = None,
    definition: Annotated[
        str | None,
        typer.Option("--definition", "-d", help="What it is an instance of; see definitions."),
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option("--parent", help="The agent that it works for, where policy allows that."),
    ] = None,
    thumbprint: Thumbprint = None,
    ticket: Annotated[
        str | None, typer.Option("--ticket", metavar="TICKET", help="The ticket it belongs to.")
    ] = None,
    credential_file: CredentialFile = None,
) -> None:
    """Sponsor an agent for one task; you answer for what it does.

    It gets a credential of its own, which is shown once and runs out within minutes; the agent
    renews it by itself. It can never do more than you can.
    """
    body = given(
        {
            "name": name,
            "task": task,
            "repositories": repository or [],
            "tier": tier,
            "team": team,
            "project": project,
            "minutes": minutes(lifetime, "--for"),
            "justification": justification,
            "definition": definition,
            "parent": parent,
            "thumbprint": thumbprint,
            "ticket": ticket,
        }
    )
    found = call.client.create("agents", body=body).body
    _keep(found, credential_file)
    agent, waits = found.get("agent"), found.get("approval")

    def text() -> None:
        if found["decision"]["violations"] or waits is not None:
            decision(found["decision"])
        if agent is not None:
            _describe(agent)
        if found.get("credential"):
            _credential(found["credential"], credential_file)
        if waits is not None:
            say(f"Waits for an approval: {one_line(waits['id'])}, until {when(waits['deadline'])}.")
            say(f"Follow it: charter approval show {one_line(waits['id'])}")

    call.answer(found, text)
    if waits is not None:
        raise typer.Exit(ExitCode.APPROVAL_REQUIRED)


def _keep(found: dict[str, Any], file: Path | None) -> None:
    """Write the credential to a file for its owner's eyes, and take it out of the answer."""
    credential = found.get("credential")
    if file is None or credential is None:
        return
    try:
        file.unlink(missing_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(credential["token"])
    except OSError as error:
        raise usage(
            f"The agent is there, but its credential cannot be written to {file}:"
            f" {error.strerror or error}.",
            "charter agent credential AGENT makes another one.",
        ) from error
    found["credential"] = {**credential, "token": None, "file": str(file)}


def _credential(credential: Mapping[str, Any], file: Path | None) -> None:
    if file is not None:
        say(f"credential:   in {file}, until {when(credential['expires_at'])}")
    else:
        say(f"credential (shown this once, until {when(credential['expires_at'])}):")
        say(one_line(credential["token"]))
    if credential.get("exchange_only"):
        remark(
            "An agent in this tier proves its key with every request. Charter's command line does"
            " so by itself; other clients exchange this credential at /oauth/token first."
        )


def _describe(a: Mapping[str, Any]) -> None:
    pairs(
        [
            ("name", a["name"]),
            ("id", a["id"]),
            ("definition", _definition(a)),
            ("works for", a["parent_id"]),
            ("state", a["state"]),
            ("sponsor", a["sponsor"]),
            ("tier", _tier(a)),
            ("task", f"{a['task']} ({a['task_state']})"),
            ("repositories", joined(a["repositories"])),
            ("deadline", when(a["deadline"])),
            ("workspaces", str(a["workspaces"])),
            ("may now", joined(a["permissions"], "nothing")),
            ("created", when(a["created_at"])),
            ("ended", when(a["ended_at"]) if a["ended_at"] else None),
            ("because", a["end_reason"]),
        ]
    )
    if a["elevations"]:
        say("")
        table(
            ("GIVEN FOR THE TASK", "STATE", "UNTIL", "WHAT"),
            [
                (
                    e["id"],
                    e["state"],
                    when(e["expires_at"]),
                    joined(
                        [*([e["tier"]] if e["tier"] else []), *e["permissions"], *e["repositories"]]
                    ),
                )
                for e in a["elevations"]
            ],
        )


def _tier(a: Mapping[str, Any]) -> str:
    if a["effective_tier"] == a["tier"]:
        return str(a["tier"])
    return f"{a['tier']}, now {a['effective_tier']}"


def _definition(a: Mapping[str, Any]) -> str:
    if a["definition"] is None:
        return "made for this run"
    return f"{a['definition']}, version {a['definition_version']}"


@command(app, "list", examples=["charter agent list", "charter agent list --all --json"])
def list_(
    call: Call,
    state: Annotated[
        str | None, typer.Option("--state", help="Only those in this state, such as active.")
    ] = None,
    limit: Limit = 100,
    all_: All = False,
) -> None:
    """List the agents that you may see."""
    page = call.client.page("agents", limit=None if all_ else limit, query={"state": state})

    def text(items: list[Any]) -> None:
        table(
            ("NAME", "STATE", "TIER", "SPONSOR", "TASK", "DEADLINE", "WORKSPACES", "ID"),
            [
                (
                    a["name"],
                    a["state"],
                    a["tier"],
                    a["sponsor"],
                    a["task"],
                    when(a["deadline"]),
                    a["workspaces"],
                    a["id"],
                )
                for a in items
            ],
        )

    call.listing(
        page,
        text,
        empty="No agents yet. Sponsor one: charter agent create NAME --task 'What it is to do'"
        if state is None
        else "No agent matches.",
    )


@command(app, "show", examples=["charter agent show fixer"])
def show(call: Call, agent: Name) -> None:
    """Show an agent, its task, and what it may do at this moment."""
    found = call.client.get("agents", agent)
    call.answer(found, lambda: _describe(found))


@command(
    app, "kill", examples=["charter agent kill fixer --reason 'it pushes to the wrong branch'"]
)
def kill(
    call: Call,
    agent: Name,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; it stands in the trail.")],
) -> None:
    """Stop an agent at once: its credentials, its processes, its workspaces.

    It asks no question: when this is needed, seconds count. The homes of its workspaces are kept.
    """
    report = call.client.post("agents", agent, "kill", body={"reason": reason}).body

    def text() -> None:
        pairs(
            [
                ("agent", report["agent_id"]),
                ("credentials dead", f"{report['credentials_dead_ms']:.1f} ms"),
                ("processes gone", f"{report['processes_gone_ms']:.1f} ms"),
                ("workspaces stopped", f"{report['workspaces_stopped_ms']:.1f} ms"),
            ]
        )
        for workspace in report["workspaces"]:
            say("  " + joined(f"{k} {_short(v)}" for k, v in workspace.items()))

    call.answer(report, text)


def _short(value: object) -> object:
    return f"{value:.1f}" if isinstance(value, float) else value


@command(
    app,
    "end",
    examples=["charter agent end fixer", "charter agent end fixer --outcome failed"],
)
def end(
    call: Call,
    agent: Name,
    outcome: Annotated[str, typer.Option("--outcome", help="completed or failed.")] = "completed",
) -> None:
    """End an agent's task, and with it the agent."""
    found = call.client.post("agents", agent, "end", body={"outcome": outcome}).body
    call.said(found, f"{one_line(found['name'])} is {one_line(found['state'])}.")


@command(
    app,
    "credential",
    examples=[
        "charter agent credential fixer --credential-file fixer.token",
        "CHARTER_TOKEN=$(cat fixer.token) charter agent credential self --json",
    ],
)
def credential(
    call: Call,
    agent: Name,
    thumbprint: Thumbprint = None,
    credential_file: CredentialFile = None,
) -> None:
    """Make a new credential for an agent (its sponsor), or for yourself (an agent: `self`)."""
    body = given({"thumbprint": thumbprint})
    made = call.client.post("agents", agent, "credential", body=body).body
    found: dict[str, Any] = {"credential": made}
    _keep(found, credential_file)
    made = found["credential"]
    call.answer(made, lambda: _credential(made, credential_file))


@command(app, "key", examples=["charter agent key", "charter agent key --json"], server=False)
def key(call: Call) -> None:
    """Show the thumbprint of this account's key, and make the key if there is none.

    Give it to the sponsor: with --thumbprint, the agent's credentials count only with a proof of
    this key from the start.
    """
    found = own_thumbprint(make=True)
    call.said({"thumbprint": found}, str(found))


@command(
    app,
    "elevate",
    examples=[
        "charter agent elevate fixer --tier standard --reason 'The fix is ready to be proposed'",
        "charter agent elevate self --repo web/shared --reason 'The bug is in the library'",
    ],
)
def elevate(
    call: Call,
    agent: Name,
    reason: Annotated[str, typer.Option("--reason", "-m", help="What for; approvers read it.")],
    tier: Annotated[
        str | None, typer.Option("--tier", help="sandboxed, standard or trusted.")
    ] = None,
    permission: Annotated[
        list[str] | None, typer.Option("--permission", help="A single permission; repeatable.")
    ] = None,
    repository: Annotated[
        list[str] | None,
        typer.Option("--repo", "--repository", help="One more repository; repeatable."),
    ] = None,
) -> None:
    """Ask the team lead for more room for an agent; it ends with the task."""
    body = given(
        {"tier": tier, "permissions": permission, "repositories": repository, "reason": reason}
    )
    outcome = call.client.post("agents", agent, "elevations", body=body).body

    def text() -> None:
        if outcome["approval"] is not None:
            approval(outcome["approval"])
        else:
            say(f"The agent has it until {when(outcome['elevation']['expires_at'])}.")

    call.answer(outcome, text)
    if outcome["approval"] is not None:
        raise typer.Exit(ExitCode.APPROVAL_REQUIRED)


@command(app, "lower", examples=["charter agent lower fixer elv_01h…"])
def lower(
    call: Call,
    agent: Name,
    elevation: Annotated[
        str, typer.Argument(metavar="ELEVATION", help="Its id (elv_…); agent show lists them.")
    ],
) -> None:
    """Take back what an agent was given; what runs beyond its own tier is stopped."""
    found = call.client.post("agents", agent, "elevations", elevation, "revoke").body
    call.answer(found, lambda: _describe(found))


agent_definitions.register(app)
