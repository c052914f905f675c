"""Work inside a workspace: run a command, read, write and list files.

Each is decided like any other action, then carried out by the provider inside the confinement. What
comes back was made by whatever runs in there: it is data, bounded, and shown as text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from charter.core.access.permissions import Permission
from charter.core.kernel.canonical import digest
from charter.core.kernel.errors import ConflictError, ForbiddenError
from charter.core.lifecycle.states import Desired, WorkspaceState
from charter.services import workspace_records as records
from charter.services.access import carry_out, note
from charter.services.decisions import Answer
from charter.services.lifecycle import approved_until
from charter.services.runtime import Caller, Runtime
from charter.services.workspace_questions import question_about
from charter.store import tables as t
from charter.store.unit_of_work import Tx

MAX_FILE_BYTES: Final = 512 * 1024  # what one answer of the API holds
MAX_OUTPUT_BYTES: Final = 512 * 1024
_MILLISECONDS: Final = 1000

T = TypeVar("T")


def _decided(
    rt: Runtime,
    caller: Caller,
    ref: str,
    action: Permission,
    facts: dict[str, Any],
    *,
    is_use: bool,
    private: dict[str, object] | None = None,
) -> str:
    """Decide and record; the id of the workspace that runs. Commits before anything is done."""

    def act(tx: Tx, answer: Answer) -> str:
        row = records.find(tx, caller, ref)
        if row["desired"] != Desired.RUNNING or row["observed"] != WorkspaceState.RUNNING:
            raise ConflictError(
                f"The workspace is {records.state_word(row)}: {row['state_reason']}",
                fix=f"Start it: charter workspace start {row['name']}.",
                code="not-running",
            )
        ended = approved_until(tx, row)
        if ended is not None and tx.now >= ended:
            raise ForbiddenError(
                f"The approval that {row['name']} runs by ended at {ended:%Y-%m-%d %H:%M} UTC.",
                fix="It is being stopped; ask for the approval again by starting it: "
                f"charter workspace start {row['name']} --justification …",
                code="approval-ended",
            )
        if is_use:
            tx.update(
                t.workspaces,
                t.workspaces.c.id == row["id"],
                last_activity_at=tx.now,
                last_activity_signal=action.value.split(".")[1],
            )
        note(
            tx,
            caller,
            f"{action.value}.begun",
            "workspace",
            row["id"],
            decision_id=answer.id,
            facts=facts,
            private=private,
        )
        return str(row["id"])

    return carry_out(
        rt,
        lambda tx: question_about(
            rt,
            tx,
            caller,
            records.find(tx, caller, ref),
            action,
            extra={**facts, **(private or {})},
        ),
        act,
    )


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - started) * _MILLISECONDS


def execute(
    rt: Runtime,
    caller: Caller,
    ref: str,
    command: Sequence[str],
    timeout_seconds: float = 60,
    stdin: str = "",
) -> dict[str, Any]:
    """Run a command inside; its exit code and output."""
    workspace_id = _decided(
        rt,
        caller,
        ref,
        Permission.WORKSPACE_EXECUTE,
        {
            "arguments": len(command) - 1,
            "command_digest": digest(list(command)),
        },
        is_use=True,
        private={"program": command[0][:200]},  # free text: it may name anybody
    )
    result, milliseconds = _timed(
        lambda: rt.provider.execute(
            workspace_id,
            list(command),
            timeout_seconds=timeout_seconds,
            stdin=stdin.encode(),
            max_output_bytes=MAX_OUTPUT_BYTES,
        )
    )
    return {
        "exit_code": result.exit_code,
        "stdout": result.stdout.decode(errors="replace"),
        "stderr": result.stderr.decode(errors="replace"),
        "timed_out": result.timed_out,
        "truncated": result.truncated,
        "milliseconds": milliseconds,
    }


def read_file(rt: Runtime, caller: Caller, ref: str, path: str) -> dict[str, Any]:
    """The content of a file, as text."""
    workspace_id = _decided(
        rt, caller, ref, Permission.WORKSPACE_READ_FILES, {"path_digest": digest(path)}, is_use=True
    )
    content = rt.provider.read_file(workspace_id, path, max_bytes=MAX_FILE_BYTES)
    return {
        "path": path,
        "content": content.decode(errors="replace"),
        "size_bytes": len(content),
    }


def write_file(rt: Runtime, caller: Caller, ref: str, path: str, content: str) -> None:
    """Write a file, replacing what was there."""
    workspace_id = _decided(
        rt,
        caller,
        ref,
        Permission.WORKSPACE_WRITE_FILES,
        {"path_digest": digest(path), "bytes": len(content.encode())},
        is_use=True,
    )
    rt.provider.write_file(workspace_id, path, content.encode())


def list_files(rt: Runtime, caller: Caller, ref: str, path: str) -> list[dict[str, Any]]:
    """The entries of a folder."""
    workspace_id = _decided(
        rt,
        caller,
        ref,
        Permission.WORKSPACE_READ_FILES,
        {"path_digest": digest(path)},
        is_use=False,
    )
    return [
        {
            "name": entry.name,
            "kind": entry.kind,
            "size_bytes": entry.size_bytes,
            "modified_at": entry.modified_at,
        }
        for entry in rt.provider.list_files(workspace_id, path)
    ]
