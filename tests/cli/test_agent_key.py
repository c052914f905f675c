"""The command line as an agent that proves its key, against a real server."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charter.cli import agent_key
from charter.services import agent_credentials
from tests.agents import sponsored
from tests.api.served import served
from tests.spec import spec
from tests.support import World


@pytest.fixture
def running(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The world behind a real server, by the real clock, named by CHARTER_URL."""
    world.clock.follow = True
    world.sign_in_again()
    with served(world) as found:
        monkeypatch.setenv("CHARTER_URL", found.rt.settings.url)
        yield found


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "config" / "charter" / "agents").glob("*.json"))


@spec("ID-6", "UX-2")
def test_the_command_line_proves_the_agents_key_by_itself(
    running: World,
    charter: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    made = sponsored(running, tier="standard")
    monkeypatch.setenv("CHARTER_TOKEN", made["credential"]["token"])
    for arguments in (("whoami",), ("agent", "show", "self"), ("workspace", "list")):
        ended = charter(*arguments, "--json")
        assert ended.code == 0, ended.err
    kept = files(tmp_path)
    assert len(kept) == 2  # the key, and what is bound to it
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in kept)
    held = next(json.loads(f.read_text()) for f in kept if f.name != "key.json")
    claims = agent_key.claims_of(held["token"])
    assert claims is not None
    assert claims["cnf"] == {"jkt": agent_key.own_thumbprint(make=False)}


@spec("ID-6", "UX-2")
def test_it_renews_when_little_is_left(
    running: World,
    charter: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    made = sponsored(running, tier="standard")
    monkeypatch.setenv("CHARTER_TOKEN", made["credential"]["token"])
    assert charter("whoami").code == 0
    file = next(f for f in files(tmp_path) if f.name != "key.json")
    first = json.loads(file.read_text())
    file.write_text(json.dumps({**first, "got_at": first["got_at"] - 3000}))
    assert charter("whoami").code == 0
    second = json.loads(file.read_text())
    assert second["token"] != first["token"]
    # What the sponsor hands over later is taken instead of what is kept.
    fresh = agent_credentials.issue_credential(
        running.rt, running.caller("dana"), made["agent"]["id"]
    )
    monkeypatch.setenv("CHARTER_TOKEN", fresh["token"])
    assert charter("whoami").code == 0
    assert json.loads(file.read_text())["token"] not in {first["token"], second["token"]}


@spec("ID-6", "UX-2")
def test_a_sponsor_can_bind_the_credential_from_the_start(
    running: World, charter: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    thumbprint = charter("agent", "key", "--json").document["thumbprint"]
    assert charter("agent", "key").out.strip() == thumbprint
    made = sponsored(running, tier="standard", thumbprint=thumbprint)
    monkeypatch.setenv("CHARTER_TOKEN", made["credential"]["token"])
    assert charter("whoami", "--json").document["kind"] == "agent"
    # Where the key is not, the token is worth nothing.
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    ended = charter("whoami")
    assert ended.code != 0
    assert "bound to a key" in ended.err


@spec("UX-2")
def test_a_key_that_others_may_read_is_not_used(
    charter: Callable[..., Any], tmp_path: Path
) -> None:
    assert charter("agent", "key").code == 0
    (file,) = files(tmp_path)
    file.chmod(0o644)
    ended = charter("agent", "key")
    assert ended.code != 0
    assert "others may read it" in ended.err
