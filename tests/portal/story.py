"""Something to look at: the things that the pages of an instance show when it is in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from charter.core.kernel.errors import CharterError
from charter.services import (
    agent_definitions,
    agents,
    approvals,
    governance,
    impact,
    policies,
    workspace_use,
    workspaces,
)
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.api.stage import granted_to, made_changes, reviewed
from tests.support import World


def tell(world: World, settle: Callable[[], object]) -> dict[str, str]:
    """Workspaces, approvals and agents in several states: their ids.

    `settle` lets the controllers do what is due.
    """
    rt, dana, lee = world.rt, world.caller("dana"), world.caller("lee")
    made = {
        name: workspaces.create(rt, dana, WorkspaceRequest(name=name, template="python"))[
            "workspace"
        ]["id"]
        for name in ("checkout-api", "notebook")
    }
    settle()
    workspace_use.write_file(rt, dana, made["checkout-api"], "notes.txt", "first line\nsecond\n")
    workspaces.stop(rt, dana, made["notebook"])
    with_approval = [
        workspaces.create(
            rt,
            dana,
            WorkspaceRequest(
                name=name,
                template="python",
                vcpu=vcpu,
                justification="The release build needs it until Friday.",
            ),
        )["approval"]["id"]
        for name, vcpu in (("release-build", 40), ("load-test-of-the-whole-platform", 36))
    ]
    approvals.deny(rt, lee, with_approval[1], "Take the shared one.")
    approvals.comment(rt, dana, with_approval[0], "It only runs at night.")
    made |= granted_to(world, "dana", taken="checkout-api")
    try:
        workspaces.create(rt, dana, WorkspaceRequest(name="try", template="scratch"))
    except CharterError as refusal:
        made["refusal"] = refusal.message
    made["approval"], made["denied"] = with_approval
    defined = {
        "name": "test-mender",
        "team": "payments",
        "description": "Mends flaky tests",
        "repositories": ["git.example.org/web/*"],
        "tier": "sandboxed",
        "run_by": ["team"],
    }
    made["definition"] = agent_definitions.define(rt, lee, defined)["id"]
    narrower = {"max_session_seconds": 7200, "why": "No run needs longer"}
    agent_definitions.change(rt, lee, made["definition"], narrower)
    for name in ("fix-flaky-tests", "read-the-docs"):
        request: dict[str, Any] = {
            "name": name,
            "task": "Find why the checkout tests fail now and then, and propose a fix",
            "repositories": ["git.example.org/web/checkout"],
            "tier": "sandboxed",
            "minutes": 120,
            "team": None,
            "project": None,
            "justification": None,
            "definition": "test-mender" if name == "fix-flaky-tests" else None,
        }
        made[name] = agents.create(rt, dana, request)["agent"]["id"]
    agents.kill(rt, dana, made["read-the-docs"], "It was started by mistake.")
    made["digest"] = str(policies.active(rt, dana)["digest"])
    made |= made_changes(world, made["digest"])
    made["impact"] = impact.create(rt, world.admin, digest=made["digest"])["id"]
    with rt.database.unit_of_work() as tx:
        c = t.policy_changes.c
        tx.update(t.policy_changes, c.id == made["change"], impact_id=made["impact"])
    made["review"] = reviewed(world)
    made["review-closed"] = reviewed(world)
    governance.close(rt, world.caller("sam"), made["review-closed"], "changes-needed")
    return made
