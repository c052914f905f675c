"""The last chapters: an idle workspace, and the trail that proves all of it."""

from __future__ import annotations

import json
import shutil
import zipfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from charter.demo.people import Cast
from charter.demo.stage import DifferentlyError, Outcome, Stage

_IDLE_SECONDS: Final = 6  # four hours in the starter policies
_WARNING_SECONDS: Final = 3


def idle(play: Stage, cast: Cast) -> None:
    """The limits are shortened by a policy change; then time does the rest."""
    play.chapter("Nobody uses a workspace")

    def shorten() -> Outcome:
        folder = play.folder / "policies"
        with as_file(files("charter") / "policies") as shipped:
            shutil.copytree(shipped, folder, ignore=shutil.ignore_patterns("__pycache__"))
        document = folder / "data" / "lifecycle.json"
        data: dict[str, Any] = json.loads(document.read_text())
        data["human"] |= {"idle_seconds": _IDLE_SECONDS, "warning_seconds": _WARNING_SECONDS}
        document.write_text(json.dumps(data))
        play.charter(cast.admin, "policy", "apply", str(folder), "--note", "Short limits.")
        active = cast.admin.ok("GET", "/policies/active")
        return Outcome("active", f"{active['rules']} rules, their tests passed, {_IDLE_SECONDS} s")

    def warned() -> Outcome:
        def look() -> str | None:
            for notice in cast.dana.ok("GET", "/notices")["items"]:
                if notice["kind"] == "lifecycle-warning" and notice["message"].startswith("api:"):
                    return str(notice["message"])
            return None

        return Outcome("warned", play.until(60, "the warning", look))

    def stopped() -> Outcome:
        found = play.state(cast.dana, "api", "stopped", 60)
        return Outcome(found["state"], found["state_reason"])

    def kept() -> Outcome:
        cast.dana.ok("POST", "/workspaces/api/start")
        play.state(cast.dana, "api", "running", 5)
        kept = cast.dana.ok("GET", "/workspaces/api/files", params={"path": "note"})["content"]
        return Outcome(kept.strip(), "started again, its home as it was")

    play.step("admin", "shortens the idle limit from 4 h, as a policy change", "active", shorten)
    play.step("charter", "warns the owner", "warned", warned)
    play.step("charter", "stops the workspace", "stopped", stopped)
    play.step("dana", "comes back", "kept", kept)


def trail(play: Stage, cast: Cast) -> None:
    """Replay every decision; export the trail, verify it, break it, verify it again."""
    play.chapter("The evidence")
    export = play.folder / "trail.zip"
    trail_folder = play.folder / "trail"

    def replay() -> Outcome:
        done = cast.admin.ok("POST", "/decisions/replay", json={"limit": 100_000})
        rate = done["replayed"] / max(done["seconds"], 1e-9)
        return Outcome(
            f"{done['differences']} differ", f"{done['replayed']} decisions, {rate:.0f} a second"
        )

    def verify() -> Outcome:
        play.charter(cast.admin, "audit", "export", "--output", str(export))
        with zipfile.ZipFile(export) as archive:
            archive.extractall(trail_folder)
        key = cast.admin.ok("GET", "/audit/state")["verifier_key"]
        done = play.charter(None, "audit", "verify", str(export), "--key", key)
        return Outcome("verified", done.stdout.strip().splitlines()[0])

    def change() -> Outcome:
        entries = sorted((trail_folder / "tile" / "entries").rglob("*"))
        file = next(path for path in reversed(entries) if path.is_file())
        _change_one_byte(file)
        done = play.charter(None, "audit", "verify", str(trail_folder), code=1)
        said = " ".join((done.stdout + " " + done.stderr).split())
        named = "entry" in said.lower()
        return Outcome("refused" if named else "unnamed", said[:160])

    play.step("admin", "has every decision computed again", "0 differ", replay)
    play.step("auditor", "verifies an export, with no server and no database", "verified", verify)
    play.step("auditor", "verifies a copy in which one byte was changed", "refused", change)


def _change_one_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    place = len(content) // 2
    if not content:
        raise DifferentlyError(f"{file.name} is empty")
    content[place] ^= 1
    file.write_bytes(content)
