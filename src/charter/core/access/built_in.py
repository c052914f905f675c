"""The built-in roles: what each of them holds, and how far it carries.

One table, to be read as a whole: whoever wonders what a team lead may do looks here. `roles.py`
says what roles and their bindings are, and asks this table.

Source: Spec ID-1, ID-9.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from charter.core.access.permissions import Permission


class RoleName(StrEnum):
    """The built-in roles."""

    DEVELOPER = "developer"
    TEAM_LEAD = "team-lead"
    PLATFORM_ADMIN = "platform-admin"
    SECURITY_ADMIN = "security-admin"
    AGENT = "agent"
    READ_ONLY = "read-only"


class Reach(StrEnum):
    """How far a permission carries within the scope of its binding."""

    OWN = "own"  # what the subject owns, sponsors or asked for
    TEAM = "team"  # what belongs to the subject's teams
    ALL = "all"  # everything that the binding covers
    SHARED = "shared"  # things that belong to everybody, such as the catalogue; any binding will do


_EVERYBODY: Final[Mapping[Permission, Reach]] = {
    Permission.TEMPLATE_VIEW: Reach.SHARED,
    Permission.POLICY_VIEW: Reach.SHARED,
    Permission.PROVIDER_VIEW: Reach.SHARED,
}

_INSIDE_OWN_WORKSPACE: Final[Mapping[Permission, Reach]] = {
    Permission.WORKSPACE_CREATE: Reach.OWN,
    Permission.WORKSPACE_EXECUTE: Reach.OWN,
    Permission.WORKSPACE_READ_FILES: Reach.OWN,
    Permission.WORKSPACE_WRITE_FILES: Reach.OWN,
}


def _with(*permissions: Permission, reach: Reach) -> dict[Permission, Reach]:
    return dict.fromkeys(permissions, reach)


_MANAGE_WORKSPACE: Final = (
    Permission.WORKSPACE_VIEW,
    Permission.WORKSPACE_START,
    Permission.WORKSPACE_STOP,
    Permission.WORKSPACE_EXTEND,
    Permission.WORKSPACE_RESIZE,
    Permission.WORKSPACE_DELETE,
)

# With what a person proves who they are, what reaches them by mail, and whether they still need
# what they hold. Ending one's own sessions needs no permission at all.
_OWN_ACCOUNT: Final = (
    Permission.ACCESS_REVIEW_VIEW,
    Permission.TOKEN_MANAGE,
    Permission.PASSKEY_MANAGE,
    Permission.SESSION_HAND_OVER,
    Permission.NOTIFICATION_MANAGE,
    Permission.ABSENCE_MANAGE,  # and who answers in their stead
)

# Temporary powers of others: both kinds of administrators see them and can end them.
_WATCH_ELEVATION: Final = (
    Permission.AGENT_LOWER,
    Permission.PRODUCTION_VIEW,
    Permission.PRODUCTION_REVOKE,
    Permission.BREAK_GLASS_VIEW,
    Permission.BREAK_GLASS_END,
    Permission.BREAK_GLASS_REVIEW,
)

_OWN_BUSINESS: Final = (
    *_OWN_ACCOUNT,
    Permission.AGENT_CREATE,
    Permission.APPROVAL_REQUEST,
    Permission.APPROVAL_CANCEL,
    Permission.USAGE_VIEW,
    Permission.AGENT_ELEVATE,
    Permission.QUOTA_REQUEST,
    Permission.QUOTA_RELEASE,
    Permission.PRODUCTION_ACCESS,
    Permission.BREAK_GLASS_START,
)

ROLE_REACH: Final[Mapping[RoleName, Mapping[Permission, Reach]]] = MappingProxyType(
    {
        RoleName.DEVELOPER: MappingProxyType(
            {
                **_EVERYBODY,
                **_INSIDE_OWN_WORKSPACE,
                **_with(*_MANAGE_WORKSPACE, *_OWN_BUSINESS, reach=Reach.OWN),
                **_with(
                    Permission.AGENT_VIEW,
                    Permission.AGENT_KILL,
                    Permission.AGENT_LOWER,
                    Permission.TASK_CLOSE,
                    Permission.APPROVAL_VIEW,
                    Permission.APPROVAL_COMMENT,
                    Permission.GRANT_VIEW,
                    Permission.GRANT_REVOKE,
                    Permission.DECISION_VIEW,
                    Permission.QUOTA_VIEW,
                    Permission.PRODUCTION_VIEW,
                    Permission.PRODUCTION_REVOKE,
                    Permission.BREAK_GLASS_VIEW,
                    Permission.BREAK_GLASS_END,
                    reach=Reach.OWN,
                ),
                **_with(
                    Permission.CODE_PROPOSE,
                    Permission.CODE_MERGE,
                    Permission.PIPELINE_RUN,
                    reach=Reach.TEAM,
                ),
            }
        ),
        RoleName.TEAM_LEAD: MappingProxyType(
            {
                **_EVERYBODY,
                **_INSIDE_OWN_WORKSPACE,
                **_with(
                    *_OWN_BUSINESS,
                    Permission.BREAK_GLASS_VIEW,
                    Permission.BREAK_GLASS_END,
                    reach=Reach.OWN,
                ),
                **_with(
                    *_MANAGE_WORKSPACE,
                    Permission.WORKSPACE_VIEW_TEAM,
                    Permission.PRODUCTION_VIEW,
                    Permission.PRODUCTION_REVOKE,
                    Permission.AGENT_DEFINE,
                    Permission.AGENT_VIEW,
                    Permission.AGENT_KILL,
                    Permission.AGENT_LOWER,
                    Permission.TASK_CLOSE,
                    Permission.CODE_PROPOSE,
                    Permission.CODE_MERGE,
                    Permission.PIPELINE_RUN,
                    Permission.APPROVAL_VIEW,
                    Permission.APPROVAL_VOTE,
                    Permission.APPROVAL_COMMENT,
                    Permission.GRANT_VIEW,
                    Permission.GRANT_REVOKE,
                    Permission.DECISION_VIEW,
                    Permission.QUOTA_VIEW,
                    Permission.USAGE_VIEW_TEAM,
                    Permission.NOTIFICATION_VIEW,
                    Permission.NOTIFICATION_MANAGE,
                    Permission.PEOPLE_VIEW,
                    Permission.ACCESS_REVIEW_VIEW,
                    Permission.ACCESS_REVIEW_ANSWER,
                    reach=Reach.TEAM,
                ),
                Permission.POLICY_TRY: Reach.SHARED,
            }
        ),
        RoleName.PLATFORM_ADMIN: MappingProxyType(
            {
                **_EVERYBODY,
                **_INSIDE_OWN_WORKSPACE,
                **_with(*_OWN_BUSINESS, reach=Reach.OWN),
                **_with(
                    *_MANAGE_WORKSPACE,
                    Permission.WORKSPACE_VIEW_TEAM,
                    Permission.WORKSPACE_VIEW_ALL,
                    *_WATCH_ELEVATION,
                    Permission.AGENT_DEFINE,
                    Permission.AGENT_VIEW,
                    Permission.AGENT_KILL,
                    Permission.TASK_CLOSE,
                    Permission.APPROVAL_VIEW,
                    Permission.APPROVAL_VOTE,
                    Permission.APPROVAL_COMMENT,
                    Permission.GRANT_VIEW,
                    Permission.GRANT_REVOKE,
                    Permission.TEMPLATE_MANAGE,
                    Permission.POLICY_TRY,
                    Permission.POLICY_PROPOSE,
                    Permission.POLICY_REVIEW,
                    Permission.POLICY_APPLY,
                    Permission.POLICY_ROLLBACK,
                    Permission.GOVERNANCE_MANAGE,
                    Permission.ENFORCEMENT_POINT_VIEW,
                    Permission.ENFORCEMENT_POINT_MANAGE,
                    Permission.QUOTA_VIEW,
                    Permission.QUOTA_MANAGE,
                    Permission.QUOTA_RELEASE,
                    Permission.DECISION_VIEW,
                    Permission.AUDIT_VIEW,
                    Permission.AUDIT_EXPORT,
                    Permission.USAGE_VIEW_TEAM,
                    Permission.USAGE_VIEW_ALL,
                    Permission.KEY_VIEW,
                    Permission.KEY_ROTATE,
                    Permission.PEOPLE_VIEW,
                    Permission.ACCESS_REVIEW_VIEW,
                    Permission.ACCESS_REVIEW_OPEN,
                    Permission.ACCESS_REVIEW_ANSWER,
                    Permission.PEOPLE_MANAGE,
                    Permission.TEAM_MANAGE,
                    Permission.ROLE_BIND,
                    Permission.SESSION_END,
                    Permission.ROLE_DEFINE,
                    Permission.NOTIFICATION_VIEW,
                    Permission.NOTIFICATION_MANAGE,
                    Permission.CONTROLLER_VIEW,
                    Permission.METRICS_VIEW,
                    reach=Reach.ALL,
                ),
            }
        ),
        # Security sees everything and can stop what is dangerous. It configures nothing, so that
        # those who watch are never those who are watched.
        RoleName.SECURITY_ADMIN: MappingProxyType(
            {
                **_EVERYBODY,
                **_with(
                    *_OWN_ACCOUNT,
                    Permission.USAGE_VIEW,
                    Permission.BREAK_GLASS_START,
                    reach=Reach.OWN,
                ),
                **_with(
                    Permission.WORKSPACE_VIEW,
                    Permission.WORKSPACE_VIEW_TEAM,
                    Permission.WORKSPACE_VIEW_ALL,
                    *_WATCH_ELEVATION,
                    Permission.WORKSPACE_STOP,
                    Permission.AGENT_VIEW,
                    Permission.AGENT_KILL,
                    Permission.APPROVAL_VIEW,
                    Permission.APPROVAL_VOTE,
                    Permission.APPROVAL_COMMENT,
                    Permission.GRANT_VIEW,
                    Permission.GRANT_REVOKE,
                    Permission.POLICY_TRY,
                    Permission.POLICY_REVIEW,
                    Permission.POLICY_ROLLBACK,
                    Permission.GOVERNANCE_MANAGE,
                    Permission.ENFORCEMENT_POINT_VIEW,
                    Permission.QUOTA_VIEW,
                    Permission.DECISION_VIEW,
                    Permission.AUDIT_VIEW,
                    Permission.AUDIT_EXPORT,
                    Permission.USAGE_VIEW_TEAM,
                    Permission.USAGE_VIEW_ALL,
                    Permission.KEY_VIEW,
                    Permission.KEY_ROTATE,
                    Permission.PEOPLE_VIEW,
                    Permission.ACCESS_REVIEW_VIEW,
                    Permission.ACCESS_REVIEW_OPEN,
                    Permission.ACCESS_REVIEW_ANSWER,
                    Permission.SESSION_END,
                    Permission.NOTIFICATION_VIEW,
                    Permission.CONTROLLER_VIEW,
                    Permission.METRICS_VIEW,
                    reach=Reach.ALL,
                ),
            }
        ),
        # The widest an agent can ever be; tier, task and sponsor only narrow it. No votes, no
        # other agents, no extension of its own running time, no tokens.
        RoleName.AGENT: MappingProxyType(
            {
                **_EVERYBODY,
                **_INSIDE_OWN_WORKSPACE,
                **_with(
                    Permission.WORKSPACE_VIEW,
                    Permission.WORKSPACE_START,
                    Permission.WORKSPACE_STOP,
                    Permission.WORKSPACE_DELETE,
                    Permission.AGENT_VIEW,
                    Permission.AGENT_ELEVATE,
                    Permission.AGENT_LOWER,
                    Permission.TASK_CLOSE,
                    Permission.CODE_PROPOSE,
                    Permission.CODE_MERGE,
                    Permission.PIPELINE_RUN,
                    Permission.APPROVAL_REQUEST,
                    Permission.APPROVAL_VIEW,
                    Permission.APPROVAL_CANCEL,
                    Permission.APPROVAL_COMMENT,
                    Permission.GRANT_VIEW,
                    Permission.DECISION_VIEW,
                    reach=Reach.OWN,
                ),
            }
        ),
        RoleName.READ_ONLY: MappingProxyType(
            {
                **_EVERYBODY,
                **_with(*_OWN_ACCOUNT, reach=Reach.OWN),
                **_with(
                    Permission.WORKSPACE_VIEW,
                    Permission.WORKSPACE_VIEW_TEAM,
                    Permission.WORKSPACE_VIEW_ALL,
                    Permission.AGENT_VIEW,
                    Permission.QUOTA_VIEW,
                    Permission.PRODUCTION_VIEW,
                    Permission.USAGE_VIEW,
                    Permission.USAGE_VIEW_TEAM,
                    Permission.USAGE_VIEW_ALL,
                    Permission.CONTROLLER_VIEW,
                    Permission.METRICS_VIEW,
                    reach=Reach.ALL,
                ),
            }
        ),
    }
)

ROLE_PERMISSIONS: Final[Mapping[RoleName, frozenset[Permission]]] = MappingProxyType(
    {role: frozenset(reach) for role, reach in ROLE_REACH.items()}
)
