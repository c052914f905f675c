"""People and directories as pages: finding, letting in, switching off, connecting."""

from __future__ import annotations

import re
from collections.abc import Callable

from charter.services import people_views
from tests.portal.conftest import Visitor
from tests.portal.markup import text_of
from tests.scim import connect
from tests.spec import spec
from tests.support import World

Visit = Callable[[str], Visitor]


@spec("ID-3", "UX-1")
def test_an_administrator_finds_lets_in_and_switches_off(world: World, visit: Visit) -> None:
    admin = visit("admin")
    made = admin.post("/people", handle="erin", email="erin@example.com")
    assert made.status_code == 303
    page = made.headers["location"]
    assert "Kept here" in text_of(admin.get(page).text)
    link = admin.post(f"{page}/link")
    assert re.search(r"sign-in\?link=charter_lnk_", link.text)
    assert "charter_lnk_" not in admin.get(page).text
    listed = text_of(admin.get("/people?q=ERIN").text)
    assert "erin" in listed
    assert "dana" not in listed
    assert "erin" not in text_of(admin.get("/people?team=payments", htmx=True).text)
    wrong = admin.post("/people", handle="erin")
    assert wrong.status_code == 409
    assert "taken" in text_of(wrong.text)
    assert "ends" not in admin.get(page).text
    assert "agents are killed" in text_of(admin.get(f"{page}/deactivate").text)
    assert admin.post(f"{page}/deactivate").status_code == 303
    assert "Deactivated" in text_of(admin.get("/people?state=deactivated").text)
    assert admin.post(f"{page}/reactivate").status_code == 303
    assert people_views.get(world.rt, world.admin, "erin")["deactivated_at"] is None


@spec("ID-1", "UX-1")
def test_a_team_lead_sees_the_team_and_changes_nobody(world: World, visit: Visit) -> None:
    lee = visit("lee")
    page = lee.get("/people")
    assert "dana" in text_of(page.text)
    assert "otto" not in text_of(page.text)
    assert "/deactivate" not in page.text
    assert "/people/directories" not in page.text
    for path in ("/people/directories", "/people/otto"):
        assert lee.get(path).status_code in {403, 404}
    for path in ("/people/dana/deactivate", "/people/dana/link", "/people/dana/reactivate"):
        assert lee.post(path).status_code == 403
    assert lee.post("/people/directories", name="x", directory="x").status_code == 403
    assert lee.post("/people/dana/adopt", directory="x").status_code == 403


@spec("ID-3", "UX-1")
def test_a_directory_is_connected_and_cut_off(world: World, visit: Visit) -> None:
    admin = visit("admin")
    assert "No directory is connected" in text_of(admin.get("/people/directories").text)
    made = admin.post("/people/directories", name="okta-2027", directory="okta", days="30")
    secret = re.search(r"charter_scm_\w{26}_[\w-]{43}", made.text)
    assert secret is not None
    assert "/scim/v2" in made.text
    okta = connect(world, "okta")
    okta.client.headers["Authorization"] = f"Bearer {secret[0]}"
    user = okta.user("erin@example.com", externalId="00u1")
    shown = text_of(admin.get(f"/people/{user['id']}").text)
    assert "Provisioned by the directory okta" in shown
    assert "00u1" in shown
    page = admin.get("/people/directories")
    assert secret[0] not in page.text
    asked = re.search(r"/people/directories/(scm_\w+)/revoke", page.text)
    assert asked is not None
    tokens = re.findall(r"/people/directories/(scm_\w+)/revoke", page.text)
    for token in set(tokens):
        assert admin.get(f"/people/directories/{token}/revoke").status_code == 200
        assert admin.post(f"/people/directories/{token}/revoke").status_code == 303
    assert okta.send("GET", "/Users").status_code == 401
    assert admin.post("/people/dana/adopt", directory="okta").status_code == 303
    assert people_views.get(world.rt, world.admin, "dana")["directory"] == "okta"
    wrong = admin.post("/people/directories", name="Not a name", directory="okta")
    assert wrong.status_code == 422
