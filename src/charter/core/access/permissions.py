"""The vocabulary of permissions: every action that Charter judges has exactly one name here.

A permission is `noun.verb`. It says *what* may be done, never to *which* thing: how far a
permission carries (own things, the team's, everything) is its reach, and stands in `roles.py`.

There is deliberately no permission to change, shorten or delete the audit trail. What nobody can
be given, nobody can misuse (Spec ID-9, AU-1).

Source: Spec ID-1; the roles and their actions are those of the specification's role list.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """Every action that a subject can be allowed to take."""

    WORKSPACE_CREATE = "workspace.create"
    WORKSPACE_VIEW = "workspace.view"
    WORKSPACE_VIEW_TEAM = "workspace.view-team"
    WORKSPACE_VIEW_ALL = "workspace.view-all"
    WORKSPACE_START = "workspace.start"
    WORKSPACE_STOP = "workspace.stop"
    WORKSPACE_EXTEND = "workspace.extend"
    WORKSPACE_RESIZE = "workspace.resize"
    WORKSPACE_DELETE = "workspace.delete"
    WORKSPACE_EXECUTE = "workspace.execute"
    WORKSPACE_READ_FILES = "workspace.read-files"
    WORKSPACE_WRITE_FILES = "workspace.write-files"

    AGENT_DEFINE = "agent.define"
    AGENT_CREATE = "agent.create"
    AGENT_VIEW = "agent.view"
    AGENT_KILL = "agent.kill"
    AGENT_ELEVATE = "agent.elevate"
    AGENT_LOWER = "agent.lower"
    TASK_CLOSE = "task.close"

    CODE_PROPOSE = "code.propose"
    CODE_MERGE = "code.merge"
    PIPELINE_RUN = "pipeline.run"

    APPROVAL_REQUEST = "approval.request"
    APPROVAL_VIEW = "approval.view"
    APPROVAL_VOTE = "approval.vote"
    APPROVAL_CANCEL = "approval.cancel"
    APPROVAL_COMMENT = "approval.comment"
    GRANT_VIEW = "grant.view"
    GRANT_REVOKE = "grant.revoke"
    ABSENCE_MANAGE = "absence.manage"

    TEMPLATE_VIEW = "template.view"
    TEMPLATE_MANAGE = "template.manage"
    POLICY_VIEW = "policy.view"
    POLICY_TRY = "policy.try"
    POLICY_PROPOSE = "policy.propose"
    POLICY_REVIEW = "policy.review"
    POLICY_APPLY = "policy.apply"
    POLICY_ROLLBACK = "policy.rollback"
    GOVERNANCE_MANAGE = "governance.manage"
    ENFORCEMENT_POINT_VIEW = "enforcement-point.view"
    ENFORCEMENT_POINT_MANAGE = "enforcement-point.manage"
    QUOTA_VIEW = "quota.view"
    QUOTA_MANAGE = "quota.manage"
    QUOTA_REQUEST = "quota.request"
    QUOTA_RELEASE = "quota.release"

    PRODUCTION_ACCESS = "production.access"
    PRODUCTION_VIEW = "production.view"
    PRODUCTION_REVOKE = "production.revoke"
    BREAK_GLASS_START = "break-glass.start"
    BREAK_GLASS_VIEW = "break-glass.view"
    BREAK_GLASS_END = "break-glass.end"
    BREAK_GLASS_REVIEW = "break-glass.review"

    DECISION_VIEW = "decision.view"
    AUDIT_VIEW = "audit.view"
    AUDIT_EXPORT = "audit.export"
    USAGE_VIEW = "usage.view"
    USAGE_VIEW_TEAM = "usage.view-team"
    USAGE_VIEW_ALL = "usage.view-all"

    PEOPLE_VIEW = "people.view"
    PEOPLE_MANAGE = "people.manage"
    TEAM_MANAGE = "team.manage"
    ROLE_BIND = "role.bind"
    ROLE_DEFINE = "role.define"
    ACCESS_REVIEW_VIEW = "access-review.view"
    ACCESS_REVIEW_OPEN = "access-review.open"
    ACCESS_REVIEW_ANSWER = "access-review.answer"
    TOKEN_MANAGE = "token.manage"  # noqa: S105  the name of a permission, no secret
    PASSKEY_MANAGE = "passkey.manage"
    SESSION_HAND_OVER = "session.hand-over"
    SESSION_END = "session.end"

    NOTIFICATION_VIEW = "notification.view"
    NOTIFICATION_MANAGE = "notification.manage"
    KEY_VIEW = "key.view"
    KEY_ROTATE = "key.rotate"
    PROVIDER_VIEW = "provider.view"
    CONTROLLER_VIEW = "controller.view"
    METRICS_VIEW = "metrics.view"


# Actions that only look. Asked of a whole collection they need no particular scope: the answer is
# then filtered, row by row, to what the subject may see.
READS: Final = frozenset(
    {
        Permission.WORKSPACE_VIEW,
        Permission.WORKSPACE_VIEW_TEAM,
        Permission.WORKSPACE_VIEW_ALL,
        Permission.AGENT_VIEW,
        Permission.APPROVAL_VIEW,
        Permission.GRANT_VIEW,
        Permission.TEMPLATE_VIEW,
        Permission.POLICY_VIEW,
        Permission.ENFORCEMENT_POINT_VIEW,
        Permission.QUOTA_VIEW,
        Permission.PRODUCTION_VIEW,
        Permission.BREAK_GLASS_VIEW,
        Permission.DECISION_VIEW,
        Permission.AUDIT_VIEW,
        Permission.USAGE_VIEW,
        Permission.USAGE_VIEW_TEAM,
        Permission.USAGE_VIEW_ALL,
        Permission.PEOPLE_VIEW,
        Permission.NOTIFICATION_VIEW,
        Permission.ACCESS_REVIEW_VIEW,
        Permission.KEY_VIEW,
        Permission.PROVIDER_VIEW,
        Permission.CONTROLLER_VIEW,
        Permission.METRICS_VIEW,
    }
)

# What the thing itself can entitle somebody to, whatever their roles; see `entitled_ids` of
# `core.access.resource.ResourceRef`.
BY_ENTITLEMENT: Final = frozenset(
    {
        Permission.APPROVAL_VIEW,
        Permission.APPROVAL_VOTE,
        Permission.APPROVAL_COMMENT,
        Permission.GRANT_VIEW,
        Permission.GRANT_REVOKE,
    }
)

# Which permission lets a subject know that a thing of this kind exists. A kind that is missing
# here has no secret existence: refusing to act on it tells nothing.
VIEW_OF_KIND: Final = {
    "workspace": Permission.WORKSPACE_VIEW,
    "agent": Permission.AGENT_VIEW,
    "task": Permission.AGENT_VIEW,
    "approval": Permission.APPROVAL_VIEW,
    "grant": Permission.GRANT_VIEW,
    "absence": Permission.ABSENCE_MANAGE,
    "decision": Permission.DECISION_VIEW,
    "template": Permission.TEMPLATE_VIEW,
    "person": Permission.PEOPLE_VIEW,
    "token": Permission.TOKEN_MANAGE,
    "production-access": Permission.PRODUCTION_VIEW,
    "break-glass": Permission.BREAK_GLASS_VIEW,
}
