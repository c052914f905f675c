"""`charter up|down|status|reset|serve|controllers|demo`: Charter's own processes on this machine.

These commands act on the machine they are typed on and need no server. What runs is named by its
state folder: `--state-dir`, else CHARTER_STATE_DIR, else `.charter` in the current folder.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from charter.cli.command import Call, Yes, command
from charter.cli.errors import CommandError, ExitCode, usage
from charter.cli.profile import forget, normalised, target
from charter.cli.show import Styled, table
from charter.cli.text import coloured, printable, say, when
from charter.core.kernel.errors import CharterError

if TYPE_CHECKING:
    from charter.settings import Settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)

StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="The state folder; else CHARTER_STATE_DIR."),
]
Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on; else CHARTER_HOST.")
]
Port = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65_535, help="Port to listen on; else CHARTER_PORT."),
]

_LINK: Final = re.compile(r"https?://\S+charter_lnk_[\w-]+")


def read_settings(**given: object) -> Settings:
    """The settings of the environment, with what was given on the command line over them."""
    from pydantic import ValidationError  # noqa: PLC0415 — 0.2 s that other commands never need

    from charter.settings import Settings  # noqa: PLC0415

    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    try:
        return Settings(**chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = "CHARTER_" + "__".join(str(part) for part in first["loc"]).upper()
        raise usage(
            f"The setting {name} cannot be used: {first['msg']}.",
            "Correct it; docs/reference/settings.md lists the settings.",
        ) from error


def _part(name: str) -> ModuleType:
    """A part of Charter that only one command needs."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("charter"):
            raise
        raise CommandError(
            f"This installation has no {name}.",
            fix="Install Charter again: ./dev setup.",
            code="part-missing",
            exit_code=ExitCode.UNAVAILABLE,
        ) from error


def _environment(settings: Settings) -> dict[str, str]:
    """What the child processes are to know about the settings of the command line."""
    return {"CHARTER_HOST": settings.host, "CHARTER_PORT": str(settings.port)}


@command(
    app,
    "up",
    examples=["charter up", "charter up --detach", "charter up --detach --port 9000 --json"],
    server=False,
)
def up(
    call: Call,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it running and give the terminal back.")
    ] = False,
    host: Host = None,
    port: Port = None,
    state_dir: StateDir = None,
) -> None:
    """Start Charter on this machine: database, API and portal, controllers.

    Prints the address and, for a new installation, a one-time sign-in link. Without --detach it
    runs until Ctrl-C.
    """
    if call.json and not detach:
        raise usage(
            "charter up runs until it is stopped, so it has no JSON answer.", "Add --detach."
        )
    from charter import supervisor  # noqa: PLC0415 — brings in the database launcher

    settings = read_settings(host=host, port=port, state_dir=state_dir)
    os.environ.update(_environment(settings))  # for what is prepared in this very process

    def prepare(url: str) -> str:
        if _part("charter.store.settled").settled(
            url,
            settings.admin_handle,
            [str(made["name"]) for made in _part("charter.services.starter").STARTER_TEMPLATES],
        ):
            return f"Charter is ready: {settings.url}"
        link = _part("charter.wiring").prepare(settings.model_copy(update={"database_url": url}))
        sign_in = f"\nSign in, once, with: {link}" if link else ""
        return f"Charter is ready: {settings.url}{sign_in}"

    me = (sys.executable, "-m", "charter")
    environment = _environment(settings)
    plan = supervisor.Plan(
        state_dir=settings.state_dir,
        children=(
            supervisor.Child("serve", (*me, "serve"), environment),
            supervisor.Child("controllers", (*me, "controllers"), environment),
        ),
        database_url=settings.database_url,
        prepare=(supervisor.Step("Preparing the database and the organisation", prepare),),
        listen=(settings.host, settings.port),
    )
    said: list[str] = []

    def write(text: str) -> None:
        said.append(text)
        # The address and the link are the answer when there is no JSON; all else is progress.
        sys.stderr.write(text)
        sys.stderr.flush()

    code = supervisor.up(plan, detach=detach, write=write)
    if code:
        if not call.json:
            raise typer.Exit(ExitCode.REFUSED)  # the supervisor has said why
        raise CommandError(
            "Charter did not start: " + printable(" ".join("".join(said).split()[-60:])),
            fix="charter doctor checks this machine.",
            code="not-started",
        )
    if call.json:
        link = _LINK.search("".join(said))
        status = supervisor.status(settings.state_dir)
        call.answer(
            {**status.as_json(), "sign_in_link": link.group() if link else None}, lambda: None
        )


@command(
    app, "down", examples=["charter down", "charter down --state-dir /srv/charter"], server=False
)
def down(call: Call, state_dir: StateDir = None) -> None:
    """Stop what `charter up` started; workspaces that run go on."""
    from charter import supervisor  # noqa: PLC0415 — brings in the database launcher

    folder = read_settings(state_dir=state_dir).state_dir
    ran = supervisor.down(folder, write=_progress)
    call.said({"stopped": ran}, "Charter is stopped." if ran else "Nothing was running.")


@command(
    app,
    "recover",
    examples=["charter recover", "charter recover --person dana --forget-passkeys"],
    server=False,
)
def recover(
    call: Call,
    person: Annotated[
        str | None,
        typer.Option("--person", metavar="HANDLE", help="The administrator; else the first one."),
    ] = None,
    forget_passkeys: Annotated[
        bool, typer.Option("--forget-passkeys", help="Remove their passkeys: all are lost.")
    ] = False,
    state_dir: StateDir = None,
) -> None:
    """Make a one-time link for a platform admin who has no other way in.

    Needs the rights of the installation (its state folder or database), and Charter running. It is
    recorded in the audit trail, and the administrator is told.
    """
    settings = read_settings(state_dir=state_dir)
    made = _part("charter.wiring").recover(settings, person, forget_passkeys=forget_passkeys)

    def text() -> None:
        if made["passkeys_removed"]:
            say(f"Passkeys removed: {made['passkeys_removed']}.")
        say(f"Sign in as {made['handle']}, once, until {when(made['expires_at'])}: {made['url']}")

    call.answer(made, text)


@command(app, "status", examples=["charter status", "charter status --json"], server=False)
def status(call: Call, state_dir: StateDir = None) -> None:
    """Show what runs on this machine; ends with 0 when all of it does, else with 5."""
    from charter import supervisor  # noqa: PLC0415 — brings in the database launcher

    found = supervisor.status(read_settings(state_dir=state_dir).state_dir)

    def text() -> None:
        if found.ready:
            say(f"Charter is {coloured('ready', 'green')}: {found.url}")
        elif any(p.state == "running" for p in found.processes):
            say(f"Charter is {coloured('not ready', 'yellow')}: it starts, or a part is missing.")
        else:
            say(f"Charter does not run on {found.state_dir}. Start it: charter up")
        if found.processes:
            table(
                ("PROCESS", "STATE", "PID", "SINCE", "RESTARTS"),
                [
                    (
                        p.name,
                        _state(p.state),
                        p.pid,
                        None if p.since is None else when(datetime.fromtimestamp(p.since, UTC)),
                        p.restarts,
                    )
                    for p in found.processes
                ],
            )

    call.answer(found.as_json(), text)
    if not found.ready:
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _state(word: str) -> Styled:
    return Styled(coloured(word, "green" if word == "running" else "yellow"))


@command(app, "reset", examples=["charter reset", "charter reset --yes"], server=False)
def reset(call: Call, yes: Yes = False, state_dir: StateDir = None) -> None:
    """Stop Charter and delete all that it keeps here: database, keys, workspaces, logs."""
    from charter import supervisor  # noqa: PLC0415 — brings in the database launcher

    settings = read_settings(state_dir=state_dir)
    folder = settings.state_dir.absolute()
    call.confirm(f"Delete {folder} with its database, keys, audit trail and workspaces?", yes=yes)
    existed = folder.exists()
    supervisor.reset(folder, write=_progress)
    if existed and target(settings.url).saved is not None:
        forget(normalised(settings.url))  # that sign-in died with the database
    call.said(
        {"state_dir": str(folder), "deleted": existed},
        f"{folder} is deleted." if existed else f"There was nothing at {folder}.",
    )


def _progress(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


@command(
    app,
    "serve",
    examples=["charter serve", "charter serve --host 0.0.0.0 --port 8470"],
    server=False,
    json_output=False,
)
def serve(call: Call, host: Host = None, port: Port = None) -> None:  # noqa: ARG001 — see command
    """Run the API and the portal in the foreground; needs the database, which `up` starts."""
    settings = read_settings(host=host, port=port)
    os.environ.update(_environment(settings))
    try:
        _part("charter.server").run(settings)
    except SystemExit as error:
        # The web server ends the process by itself, with codes that mean something else here.
        if error.code:
            raise CommandError(
                "The server did not start; the reason stands above.",
                fix="charter doctor checks this machine.",
                code="not-started",
            ) from error


@command(app, "controllers", examples=["charter controllers"], server=False, json_output=False)
def controllers(call: Call) -> None:  # noqa: ARG001 — every command gets it
    """Run the controllers in the foreground: the loops that make decisions come true."""
    _part("charter.controllers.main").run(read_settings())


@command(app, "demo", examples=["charter demo"], server=False, json_output=False)
def demo(call: Call) -> None:  # noqa: ARG001 — every command gets it
    """Play the guided story against real sandboxes, in an instance that is thrown away after it.

    One line a step; 1 if a step comes out differently from what the story says.
    """
    _finish(_part("charter.demo.main").run())


def _finish(result: object) -> None:
    """End with the exit code that a part's `run` gave, if it gave one."""
    if isinstance(result, int) and result != 0:
        raise typer.Exit(int(result))


def state_folder(settings: Settings) -> Mapping[str, object] | None:
    """The status of this machine's instance, or None when it cannot be read."""
    from charter import supervisor  # noqa: PLC0415 — brings in the database launcher

    try:
        return supervisor.status(settings.state_dir).as_json()
    except (CharterError, OSError):
        return None
