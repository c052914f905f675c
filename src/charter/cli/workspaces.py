# house: allow file-length — every option of one noun is declared here
"""`charter workspace …`: ask for workspaces, look at them, end them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from charter.cli import waiting, workspace_use
from charter.cli.arguments import given, mib, pairs, seconds
from charter.cli.command import All, Call, Limit, Yes, command, noun
from charter.cli.errors import ExitCode
from charter.cli.explain import suggestion
from charter.cli.show import decision, table
from charter.cli.text import (
    amount,
    amounts,
    dimension_word,
    joined,
    one_line,
    printable,
    remark,
    say,
    when,
)
from charter.cli.text import pairs as show_pairs

app = noun("Create, use and end workspaces.")

# A local sandbox needs well under a second; a cluster may have to fetch an image.
_WAIT_SECONDS: Final = 120.0

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.")]
NewName = Annotated[
    str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")
]
Template = Annotated[
    str,
    typer.Option("--template", "-t", help="NAME or NAME@VERSION; see charter template list."),
]
Size = Annotated[str, typer.Option("--size", "-s", help="A named size; see charter size list.")]
Vcpu = Annotated[
    int | None, typer.Option("--vcpu", "--cpu", min=1, help="Virtual CPUs, in place of the size's.")
]
Memory = Annotated[
    str | None, typer.Option("--memory", help="Memory, such as 8GiB, in place of the size's.")
]
Disk = Annotated[
    str | None, typer.Option("--disk", help="Disk, such as 40GiB, in place of the size's.")
]
Gpu = Annotated[int | None, typer.Option("--gpu", min=0, help="GPUs, in place of the size's.")]
Team = Annotated[
    str | None, typer.Option("--team", help="Whose quota; needed when you are in several teams.")
]
Project = Annotated[str | None, typer.Option("--project", help="The project it is for.")]
Network = Annotated[
    str | None, typer.Option("--network", help="none (the default) or host, where policy allows.")
]
Egress = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-egress", metavar="HOST", help="A host it may reach; repeat it for several."
    ),
]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label; repeatable."),
]
Justification = Annotated[
    str | None, typer.Option("--justification", "-m", help="Why you need it; approvers read it.")
]
Ticket = Annotated[
    str | None, typer.Option("--ticket", metavar="TICKET", help="The ticket that it belongs to.")
]
Duration = Annotated[
    str | None,
    typer.Option("--for", metavar="SPAN", help="How long an approval is wanted: 4h, 2d, 1w."),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is so.")]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0, metavar="SECONDS", help="How long to wait at most.")
]


def _request(
    *,
    name: str,
    template: str,
    size: str,
    vcpu: int | None,
    memory: str | None,
    disk: str | None,
    gpu: int | None,
    team: str | None,
    project: str | None,
    network: str | None,
    allow_egress: list[str] | None,
    label: list[str] | None,
    justification: str | None,
    ticket: str | None,
    duration: str | None,
) -> dict[str, object]:
    return given(
        {
            "name": name,
            "template": template,
            "size": size,
            "vcpu": vcpu,
            "memory_mib": mib(memory, "--memory"),
            "disk_mib": mib(disk, "--disk"),
            "gpu": gpu,
            "team": team,
            "project": project,
            "network": network,
            "egress_allowlist": allow_egress,
            "labels": pairs(label, "--label") or None,
            "justification": justification,
            "ticket": ticket,
            "duration_seconds": seconds(duration, "--for"),
        }
    )


@command(
    app,
    "preview",
    examples=[
        "charter workspace preview api --template python --size large",
        "charter workspace preview api --template python --vcpu 40 --json",
    ],
)
def preview(
    call: Call,
    *,
    name: NewName,
    template: Template,
    size: Size = "small",
    vcpu: Vcpu = None,
    memory: Memory = None,
    disk: Disk = None,
    gpu: Gpu = None,
    team: Team = None,
    project: Project = None,
    network: Network = None,
    allow_egress: Egress = None,
    label: Label = None,
    justification: Justification = None,
    ticket: Ticket = None,
    duration: Duration = None,
) -> None:
    """Show what would be decided about a workspace; nothing is stored or reserved.

    Ends with 0 if it would be allowed, 3 if it would need an approval, 1 if it would be denied.
    """
    body = _request(
        name=name,
        template=template,
        size=size,
        vcpu=vcpu,
        memory=memory,
        disk=disk,
        gpu=gpu,
        team=team,
        project=project,
        network=network,
        allow_egress=allow_egress,
        label=label,
        justification=justification,
        ticket=ticket,
        duration=duration,
    )
    found = call.client.post("workspaces", "preview", body=body).body

    def text() -> None:
        say(f"{one_line(name)}: {amounts(found['amounts'])}")
        decision(found["decision"])
        if found["suggestion"] is not None:
            say("smallest change that passes:", *suggestion(found["suggestion"]))
        if found["quota"]:
            rows = [
                (
                    q["scope"],
                    dimension_word(q["dimension"]),
                    *(amount(q["dimension"], q[k]) for k in ("used", "after", "limit")),
                )
                for q in found["quota"]
            ]
            table(("QUOTA", "OF", "USED", "AFTER", "LIMIT"), rows)

    call.answer(found, text)
    effect = found["decision"]["effect"]
    if effect == "require_approval":
        raise typer.Exit(ExitCode.APPROVAL_REQUIRED)
    if effect == "deny":
        raise typer.Exit(ExitCode.REFUSED)


@command(
    app,
    "create",
    examples=[
        "charter workspace create api --template python",
        "charter workspace create train --template python --vcpu 40 -m 'nightly training run'",
    ],
)
def create(
    call: Call,
    *,
    name: NewName,
    template: Template,
    size: Size = "small",
    vcpu: Vcpu = None,
    memory: Memory = None,
    disk: Disk = None,
    gpu: Gpu = None,
    team: Team = None,
    project: Project = None,
    network: Network = None,
    allow_egress: Egress = None,
    label: Label = None,
    justification: Justification = None,
    ticket: Ticket = None,
    duration: Duration = None,
    wait: Wait = True,
    timeout: Timeout = _WAIT_SECONDS,
    idempotency_key: Annotated[
        str | None,
        typer.Option(help="Makes repeating this very command harmless; random by default."),
    ] = None,
) -> None:
    """Create a workspace and wait until it runs.

    Where an approval is needed, the request is kept, its id is shown, and the exit code is 3.
    """
    body = _request(
        name=name,
        template=template,
        size=size,
        vcpu=vcpu,
        memory=memory,
        disk=disk,
        gpu=gpu,
        team=team,
        project=project,
        network=network,
        allow_egress=allow_egress,
        label=label,
        justification=justification,
        ticket=ticket,
        duration=duration,
    )
    answer = call.client.create("workspaces", body=body, key=idempotency_key)
    _outcome(call, answer.body, "running" if wait else None, timeout)


def _outcome(call: Call, outcome: dict[str, Any], wanted: str | None, timeout: float) -> None:
    """What a request came to: the workspace (once it is as wanted), or what it waits for."""
    workspace = outcome.get("workspace")
    waits = outcome.get("approval")
    if workspace is not None and wanted is not None and waits is None:
        outcome["workspace"] = workspace = waiting.until(call.client, workspace, wanted, timeout)

    def text() -> None:
        reasons = outcome["decision"]
        if reasons["violations"] or reasons["obligations"] or waits is not None:
            decision(reasons)
        if waits is not None:
            say(f"Waits for an approval: {one_line(waits['id'])}, until {when(waits['deadline'])}.")
            say(f"Follow it: charter approval show {one_line(waits['id'])}")
        if workspace is not None:
            say(f"{one_line(workspace['name'])} is {one_line(workspace['state'])}.")
            _notices(workspace)

    call.answer(outcome, text)
    if waits is not None:
        raise typer.Exit(ExitCode.APPROVAL_REQUIRED)


def _notices(workspace: Mapping[str, Any]) -> None:
    for notice in workspace.get("notices") or ():
        say(f"  note: {one_line(notice)}")


@command(
    app,
    "list",
    examples=[
        "charter workspace list",
        "charter workspace list --mine --state running",
        "charter workspace list --all --json | jq -r '.items[].name'",
    ],
)
def list_(
    call: Call,
    mine: Annotated[bool, typer.Option("--mine", help="Only your own.")] = False,
    state: Annotated[
        str | None, typer.Option("--state", help="Only those in this state, such as running.")
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", "-q", help="Only those whose name contains this.")
    ] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Also those that are gone.")] = False,
    limit: Limit = 100,
    all_: All = False,
) -> None:
    """List the workspaces that you may see."""
    page = call.client.page(
        "workspaces",
        limit=None if all_ else limit,
        query={
            "owner": "me" if mine else None,
            "state": state,
            "q": search,
            "deleted": "true" if deleted else None,
        },
    )
    filtered = mine or state is not None or search is not None

    def text(items: list[Any]) -> None:
        table(
            ("NAME", "STATE", "OWNER", "TEMPLATE", "SIZE", "VCPU", "MEMORY", "CREATED", "ID"),
            [
                (
                    w["name"],
                    w["state"],
                    w["owner"] + (" (agent)" if w["owner_kind"] == "agent" else ""),
                    w["template"],
                    w["size"],
                    w["vcpu"],
                    amount("memory_mib", w["memory_mib"]),
                    when(w["created_at"]),
                    w["id"],
                )
                for w in items
            ],
        )

    call.listing(
        page,
        text,
        empty="No workspace matches."
        if filtered
        else "No workspaces yet. Create one: charter workspace create NAME --template python",
    )


@command(app, "show", examples=["charter workspace show api", "charter workspace show api --json"])
def show(call: Call, name: Name) -> None:
    """Show a workspace: what it should be, and what was last seen of it."""
    w = call.client.get("workspaces", name)

    def text() -> None:
        egress = w["egress_allowlist"]
        show_pairs(
            [
                ("name", w["name"]),
                ("id", w["id"]),
                ("state", _state(w)),
                ("wanted", w["desired"]),
                ("observed", f"{w['observed']} (generation {w['generation']})"),
                ("owner", f"{w['owner']} ({w['owner_kind']})"),
                ("team", w["team_id"]),
                ("project", w["project_id"]),
                ("agent", w["agent_id"]),
                ("tier", w["tier"]),
                ("template", w["template"]),
                ("size", f"{w['size']}: {amounts(w)}"),
                ("network", w["network"]),
                ("may reach", None if egress is None else joined(egress, "nothing")),
                ("labels", joined((f"{k}={v}" for k, v in w["labels"].items()), "")),
                ("provider", w["provider"]),
                ("created", when(w["created_at"])),
                ("started", when(w["started_at"])),
                ("stopped", when(w["stopped_at"]) if w["stopped_at"] else None),
                ("last active", _activity(w)),
                ("stops when idle", when(w["warned_for"]) if w["warned_for"] else None),
                ("extended until", when(w["extended_until"]) if w["extended_until"] else None),
            ]
        )
        _notices(w)

    call.answer(w, text)


def _state(workspace: Mapping[str, Any]) -> str:
    """The state, and its reason where that says more."""
    state, reason = str(workspace["state"]), str(workspace["state_reason"])
    return state if reason.strip(".").lower() == state else f"{state}: {reason}".rstrip(": ")


def _activity(workspace: Mapping[str, Any]) -> str:
    signal = workspace["last_activity_signal"]
    return when(workspace["last_activity_at"]) + (f" ({signal})" if signal else "")


@command(app, "start", examples=["charter workspace start api"])
def start(
    call: Call,
    name: Name,
    *,
    justification: Justification = None,
    ticket: Ticket = None,
    duration: Duration = None,
    wait: Wait = True,
    timeout: Timeout = _WAIT_SECONDS,
) -> None:
    """Start a stopped workspace and wait until it runs."""
    body = given(
        {
            "justification": justification,
            "ticket": ticket,
            "duration_seconds": seconds(duration, "--for"),
        }
    )
    answer = call.client.post("workspaces", name, "start", body=body)
    _outcome(call, answer.body, "running" if wait else None, timeout)


@command(
    app, "stop", examples=["charter workspace stop api", "charter workspace stop api --no-wait"]
)
def stop(
    call: Call,
    name: Name,
    justification: Justification = None,
    wait: Wait = True,
    timeout: Timeout = _WAIT_SECONDS,
) -> None:
    """Stop a workspace; its home is kept."""
    body = given({"justification": justification})
    answer = call.client.post("workspaces", name, "stop", body=body)
    _outcome(call, answer.body, "stopped" if wait else None, timeout)


@command(
    app,
    "extend",
    examples=["charter workspace extend api", "charter workspace extend api -m 'long migration'"],
)
def extend(call: Call, name: Name, justification: Justification = None) -> None:
    """Push the idle stop away; beyond the free extensions a justification is needed."""
    body = given({"justification": justification})
    outcome = call.client.post("workspaces", name, "extend", body=body).body
    _outcome(call, outcome, None, 0)
    workspace = outcome.get("workspace") or {}
    if not call.json and workspace.get("extended_until"):
        say(f"Not stopped for idleness before {when(workspace['extended_until'])}.")


@command(
    app, "delete", examples=["charter workspace delete api", "charter workspace delete api -y"]
)
def delete(
    call: Call,
    name: Name,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = _WAIT_SECONDS,
) -> None:
    """Delete a workspace with its home and all files in it."""
    call.confirm(f"Delete workspace {name} and all its files?", yes=yes)
    workspace = call.client.get("workspaces", name)
    outcome = call.client.delete("workspaces", workspace["id"]).body
    decided = outcome if isinstance(outcome, dict) else {}
    waits = decided.get("approval")
    if waits is not None:
        _outcome(call, decided, None, 0)
        return
    workspace = decided.get("workspace") or workspace
    if wait:
        workspace = waiting.until_gone(call.client, workspace, timeout)
    call.said({**decided, "workspace": workspace}, f"{printable(workspace['name'])} is deleted.")
    if not wait:
        remark("It is being deleted; charter workspace list shows when it is gone.")


workspace_use.register(app)
