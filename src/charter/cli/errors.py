"""How a command ends badly: one exception, one exit code, one way to say it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from charter.cli.show import reasons
from charter.cli.text import printable, remark
from charter.core.kernel.errors import CharterError


class ExitCode(IntEnum):
    """What a script may rely on. `workspace exec` ends with the code of its own command instead."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    APPROVAL_REQUIRED = 3
    NOT_SIGNED_IN = 4
    UNAVAILABLE = 5


MEANINGS: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.REFUSED: "refused by policy, or failed",
    ExitCode.USAGE: "the command line could not be understood",
    ExitCode.APPROVAL_REQUIRED: "waits for an approval",
    ExitCode.NOT_SIGNED_IN: "not signed in",
    ExitCode.UNAVAILABLE: "the server or something it needs cannot be reached",
}

_UNAUTHENTICATED: Final = 401
# A server, or a proxy in front of it, that is not able to answer at this moment.
_OUT_OF_ORDER: Final = frozenset({502, 503, 504})


class CommandError(Exception):
    """A command's refusal or failure. `decision` is the decision document behind it, if any."""

    def __init__(
        self,
        message: str,
        *,
        fix: str,
        code: str,
        exit_code: ExitCode = ExitCode.REFUSED,
        status: int | None = None,
        title: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.code = code
        self.exit_code = exit_code
        self.status = status
        self.title = title
        self.details = dict(details or {})

    @property
    def decision(self) -> Mapping[str, Any] | None:
        """The decision that the server sent along."""
        decision = self.details.get("decision")
        return decision if isinstance(decision, Mapping) else None

    def as_problem(self) -> dict[str, Any]:
        """The problem document of RFC 9457; without a status when no server was involved."""
        document: dict[str, Any] = {
            "type": f"urn:charter:problem:{self.code}",
            "title": self.title or MEANINGS[self.exit_code].capitalize(),
        }
        if self.status is not None:
            document["status"] = self.status
        return {
            **document,
            "code": self.code,
            "detail": self.message,
            "fix": self.fix,
            "details": self.details,
        }


def usage(message: str, fix: str) -> CommandError:
    """The error of a command line that makes no sense."""
    return CommandError(message, fix=fix, code="usage", exit_code=ExitCode.USAGE)


def exit_code_of(status: int, code: str) -> ExitCode:
    """The exit code for a server's refusal."""
    if status == _UNAUTHENTICATED:
        return ExitCode.NOT_SIGNED_IN
    if status in _OUT_OF_ORDER:
        return ExitCode.UNAVAILABLE
    return ExitCode.APPROVAL_REQUIRED if code == "approval-required" else ExitCode.REFUSED


def from_charter(error: CharterError) -> CommandError:
    """The command's error for one that a part on this machine raised."""
    return CommandError(
        error.message,
        fix=error.fix,
        code=error.code,
        exit_code=exit_code_of(error.status, error.code),
        status=error.status,
        details=error.details,
    )


def report(error: CommandError, *, as_json: bool) -> None:
    """Say it on standard error."""
    if as_json:
        remark(json.dumps(error.as_problem(), indent=2, default=str))
        return
    lines = [f"error: {printable(error.message)}"]
    if error.fix:
        lines.append(f"next:  {printable(error.fix)}")
    lines.append(f"code:  {printable(error.code)}")
    if error.decision is not None:
        if error.decision.get("id"):
            known_as = printable(error.decision["id"])
            lines.append(f"why:   charter explain last (or: charter explain {known_as})")
        lines += reasons(error.decision, told=f"{error.message} {error.fix}", stream=sys.stderr)
    remark(*lines)
