"""The conformance suite of scim2-tester against a server that runs."""

from __future__ import annotations

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

from charter.services import scim
from tests.api.served import served
from tests.spec import spec
from tests.support import World


@spec("ID-3")
@pytest.mark.slow
def test_the_conformance_suite_passes_completely(world: World) -> None:
    world.clock.follow = True
    world.sign_in_again()
    made = scim.create_token(world.rt, world.admin, name="tester", directory="tester", days=1)
    with (
        served(world) as running,
        httpx2.Client(
            base_url=f"{running.rt.settings.url}/scim/v2",
            headers={"Authorization": f"Bearer {made['secret']}"},
        ) as http,
    ):
        found = check_server(SyncSCIMClient(http))
    assert [(each.title, each.reason) for each in found if each.status is not Status.SUCCESS] == []
    assert len(found) > 100
