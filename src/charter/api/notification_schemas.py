"""The shapes of notifications at the HTTP edge."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from charter.api.schemas import Reference, Slug

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Secret = Annotated[str, Field(min_length=16, max_length=500, pattern=r"^[\x21-\x7e]+$")]
KindName = Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,40}$")]


class ChannelIn(BaseModel):
    """A new channel. Its address and secret are given, or name files on the server."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["slack", "webhook"] = Field(
        description="`slack`: messages in its blocks; `webhook`: signed JSON."
    )
    name: Slug
    team: Reference | None = Field(default=None, description="Without it: the organisation's.")
    kinds: Annotated[list[KindName], Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="Kinds of notices that it carries; without it all shared ones."
    )
    url: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    url_file: FileName | None = None
    secret: (
        Annotated[str, Field(min_length=16, max_length=500, pattern=r"^[\x21-\x7e]+$")] | None
    ) = Field(default=None, description="What a webhook's messages are signed with.")
    secret_file: FileName | None = None


class ChannelOut(BaseModel):
    """A channel, without its address and secret."""

    id: str
    kind: str
    name: str
    team_id: str | None
    team: str | None
    kinds: list[str]
    shown: str = Field(description="Scheme and host of the address.")
    signed: bool
    created_by: str
    created_at: datetime
    last_state: str | None = Field(description="State of the newest message for it.")
    last_reason: str | None


class ChannelMadeOut(ChannelOut):
    """A new channel; a generated secret is shown this once."""

    secret: str | None


class PreferenceOut(BaseModel):
    """When one kind of notice comes by mail."""

    kind: str
    title: str
    when: str
    fixed: bool = Field(description="It always comes at once.")


class PreferencesOut(BaseModel):
    """Where mails go, and when each kind comes."""

    address: str | None
    mail: bool = Field(description="Whether this server sends mails.")
    time_zone: str
    kinds: list[PreferenceOut]


class PreferencesIn(BaseModel):
    """Kinds of notices with `at-once`, `digest` or `off`; what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    kinds: Annotated[
        dict[KindName, Literal["at-once", "digest", "off"]], Field(min_length=1, max_length=40)
    ]


class TestOut(BaseModel):
    """A test message was left to be sent."""

    __test__ = False  # no test class

    delivery: str
    channel: str


class DeliveryOut(BaseModel):
    """One message in the outbox."""

    id: str
    via: str
    to: str | None = Field(description="The person's handle or the channel's name.")
    kind: str
    state: str
    attempts: int
    reason: str | None = Field(description="What the last attempt came to, unless it worked.")
    fix: str | None = Field(description="The next step.")
    created_at: datetime
    next_attempt_at: datetime
    settled_at: datetime | None
    resource_kind: str | None
    resource_id: str | None
    digest: bool
