"""Chapters about people: who they are, a first workspace, and asking for more than is usual."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from charter.demo.stage import DifferentlyError, Outcome, Person, Stage

_RUNNING_SECONDS: Final = 2.0  # from the request to a running sandbox, as the story promises
_MILLISECONDS: Final = 1000.0
_APPROVAL_EXIT: Final = 3  # the command line's code for "an approval is needed"


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody in the story: an administrator, a developer, a team lead."""

    admin: Person
    dana: Person
    lee: Person
    dana_role: str


def arrive(play: Stage, link: str) -> Cast:
    """Sign in, make a team, give roles."""
    play.chapter("An organisation is set up")
    found: dict[str, Person] = {}
    bindings: dict[str, str] = {}

    def admin() -> Outcome:
        found["admin"] = play.sign_in("admin", link)
        return Outcome("signed in", "with the one-time link that the first start printed")

    def team() -> Outcome:
        admin = found["admin"]
        admin.ok("POST", "/teams", json={"name": "payments"})
        admin.ok("POST", "/teams", json={"name": "search"})
        admin.ok(
            "POST",
            "/projects",
            json={"name": "checkout", "team": "payments", "data_class": "internal"},
        )
        for handle, role, scope in (
            ("dana", "developer", None),
            ("lee", "team-lead", "payments"),
        ):
            admin.ok("POST", "/people", json={"handle": handle})
            admin.ok("POST", "/teams/payments/members", json={"person": handle})
            body: dict[str, Any] = {"person": handle, "role": role}
            if scope is not None:
                body |= {"scope_kind": "team", "scope": scope}
            bindings[handle] = admin.ok("POST", "/role-bindings", json=body)["id"]
            made = admin.ok("POST", f"/people/{handle}/sign-in-link")
            found[handle] = play.sign_in(handle, made["url"])
        return Outcome("done", "dana is a developer, lee leads the team payments")

    def link_again() -> Outcome:
        try:
            play.sign_in("thief", link)
        except Exception as error:  # noqa: BLE001 — any refusal is the right answer here
            return Outcome("refused", f"a one-time link works once ({type(error).__name__})")
        raise DifferentlyError("the link worked twice")

    play.step("admin", "signs in", "signed in", admin)
    if "admin" not in found:
        raise DifferentlyError("nobody could sign in")
    play.step("admin", "makes a team, a project, two people and their roles", "done", team)
    play.step("somebody", "tries the same link again", "refused", link_again)
    if set(found) != {"admin", "dana", "lee"}:
        raise DifferentlyError("the cast did not arrive")
    return Cast(found["admin"], found["dana"], found["lee"], bindings["dana"])


def refusal(person: Person, method: str, path: str, **body: Any) -> Outcome:
    """The refusal of a request, in a word and its sentence."""
    response = person.call(method, path, **body)
    if not response.is_error:
        return Outcome("allowed", "it was not refused")
    problem = response.json()
    words = {"denied": "denied", "own-request": "denied"}
    return Outcome(words.get(problem["code"], problem["code"]), f"{problem['detail']}")


def work(play: Stage, cast: Cast) -> None:
    """A small workspace: preview, create, use, stop, start, and the file is still there."""
    dana = cast.dana
    play.chapter("A developer works")
    asked = {"name": "api", "template": "python", "project": "checkout"}

    def preview() -> Outcome:
        found = dana.ok("POST", "/workspaces/preview", json=asked)
        size = found["amounts"]
        return Outcome(
            found["decision"]["effect"], f"{size['vcpu']} vCPU; nothing was stored or reserved"
        )

    def create() -> Outcome:
        began = time.perf_counter()
        made = dana.ok("POST", "/workspaces", json=asked)
        play.state(dana, "api", "running", _RUNNING_SECONDS)
        took = (time.perf_counter() - began) * _MILLISECONDS
        return Outcome(made["decision"]["effect"], "decided, stored, and running", took)

    def write() -> Outcome:
        done = play.charter(
            dana, "workspace", "exec", "api", "--", "sh", "-c", "echo kept > note; id -un; pwd"
        )
        who, where = done.stdout.split()
        return Outcome("exit 0", f"ran as {who} in {where}, and wrote a file")

    def stop() -> Outcome:
        dana.ok("POST", "/workspaces/api/stop")
        return Outcome(play.state(dana, "api", "stopped", 10)["state"], "its home is kept")

    def start() -> Outcome:
        dana.ok("POST", "/workspaces/api/start")
        play.state(dana, "api", "running", 5)
        kept = dana.ok("GET", "/workspaces/api/files", params={"path": "note"})["content"]
        return Outcome(kept.strip(), "the file is still there")

    play.step("dana", "previews a small workspace from an approved template", "allow", preview)
    play.step("dana", "creates it; it runs within 2 s", "allow", create)
    play.step("dana", "runs a command inside, with the command line", "exit 0", write)
    play.step("dana", "stops it", "stopped", stop)
    play.step("dana", "starts it again and reads the file", "kept", start)


def ask_for_more(play: Stage, cast: Cast) -> None:
    """40 vCPU, 96 vCPU, and a template that nobody has approved."""
    dana, lee = cast.dana, cast.lee
    play.chapter("A developer asks for more")
    approval: dict[str, str] = {}

    def forty() -> Outcome:
        done = play.charter(
            dana,
            *("workspace", "create", "big", "--template", "python", "--project", "checkout"),
            *("--vcpu", "40", "--json"),
            code=_APPROVAL_EXIT,
        )
        del done
        waiting = dana.ok("GET", "/approvals", params={"mine": True, "state": "pending"})["items"]
        approval["big"] = waiting[0]["id"]
        needs = " or ".join(waiting[0]["outstanding"][0]["roles"])
        return Outcome("require_approval", f"more than 32 vCPU; {needs} can say yes")

    def own() -> Outcome:
        return refusal(dana, "POST", f"/approvals/{approval['big']}/approve")

    def yes() -> Outcome:
        settled = lee.ok(
            "POST", f"/approvals/{approval['big']}/approve", json={"comment": "load test"}
        )
        big = play.state(dana, "big", "running", 5)
        return Outcome(settled["state"], " ".join(big["notices"]) or "it runs")

    def make_room() -> Outcome:
        big = dana.ok("GET", "/workspaces/big")["id"]
        dana.ok("DELETE", f"/workspaces/{big}")
        gone = play.state(dana, big, "deleted", 10)
        return Outcome(gone["state"], "its CPU and disk go back to her quota")

    def ninety_six() -> Outcome:
        return refusal(
            dana,
            "POST",
            "/workspaces",
            json={"name": "huge", "template": "python", "project": "checkout", "vcpu": 96},
        )

    def justified() -> Outcome:
        made = dana.ok(
            "POST",
            "/workspaces",
            json={
                "name": "huge",
                "template": "python",
                "project": "checkout",
                "vcpu": 96,
                "justification": "The year-end run needs it for two days.",
            },
        )
        roles = {r for need in made["approval"]["outstanding"] for r in need["roles"]}
        word = made["decision"]["effect"] if roles == {"team-lead"} else "other approvers"
        return Outcome(word, f"only {' or '.join(sorted(roles))} can say yes")

    def unapproved() -> Outcome:
        response = dana.call(
            "POST",
            "/workspaces",
            json={"name": "old", "template": "scratch", "project": "checkout"},
        )
        problem = response.json()
        return Outcome(problem["code"], f"{problem['detail']} {problem['fix']}")

    play.step("dana", "asks for 40 vCPU", "require_approval", forty)
    play.step("dana", "tries to approve her own request", "denied", own)
    play.step("lee", "approves it; it starts", "approved", yes)
    play.step("dana", "deletes it to make room", "deleted", make_room)
    play.step("dana", "asks for 96 vCPU without a reason", "justification-required", ninety_six)
    play.step("dana", "asks again with a business justification", "require_approval", justified)
    play.step("dana", "asks for a template that is not approved", "denied", unapproved)
