"""What the tests of the pipeline stand on: a real Git repository, and a world that watches it.

The bundle is the starter's rules with one small test in place of its own, so that a check in the
worker takes a second; the limits are short and stand in its data, as they do in life.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from charter.core.kernel.errors import CharterError
from charter.services import (
    impact,
    people,
    policies,
    policy_changes,
    policy_flow,
    policy_monitor,
    policy_source,
    workspaces,
)
from charter.services.workspace_questions import WorkspaceRequest
from tests.support import BRIEF, World

STAGE_SECONDS: Final = 60
_STAGED: Final = {"seconds": STAGE_SECONDS, "decisions_needed": 1, "test_environments": ["test"]}


def rules() -> dict[str, str]:
    """The starter's rules and data, with short limits and one test."""
    found = {p: BRIEF.text(p) for p in BRIEF.files if not p.startswith("docs/")}
    pipeline = json.loads(found["data/pipeline.json"])
    pipeline["staging"] = _STAGED
    pipeline["monitoring"] |= {"window_seconds": 300, "seconds": 600, "spike_minimum": 4}
    pipeline["direct_apply"] = "without-source"
    return {**found, "data/pipeline.json": json.dumps(pipeline)}


def freeze(who: str) -> str:
    """A rule that stops every new workspace; `who` makes its id."""
    return f"""# METADATA
# title: Nothing new ({who})
# custom:
#   id: freeze/{who}
#   severity: high
#   owner: platform
#   controls: [X-1]
#   fix: Wait.
package admission.freeze_{who}

import rego.v1

deny contains {{"id": "freeze/{who}", "message": "Nothing new.", "fix": "Wait."}} if {{
	input.action.name == "workspace.create"
}}
"""


@dataclass
class Forge:
    """A bare repository that people push to, and the clone that they push from."""

    folder: Path

    @property
    def url(self) -> str:
        return str(self.folder / "policies.git")

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    def git(self, *words: str, clone: bool = True) -> str:
        """One git command as a user types it."""
        author = ["-c", "user.name=Pat", "-c", "user.email=Pat@Example.org"]
        done = subprocess.run(
            ["git", *author, "-c", "protocol.file.allow=always", *words],
            cwd=self.clone if clone else self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self) -> None:
        """An empty repository with the rules on its main branch, in the folder `policies`."""
        self.folder.mkdir()
        self.git("init", "--quiet", "--bare", "-b", "main", "policies.git", clone=False)
        self.git("init", "--quiet", "-b", "main", "clone", clone=False)
        self.git("remote", "add", "origin", self.url)
        self.push("main", rules(), "The rules.", new=False)

    def push(
        self, branch: str, files: dict[str, str | None], title: str, *, new: bool = True
    ) -> str:
        """Commit these files (None: delete) on a branch, from main if it is new, and push it."""
        if new:
            self.git("checkout", "--quiet", "-B", branch, "main")
        elif self.git("branch", "--show-current") != branch:
            self.git("checkout", "--quiet", branch)
        for path, text in files.items():
            file = self.clone / "policies" / path
            if text is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return self.send(branch, title)

    def send(self, branch: str, title: str) -> str:
        """Commit what lies in the clone and push it."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", title, "-m", "Because of an incident.")
        self.git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")


@dataclass
class Pipeline:
    """A world with a watched repository, and the turns that its controllers take."""

    world: World
    forge: Forge

    def fetch(self) -> dict[str, Any]:
        """One look at the repository, when it is time for one."""
        self.world.clock.advance(seconds=61)
        done = policy_source.step(self.world.rt)
        assert done is not None
        return dict(done)

    def turn(self, rounds: int = 60) -> None:
        """Run the controllers of the pipeline until nothing moves."""
        for _ in range(rounds):
            self.world.clock.advance(seconds=1)
            if policy_flow.step(self.world.rt) is None and impact.step(self.world.rt) is None:
                return
        raise AssertionError("the pipeline never came to rest")

    def watch(self) -> dict[str, Any] | None:
        """One look of the monitor."""
        done = policy_monitor.step(self.world.rt)
        return None if done is None else dict(done)

    def changes(self) -> dict[str, dict[str, Any]]:
        """The newest change of each title, whole."""
        rt, admin = self.world.rt, self.world.admin
        found = policy_changes.list_page(rt, admin)["items"]
        return {c["title"]: policy_changes.get(rt, admin, c["id"]) for c in reversed(found)}

    def change(self, title: str) -> dict[str, Any]:
        return self.changes()[title]

    def review(self, who: str, title: str, *, approves: bool = True, comment: str = "") -> None:
        """A word of one person about the candidate as it is now."""
        change = self.change(title)
        self.world.clock.advance(seconds=1)
        policy_changes.review(
            self.world.rt,
            self.world.caller(who),
            change["id"],
            approves=approves,
            digest=change["digest"],
            comment=comment,
        )

    def agree(self, title: str) -> None:
        """Both sides say yes."""
        self.review("sam", title)
        self.review("admin", title)
        self.turn()

    def tried(self) -> bool:
        """Ask for a workspace of a test project; whether it was allowed."""
        return self.create("dana", project="trial")

    def create(self, who: str, *, project: str | None = None) -> bool:
        """Ask for a workspace; whether it was allowed."""
        self.world.clock.advance(milliseconds=10)
        name = f"w{self.world.clock.moment.timestamp() * 1000:.0f}"[-12:]
        wanted = WorkspaceRequest(
            f"w{name[1:]}", "python", size="agent", project=project, labels={}
        )
        try:
            workspaces.create(self.world.rt, self.world.caller(who), wanted)
        except CharterError:
            return False
        return True

    def promote(self, title: str) -> dict[str, Any]:
        """Wait for the stage's time and put the change in force."""
        self.world.clock.advance(seconds=STAGE_SECONDS)
        change_id = self.change(title)["id"]
        return policy_changes.promote(self.world.rt, self.world.admin, change_id)

    def active(self) -> str:
        return str(policies.active(self.world.rt, self.world.admin)["digest"])


def build(world: World, folder: Path) -> Pipeline:
    """The rules in force, the repository started and watched, and a project for tests."""
    forge = Forge(folder / "forge")
    forge.start()
    world.clock.advance(seconds=1)
    policies.apply(world.rt, world.admin, rules(), "To begin with.")
    people.create_project(
        world.rt,
        world.admin,
        name="trial",
        team="payments",
        data_class="internal",
        environment="test",
    )
    watched = world.rt.settings.model_copy(
        update={"policy_repository": forge.url, "policy_path": "policies"}
    )
    object.__setattr__(world.rt, "settings", watched)  # a test may turn what an operator sets
    pipeline = Pipeline(world, forge)
    assert pipeline.fetch()["received"] == []
    return pipeline
