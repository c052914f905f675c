"""What one supervisor runs, and how it tells people what it is doing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from charter.store.embedded import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class Child:
    """One process to keep alive. `env` is added to the supervisor's own environment."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One preparation, run with the database's URL before any child starts.

    What it returns is shown once everything is ready (the sign-in link), and never logged. It must
    close its connections and threads: the supervisor forks after it.
    """

    title: str
    run: Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything `up` needs to know.

    Without `database_url` the embedded database under `state_dir` is used. Children get both as
    CHARTER_DATABASE_URL and CHARTER_STATE_DIR. With `listen`, the system counts as ready when
    `GET /healthz` there answers 200; without it, when all children run.
    """

    state_dir: Path
    children: tuple[Child, ...]
    database_url: str | None = None
    prepare: tuple[Step, ...] = ()
    listen: tuple[str, int] | None = None

    def postgres(self) -> EmbeddedPostgres:
        """The embedded database of this state directory, running or not."""
        return embedded_database(self.state_dir)


def embedded_database(state_dir: Path) -> EmbeddedPostgres:
    """The database of `state_dir`; its log stands with the other logs."""
    return EmbeddedPostgres(state_dir / "pg", log_file=state_dir / "logs" / "postgres.log")


class Progress:
    """Progress lines for people: what is being done, and how long it took."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def say(self, text: str) -> None:
        """One line."""
        self._write(text + "\n")

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A line that begins with `title` and ends with the seconds the block took."""
        began = time.monotonic()
        self._write(f"· {title} … ")
        try:
            yield
        except BaseException:
            self._write("failed\n")
            raise
        self._write(f"{time.monotonic() - began:.2f} s\n")
