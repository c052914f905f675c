"""Systems, and how a directory's names become Charter's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.access.directory import first_free, handle_for, team_name_for
from charter.core.access.external import stranger
from charter.core.access.permissions import Permission
from charter.core.access.snapshot import subject_from_json, subject_json
from charter.core.access.subjects import System
from charter.core.access.systems import SYSTEM_PERMISSIONS, for_system
from charter.core.kernel.errors import InvalidInputError
from tests.spec import spec

OKTA = System("scm_1", "okta")


@spec("ID-3")
@pytest.mark.parametrize("action", Permission)
def test_a_system_keeps_people_and_teams_and_does_nothing_else(action: Permission) -> None:
    allowed = action in {Permission.PEOPLE_MANAGE, Permission.TEAM_MANAGE}
    assert (list(for_system(OKTA, action)) == []) is allowed
    assert (action in SYSTEM_PERMISSIONS) is allowed


@spec("ID-3", "PC-6")
def test_a_system_is_written_down_and_read_back() -> None:
    assert subject_from_json(subject_json(OKTA)) == OKTA


@spec("ID-3", "PC-12")
def test_an_enforcement_point_cannot_speak_for_a_system() -> None:
    claimed = {"subject": {"kind": "system", "id": "scm_1"}}
    assert [v.rule for v in stranger(claimed, own_agents=True)] == ["invariant/system-by-claim"]


@spec("ID-3")
@pytest.mark.parametrize(
    ("user_name", "handle"),
    [
        ("Erin@Example.COM", "erin@example.com"),
        ("j.doe+ci", "j.doe+ci"),
        ("a b", None),
        ("-x", None),
        ("", None),
        ("naïve", None),
        ("x" * 121, None),
        ("a\nb", None),
        ("a~b", None),
        ("../admin", None),
    ],
)
def test_a_user_name_is_a_handle_or_refused(user_name: str, handle: str | None) -> None:
    if handle is None:
        with pytest.raises(InvalidInputError):
            handle_for(user_name)
    else:
        assert handle_for(user_name) == handle


@spec("ID-3")
@given(st.text(max_size=200))
def test_a_team_has_a_short_name_or_none_at_all(display_name: str) -> None:
    try:
        name = team_name_for(display_name)
    except InvalidInputError:
        return
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)
    assert team_name_for(name) == name


@spec("ID-3")
def test_a_taken_name_gets_the_first_free_number() -> None:
    taken = {"erin", "erin-2"}
    assert first_free("erin", taken.__contains__) == "erin-3"
    assert first_free("ada", taken.__contains__) == "ada"
