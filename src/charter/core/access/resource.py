"""What an action is aimed at, reduced to the facts that decide who may do it.

Source: Spec PC-2.
"""

from __future__ import annotations

from dataclasses import dataclass

from charter.core.access.roles import Scope, scope_chain


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """A thing, or a kind of thing when `id` is None (something to be created, or a collection).

    `kind` is the noun of the permission (`workspace`, `agent`, `approval` …). `sponsor_id` is set
    when an agent owns or asked for the thing. `requester_id` is who asked, for approvals.
    `repository` is the Git repository that the action touches, in the form in which tasks name it.
    `entitled_ids` are people whom the thing itself entitles: those to whom an approval request is
    put by name, as a manager or in somebody's stead, and those who gave a grant.
    """

    kind: str
    id: str | None = None
    owner_id: str | None = None
    owner_kind: str | None = None
    sponsor_id: str | None = None
    team_id: str | None = None
    project_id: str | None = None
    task_id: str | None = None
    requester_id: str | None = None
    repository: str | None = None
    entitled_ids: frozenset[str] = frozenset()

    @property
    def chain(self) -> tuple[Scope, ...]:
        """Its scope chain."""
        return scope_chain(self.team_id, self.project_id)

    @property
    def is_collection(self) -> bool:
        """Whether it names no thing, owner or place: all of a kind, to be filtered row by row."""
        return (
            self.id is None
            and self.owner_id is None
            and self.requester_id is None
            and self.team_id is None
            and self.project_id is None
            and self.task_id is None
        )

    def belongs_to(self, person_id: str) -> bool:
        """Whether this person owns it, asked for it, or answers for the agent that did."""
        return person_id in (self.owner_id, self.sponsor_id, self.requester_id)
