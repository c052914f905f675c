"""The pages under Elevation: asking, taking, ending, reviewing, and the banner."""

from __future__ import annotations

import re
from collections.abc import Callable

from charter.services import approvals, people
from charter.store import tables as t
from tests.portal.conftest import Visitor
from tests.portal.markup import problems, text_of
from tests.spec import spec
from tests.support import World

Visit = Callable[[str], Visitor]


@spec("ID-11", "UX-1")
def test_an_emergency_from_the_glass_to_the_review(world: World, visit: Visit) -> None:
    lee, sam = visit("lee"), visit("sam")
    assert "names you for no emergency role" in text_of(
        visit("dana").get("/elevation/break-glass").text
    )
    page = lee.get("/elevation/break-glass")
    assert "Break the glass" in text_of(page.text)
    assert problems(page.text) == []
    refused = lee.post("/elevation/break-glass", role="platform-admin", reason="x", minutes="61")
    assert (refused.status_code, problems(refused.text)) == (403, [])
    began = lee.post("/elevation/break-glass", role="platform-admin", reason="Nothing starts.")
    assert began.status_code == 303
    shown = lee.get("/")
    assert "Your emergency role platform-admin is in force until" in text_of(shown.text)
    assert problems(shown.text) == []
    found = re.search(r"/elevation/break-glass/(bgl_\w+)", shown.text)
    assert found is not None
    one = f"/elevation/break-glass/{found[1]}"
    assert "Keep the review" not in text_of(sam.get(one).text)
    assert lee.post(f"{one}/end").status_code == 303
    assert "in force" not in text_of(lee.get("/").text)
    ready = sam.get(one)
    assert "Keep the review" in text_of(ready.text)
    assert problems(ready.text) == []
    assert sam.post(f"{one}/review", outcome="justified", findings="Real.").status_code == 303
    assert "Justified, by sam" in text_of(lee.get(one).text)
    assert visit("otto").get(one).status_code == 404


@spec("AP-3", "UX-1")
def test_production_is_asked_for_and_its_token_shown_once(world: World, visit: Visit) -> None:
    people.create_project(
        world.rt, world.admin, name="ledger", team="payments", data_class="internal",
        environment="production",
    )  # fmt: skip
    dana = visit("dana")
    asked = {"project": "ledger", "minutes": "30", "reason": "Incident 4711."}
    refused = dana.post("/elevation/production", **asked)
    assert refused.status_code == 403
    assert "second factor" in text_of(refused.text)
    with world.rt.database.unit_of_work() as tx:
        tx.update(t.sessions, mfa=True)
        tx.update(t.api_tokens, mfa=True)
    sent = dana.post("/elevation/production", **asked)
    approval = sent.headers["location"].rsplit("/", 1)[1]
    approvals.approve(world.rt, world.caller("sam"), approval)
    listed = dana.get("/elevation?mine=yes")
    assert problems(listed.text) == []
    taking = re.search(r"/elevation/production/(pac_\w+)/token", listed.text)
    assert taking is not None
    shown = dana.post(f"/elevation/production/{taking[1]}/token")
    assert re.search(r"charter_prd_\w+", shown.text)
    assert problems(shown.text) == []
    assert "charter_prd_" not in dana.get("/elevation").text
    assert dana.post(f"/elevation/production/{taking[1]}/revoke").status_code == 303
    assert "Revoked" in text_of(dana.get("/elevation").text)


@spec("RG-2", "UX-1")
def test_a_quota_is_raised_and_given_back(world: World, visit: Visit) -> None:
    dana = visit("dana")
    asked = {
        "scope": "user payments", "dimension": "memory_mib", "amount": "8",
        "until": "2026-03-04", "reason": "Load test.",
    }  # fmt: skip
    wrong = dana.post("/elevation/quotas", **{**asked, "until": "soon"})
    assert (wrong.status_code, problems(wrong.text)) == (422, [])
    sent = dana.post("/elevation/quotas", **asked)
    approvals.approve(world.rt, world.caller("lee"), sent.headers["location"].rsplit("/", 1)[1])
    page = dana.get("/elevation/quotas")
    assert "8 GiB" in text_of(page.text)
    assert problems(page.text) == []
    back = re.search(r"/elevation/quotas/(qov_\w+)/revoke", page.text)
    assert back is not None
    assert dana.post(f"/elevation/quotas/{back[1]}/revoke").status_code == 303
    assert "Revoked" in text_of(dana.get("/elevation/quotas").text)
