"""What people do on the pages around policies, over the real services."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from charter.controllers import reviews
from charter.services import decisions, governance, impact, policies, policy_changes
from charter.services.impact_work import step as analyse
from charter.store import tables as t
from tests.api.stage import made_changes
from tests.portal.conftest import Visitor
from tests.portal.markup import problems, text_of
from tests.portal.story import tell
from tests.services.test_playground import HEAD, NEVER, PATH, refusing, stored
from tests.spec import spec
from tests.support import World

Visit = Callable[[str], Visitor]


@spec("PC-11")
def test_a_review_from_the_form_to_its_end(world: World, visit: Visit) -> None:
    sam, dana = visit("sam"), visit("dana")
    assert dana.post("/policies/reviews", trigger="incident", reason="Mine.").status_code == 403
    made = sam.post("/policies/reviews", trigger="regulation-change", reason="A new act.")
    place = made.headers["location"]
    page = text_of(sam.get(place).text)
    assert "It was not held yet." in page
    assert "A new act." in page
    seats = {"side_security": "sam", "side_platform": "admin", "side_ai-ml": "otto",
             "side_development": "dana, ria", "side_management": "lee"}  # fmt: skip
    assert sam.post(f"{place}/hold", **seats, held_on="2026-13-01").status_code == 422
    assert sam.post(f"{place}/hold", **seats, held_on="2026-03-01").status_code == 303
    fields = {"finding_1": "Raise it", "owner_1": "lee", "due_1": "2026-06-30", "finding_2": ""}
    assert sam.post(f"{place}/minutes", minutes="We met.", **fields).status_code == 303
    assert sam.post(f"{place}/close", outcome="changes-needed").status_code == 303
    page = text_of(sam.get(place).text)
    assert "Closed" in page
    assert "Raise it" in page
    assert sam.post(f"{place}/findings/1/done").status_code == 303
    assert sam.post(f"{place}/minutes", minutes="Else.").status_code == 409
    assert "We met." in text_of(dana.get(place).text)
    assert "Keep the minutes" not in dana.get(place).text


@pytest.mark.slow
def test_the_playground_with_and_without_scripts(world: World, visit: Visit) -> None:
    recorded = stored(world)
    sam, dana = visit("sam"), visit("dana")
    assert dana.get("/policies/playground").status_code == 403
    page = sam.get(f"/policies/playground?decision={recorded['id']}")
    assert recorded["id"] in page.text
    assert (
        f"/policies/playground?decision={recorded['id']}"
        in sam.get(f"/decisions/{recorded['id']}").text
    )
    fields = {"path": PATH, "source": refusing(3), "document": "", "decision": recorded["id"]}
    for htmx in (True, False):
        answer = sam.post("/policies/playground", htmx=htmx, **fields)
        said = text_of(answer.text)
        assert "Approval required → Not allowed" in said
        assert "Too much." in said
        assert problems(answer.text, whole=not htmx) == []
    assert refusing(3).split("\n")[-3] in answer.text  # what was typed is still there
    broken = sam.post("/policies/playground", htmx=True, **{**fields, "source": HEAD + "deny {{"})
    assert f"{PATH}:5" in text_of(broken.text)
    endless = sam.post("/policies/playground", htmx=True, **{**fields, "source": NEVER})
    assert "within their limits" in text_of(endless.text)
    assert sam.post("/policies/playground", **{**fields, "document": "{"}).status_code == 422


@spec("PC-5")
def test_reviewing_and_promoting_a_change(world: World, visit: Visit) -> None:
    ids = made_changes(world, str(policies.active(world.rt, world.admin)["digest"]))
    sam, dana, admin = visit("sam"), visit("dana"), visit("admin")
    path = f"/policies/changes/{ids['change']}"
    assert "Your review" not in dana.get(path).text
    shown = re.search(r'name="digest" value="([^"]+)"', sam.get(path).text)
    assert shown is not None
    assert sam.post(f"{path}/review", verdict="reject", digest=shown[1]).status_code == 422
    assert sam.post(f"{path}/review", verdict="approve", digest=shown[1]).status_code == 303
    assert "Approved for security" in text_of(sam.get(path).text)
    stale = sam.post(f"{path}/review", verdict="approve", digest="sha256:" + "0" * 64)
    assert stale.status_code == 409
    part = sam.get(path, htmx=True).text
    assert "<html" not in part
    assert "every 2s" not in part  # it waits for people: nothing runs
    assert admin.get(f"{path}/withdraw").status_code == 200
    assert admin.post(f"{path}/withdraw", why="Not now.").status_code == 303
    assert "Not now." in text_of(admin.get(path).text)
    assert policy_changes.get(world.rt, world.admin, ids["change"])["state"] == "withdrawn"


def test_rolling_back_asks_first_and_leads_back(world: World, visit: Visit) -> None:
    sam, dana = visit("sam"), visit("dana")
    assert "Roll back?" in sam.get("/policies/rollback").text
    assert sam.post("/policies/rollback", why="A spike.").status_code == 409  # nothing before it
    assert dana.post("/policies/rollback", why="Mine.").status_code == 403
    assert dana.get("/policies/bundles/diff?before=x&after=y").status_code == 404


def test_an_impact_analysis_on_its_page(world: World, visit: Visit) -> None:
    stored(world)
    digest = str(policies.active(world.rt, world.admin)["digest"])
    run = impact.create(world.rt, world.admin, digest=digest)
    sam, dana = visit("sam"), visit("dana")
    path = f"/policies/impact/{run['id']}"
    assert dana.get(path).status_code == 403
    assert "every 2s" in sam.get(path).text
    while analyse(world.rt) is not None:
        pass
    page = sam.get(path)
    assert "every 2s" not in page.text
    assert "Before \\ after" in text_of(page.text)
    assert problems(page.text) == []


@pytest.mark.slow
def test_pages_stay_quick_with_a_hundred_thousand_decisions(world: World, visit: Visit) -> None:
    ids = tell(world, world.settle)
    with world.rt.database.unit_of_work() as tx:
        row = dict(tx.all(sa.select(t.decisions).limit(1))[0])
        for start in range(0, 100_000, 5_000):
            copies = [
                {**row, "id": f"dec_{n:026d}", "at": row["at"] - timedelta(seconds=n)}
                for n in range(start, start + 5_000)
            ]
            tx.conn.execute(insert(t.decisions), copies)
    reviews.count(world.rt)
    sam = visit("sam")
    recent = decisions.list_page(world.rt, world.admin, limit=1)["items"][0]["id"]
    assert governance.list_due(world.rt, world.admin)
    for path in (
        "/policies",
        "/policies/rules/admission/cpu-needs-approval",
        "/policies/changes",
        f"/policies/changes/{ids['change']}",
        f"/policies/impact/{ids['impact']}",
        f"/policies/playground?decision={recent}",
        "/policies/exemptions",
        "/policies/bundles",
        "/policies/reviews",
        f"/policies/reviews/{ids['review']}",
    ):
        spans = []
        for _ in range(5):
            answer = sam.get(path)
            assert answer.status_code == 200
            spans.append(answer.elapsed)
        assert sorted(spans)[1] < timedelta(milliseconds=150), path
