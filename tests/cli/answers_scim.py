"""What the API says about people's origin and directories, for tests of the command line."""

from __future__ import annotations

from charter.api import schemas as s
from tests.cli import answers as a

PERSON_DETAIL = s.PersonDetailOut(
    **a.PERSON.model_dump(),
    source="scim",
    directory="okta",
    external_id="00u1",
    removed_at=None,
    manager="lee",
    teams=["web"],
    roles=["developer in web"],
    signs_in_with=["okta"],
    last_sign_in_at=a.NOW,
)
SCIM_TOKEN = s.ScimTokenMadeOut(
    id="scm_1",
    name="okta-2027",
    directory="okta",
    created_by="per_1",
    created_at=a.NOW,
    expires_at=a.NOW,
    last_used_at=None,
    revoked_at=None,
    secret="charter_scm_secret",
    url="http://x/scim/v2",
)
ADOPTION = s.AdoptionOut(kind="person", id="per_1", name="dana", directory="okta")
