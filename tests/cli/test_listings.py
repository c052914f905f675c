"""The next step after a name that leads nowhere is a command that there is."""

import pytest

from charter.cli.main import root
from charter.core.access import listings


@pytest.mark.parametrize("kind", [*sorted(listings._ELSEWHERE), "workspace", "grant", "passkey"])
def test_what_lists_a_kind_is_a_command(kind: str) -> None:
    words = listings.list_command(kind).split()
    assert words[0] == "charter"
    group = root()
    context = group.make_context("charter", ["status"])
    _, command, rest = group.resolve_command(context, words[1:])
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context("charter", rest)
