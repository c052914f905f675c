"""Which command lists things of a kind: the next step after a name that leads nowhere."""

from typing import Final

# Most kinds have a `list` of their own; these are found elsewhere.
_ELSEWHERE: Final = {
    "absence": "away show",
    "access-review": "review list",
    "agent-definition": "agent definitions",
    "break-glass": "break-glass reviews",
    "delivery": "notification deliveries",
    "elevation": "agent list",
    "key": "keys list",
    "notification": "notification deliveries",
    "notification-channel": "notification channel list",
    "page": "overview",
    "policy": "policy bundles",
    "production-access": "production list",
    "provider": "provider capabilities",
    "quota-override": "quota overrides",
    "review": "governance calendar",
    "role": "role catalogue",
    "role-binding": "role list",
    "scim-token": "scim token list",
}


def list_command(kind: str) -> str:
    """The command line that shows what there is of a `kind`."""
    return f"charter {_ELSEWHERE.get(kind, f'{kind} list')}"
