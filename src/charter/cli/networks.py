"""`charter access networks`: the allowlists of networks, and setting them aside in need."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from charter.cli.arguments import minutes
from charter.cli.command import Call, command
from charter.cli.errors import usage
from charter.cli.machine import StateDir, _part, read_settings
from charter.cli.show import table
from charter.cli.text import joined, one_line, say, when

_DEFAULT_OPENING: Final = "15min"


def register(app: typer.Typer) -> None:
    """Put the command below a noun."""
    command(
        app,
        "networks",
        examples=[
            "charter access networks",
            "charter access networks --check 192.0.2.7",
            "charter access networks --bundle sha256:ab12…",
            'charter access networks --open --reason "The VPN has moved."',
        ],
    )(networks)


def networks(
    call: Call,
    check: Annotated[
        str | None, typer.Option("--check", metavar="ADDRESS", help="Hold this one against them.")
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", metavar="DIGEST", help="Ask about a bundle that is not in force."),
    ] = None,
    open_: Annotated[
        bool,
        typer.Option(
            "--open", help="Set the lists aside for a while. Only on the server's own machine."
        ),
    ] = False,
    close: Annotated[
        bool, typer.Option("--close", help="Let them hold again. Only on the server's own machine.")
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="WHY", help="Why they are set aside; on record.")
    ] = "",
    span: Annotated[
        str, typer.Option("--for", metavar="SPAN", help="How long: 15min, 1h.")
    ] = _DEFAULT_OPENING,
    state_dir: StateDir = None,
) -> None:
    """Show from where requests may come, and which administrators would get in.

    With --open or --close it works on the database of this machine's instance and asks no server:
    for the day on which the lists shut everybody out. It is on record, and every administrator is
    told.
    """
    if open_ and close:
        raise usage("--open and --close are one too many.", "Choose one of them.")
    if open_ or close:
        if check is not None or bundle is not None:
            raise usage("--open and --close take no question.", "Ask without them.")
        _on_this_machine(call, state_dir, None if close else (reason, minutes(span, "--for")))
        return
    found: Any = call.client.get("access", "networks", query={"address": check, "digest": bundle})
    call.answer(found, lambda: _shown(found))


def _on_this_machine(call: Call, state_dir: Any, opening: tuple[str, int] | None) -> None:
    settings = read_settings(state_dir=state_dir)
    wiring, service = _part("charter.wiring"), _part("charter.services.networks")
    with wiring.runtime(settings) as rt:
        if opening is None:
            found = service.put_back(rt)
            call.said(found, "The lists hold again.")
            return
        found = service.set_aside(rt, *opening)
    call.said(
        found,
        f"The lists are set aside until {when(found['until'])}; every administrator is told. "
        "charter access networks --close ends it.",
    )


def _shown(found: dict[str, Any]) -> None:
    if found["open_until"]:
        say(f"Set aside until {when(found['open_until'])}: {one_line(found['open_reason'])}")
    if not found["enforced"]:
        say(f"The rule is switched to {one_line(found['mode'])}: nobody is kept out.")
    if found["lists"]:
        rows = [(each["name"], joined(each["networks"])) for each in found["lists"]]
        table(("LIST", "NETWORKS"), rows)
    else:
        say("Requests may come from everywhere.")
    say(f"You come from {found['your_address'] or 'an address that nobody can tell'}.")
    if found["address"]:
        shut = joined(found["closed"], "")
        say(
            f"{found['address']} is in every list that says something."
            if not shut
            else f"{found['address']} is not in: {shut}. Those whom these are about are refused."
        )
    if found["administrators"]:
        table(
            ("PLATFORM ADMIN", "LAST SIGNED IN FROM", "AT", "GETS IN"),
            [
                (
                    each["person"],
                    each["address"] or "-",
                    when(each["signed_in_at"]) if each["signed_in_at"] else "-",
                    "yes" if each["inside"] else f"no: {joined(each['closed'])}",
                )
                for each in found["administrators"]
            ],
        )
