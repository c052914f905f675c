"""SCIM's words for people and teams: the resources Charter keeps, and what it announces.

SCIM (RFC 7643, 7644) is how a directory tells an application whom it has. Its `User` has some
thirty attributes; the ones here are those that Charter has a use for. Everything else that a
directory sends (telephone numbers, addresses, `roles`, a password) is accepted, because
directories send what their mapping holds, and dropped: what is not kept cannot leak, and a `roles`
attribute is no way to become an administrator.

`TOLERANT` is how far a client may depart from the letter: Entra ID capitalises operations, removes
members by value and adds to e-mail addresses that are not there yet.

Source: Spec ID-3.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, model_validator
from scim2_models import (
    AnyExtension,
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    ETag,
    Extension,
    Filter,
    Mutability,
    Patch,
    Reference,
    Required,
    Resource,
    ResourceType,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)
from scim2_models import User as CoreUser
from scim2_models.urn import URN

MEDIA_TYPE: Final = "application/scim+json"
MOST_RESULTS: Final = 200
TOLERANT: Final = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)


class Membership(ComplexAttribute):
    """A group in which the person is; the group says so, not the person."""

    value: Annotated[str | None, Mutability.read_only, CaseExact.true] = None
    ref: Annotated[Reference["Group"] | None, Mutability.read_only] = Field(  # noqa: UP037
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    display: Annotated[str | None, Mutability.read_only] = None
    type: Annotated[str | None, Mutability.read_only] = Field(None, examples=["direct"])


class User(Resource[AnyExtension]):
    """A person."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    name: CoreUser.Name | None = None  # type: ignore[valid-type]
    display_name: str | None = None
    title: str | None = None
    user_type: str | None = None
    preferred_language: str | None = None
    locale: str | None = None
    timezone: str | None = None
    active: bool | None = None
    emails: list[CoreUser.Emails] | None = None  # type: ignore[valid-type]
    groups: Annotated[list[Membership] | None, Mutability.read_only] = None


class Manager(ComplexAttribute):
    """Whom the person reports to."""

    value: Annotated[str | None, CaseExact.true] = None
    ref: Reference["User"] | None = Field(  # type: ignore[type-arg]  # noqa: UP037
        None, serialization_alias="$ref", validation_alias="$ref"
    )

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        """Entra ID sends the manager's id alone, in place of an object that holds it."""
        return {"value": value or None} if isinstance(value, str) else value


class EnterpriseUser(Extension):
    """Where in the organisation the person is."""

    __schema__ = URN("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User")

    employee_number: str | None = None
    cost_center: str | None = None
    organization: str | None = None
    division: str | None = None
    department: str | None = None
    manager: Manager | None = None


class Member(ComplexAttribute):
    """A person in a group. Groups in groups are not taken: a team has people."""

    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    ref: Annotated[Reference["User"] | None, Mutability.immutable] = Field(  # type: ignore[type-arg]  # noqa: UP037
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    type: Annotated[str | None, Mutability.immutable] = Field(None, examples=["User"])


class Group(Resource[Any]):
    """A team."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    members: list[Member] | None = None


Person = User[EnterpriseUser]
ENTERPRISE: Final = str(EnterpriseUser.__schema__)


def provider() -> ScimProvider:
    """What the service announces of itself."""
    return ScimProvider(
        models=[User, EnterpriseUser, Group],
        resource_types=[ResourceType.from_resource(Person), ResourceType.from_resource(Group)],
        config=ServiceProviderConfig(
            patch=Patch(supported=True),
            bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
            filter=Filter(supported=True, max_results=MOST_RESULTS),
            change_password=ChangePassword(supported=False),
            sort=Sort(supported=True),
            etag=ETag(supported=True),
            authentication_schemes=[
                AuthenticationScheme(
                    type=AuthenticationScheme.Type.oauthbearertoken,
                    name="Provisioning token",
                    description="A bearer token of `charter scim token create`.",
                    primary=True,
                )
            ],
        ),
        policy=TOLERANT,
    )
