"""Waiting for a workspace to become what was asked for, by looking at it again and again."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from charter.cli.client import Client
from charter.cli.errors import CommandError
from charter.cli.text import one_line

_FIRST_PAUSE_SECONDS: Final = 0.1  # a local sandbox is up in 0.1 to 0.3 s
_LONGEST_PAUSE_SECONDS: Final = 1.0
_GROWTH: Final = 1.5
_NOT_FOUND: Final = 404
_SILENT_SECONDS: Final = 1.0  # shorter work is over before anybody wonders


def until(client: Client, workspace: Mapping[str, Any], wanted: str, timeout: float) -> Any:
    """The workspace once its state is `wanted`; an error when it failed or took too long."""

    def look() -> Any:
        return client.get("workspaces", workspace["id"])

    return _wait(look, workspace, wanted, timeout)


def until_gone(client: Client, workspace: Mapping[str, Any], timeout: float) -> Any:
    """The workspace's last known form once nothing is left of it."""

    def look() -> Any:
        try:
            return client.get("workspaces", workspace["id"])
        except CommandError as error:
            if error.status == _NOT_FOUND:
                return {**workspace, "state": "deleted"}
            raise

    return _wait(look, workspace, "deleted", timeout)


def _wait(
    look: Callable[[], Any], workspace: Mapping[str, Any], wanted: str, timeout: float
) -> Any:
    name = one_line(workspace["name"])
    started = time.monotonic()
    pause = _FIRST_PAUSE_SECONDS
    progress = Progress(name)
    try:
        while True:
            seen = look()
            if seen["state"] == wanted:
                return seen
            if seen["state"] == "failed":
                raise CommandError(
                    f"Workspace {name} failed: {seen.get('state_reason') or 'no reason given'}.",
                    fix=f"charter workspace show {name} has the details.",
                    code="workspace-failed",
                    details={"workspace": seen},
                )
            if wanted == "running" and seen["desired"] != "running":
                raise CommandError(
                    f"Workspace {name} is no longer meant to run: it is to be {seen['desired']}.",
                    fix=f"charter workspace show {name} has the reason.",
                    code="no-longer-wanted",
                    details={"workspace": seen},
                )
            waited = time.monotonic() - started
            if waited + pause > timeout:
                raise CommandError(
                    f"Workspace {name} is {one_line(seen['state'])}, not {wanted}, after"
                    f" {timeout:g} s.",
                    fix=f"It may still get there: charter workspace show {name}. If not, see"
                    " charter controller list.",
                    code="wait-timeout",
                    details={"workspace": seen},
                )
            progress.show(one_line(seen["state"]), waited)
            time.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
    finally:
        progress.clear()


class Progress:
    """One line on a terminal's standard error that is written over and finally removed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown = False

    def show(self, state: str, seconds: float) -> None:
        """Write the line anew."""
        if sys.stderr.isatty():
            self._shown = True
            sys.stderr.write(f"\r\x1b[K{self._name}: {state}, {seconds:.0f} s")
            sys.stderr.flush()

    def clear(self) -> None:
        """Leave no trace of it."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextmanager
def working(name: str, state: str) -> Iterator[None]:
    """Say on a terminal that one long step is still going on, and for how long already."""
    if not sys.stderr.isatty():
        yield
        return
    progress, started, over = Progress(name), time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(_SILENT_SECONDS):
            progress.show(state, time.monotonic() - started)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
        progress.clear()
