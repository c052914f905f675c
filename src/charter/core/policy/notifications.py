"""What policy says about links in mails: when following one is proof enough of who follows it.

A link that was mailed to an approver proves that whoever follows it reads that person's mail. For
everyday requests that may be enough for this one vote; for production and emergencies it is not.
Where it is not, the link opens only for the person who is signed in.

The numbers are data (`data/notifications.json`). Source: Spec AP-7.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from charter.core.policy.reading import Reader

_LONGEST_SECONDS: Final = 30 * 86_400


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Patterns are names with `*`, such as `production/*`."""

    count_as_proof: bool
    lifetime_seconds: int
    sign_in_for_rules: tuple[str, ...] = ()
    sign_in_for_actions: tuple[str, ...] = ()

    def proof(self, action: str, rules: Iterable[str]) -> bool:
        """Whether a link alone carries a vote on a request for `action` that `rules` asked for."""
        return (
            self.count_as_proof
            and not _any(action, self.sign_in_for_actions)
            and not any(_any(rule, self.sign_in_for_rules) for rule in rules)
        )


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


DEFAULT_LINKS: Final = LinkSettings(count_as_proof=False, lifetime_seconds=86_400)
"""What holds for bundles that were made before there was such a document: always sign in."""


def read_links(root: Reader) -> LinkSettings:
    """The settings in the data; `root` stands on all documents."""
    if not root.has("notifications"):
        return DEFAULT_LINKS
    part = root.child("notifications")
    links = part.child("links")
    found = LinkSettings(
        count_as_proof=links.flag("count_as_proof"),
        lifetime_seconds=links.whole("lifetime_seconds", minimum=60, maximum=_LONGEST_SECONDS),
        sign_in_for_rules=links.texts("sign_in_for_rules"),
        sign_in_for_actions=links.texts("sign_in_for_actions"),
    )
    part.finish()
    return found
