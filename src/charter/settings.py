"""Settings: what an operator may choose without touching policy.

Read from the environment (`CHARTER_…`). Limits, approvers and schedules are not settings: they are
policy data, reviewed and versioned with the rules (docs/reference/settings.md lists these here).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from charter.core.access.addresses import parse_networks

ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")]


class OidcProviderSettings(BaseModel):
    """One OpenID provider: `CHARTER_OIDC__<name>__ISSUER` and so on."""

    model_config = ConfigDict(extra="forbid")

    issuer: str = Field(
        pattern=r"^https?://[^\s?#]+$",
        description="The issuer, exactly as the provider writes it; all else is discovered there.",
    )
    client_id: str = Field(min_length=1, description="What the provider calls this Charter.")
    client_secret_file: Path | None = Field(
        default=None,
        description="File with the client secret; without it Charter is a public client.",
    )
    label: str | None = Field(
        default=None, max_length=60, description="What the button says; else the provider's name."
    )
    scopes: str = Field(
        default="openid profile email", description="What is asked for, separated by spaces."
    )
    acr_values: str = Field(
        default="", description="Classes of authentication that are asked for, best first."
    )
    subject_claim: str = Field(
        default="sub", description="The claim of the ID token that names a person for ever."
    )
    groups_claim: str = Field(default="groups", description="The claim that lists their groups.")


class Settings(BaseSettings):
    """Every setting, with its default; the description is what the reference shows."""

    model_config = SettingsConfigDict(
        env_prefix="CHARTER_", extra="ignore", env_nested_delimiter="__"
    )

    state_dir: Path = Field(
        default=Path(".charter"),
        description="Folder for everything Charter keeps on this machine: database, keys, "
        "workspace homes, logs.",
    )
    database_url: str | None = Field(
        default=None,
        description="An external PostgreSQL as a SQLAlchemy URL (postgresql+psycopg://…). "
        "Without it the embedded server under the state folder is used.",
    )
    host: str = Field(default="127.0.0.1", description="Address on which API and portal listen.")
    port: int = Field(default=8470, ge=0, le=65535, description="Port of API and portal.")
    public_url: str | None = Field(
        default=None,
        description="Address under which people reach the portal, if it is not host and port "
        "(behind a proxy). Links and cookies follow it.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Proxies in front of Charter whose word about a client's address counts: "
        "addresses and networks in CIDR notation, separated by commas. Name the proxies only: "
        "whoever is inside these networks may claim any address.",
    )
    forwarded_header: Literal["X-Forwarded-For", "Forwarded"] = Field(
        default="X-Forwarded-For",
        description="The header in which those proxies name the client: `X-Forwarded-For` or "
        "`Forwarded` (RFC 7239). The other one is ignored.",
    )
    policy_dir: Path | None = Field(
        default=None,
        description="Folder of the policy bundle that a new instance starts with. "
        "Without it: the starter policies that ship with Charter.",
    )
    policy_engine: Literal["builtin", "opa"] = Field(
        default="builtin",
        description="What evaluates policies: `builtin` (in this process) or `opa` (the OPA server "
        "at CHARTER_OPA_URL; when it does not answer, everything is refused).",
    )
    opa_url: str | None = Field(
        default=None,
        description="An OPA server that Charter may load policies into. With it, a bundle is put "
        "in force only when OPA and the built-in engine agree about its tests and a sample of "
        "recorded decisions (the parity gate).",
    )
    opa_token_file: Path | None = Field(
        default=None, description="File with the bearer token for CHARTER_OPA_URL."
    )
    opa_parity_sample: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="How many of the newest decisions the parity gate makes on both engines.",
    )
    policy_repository: str | None = Field(
        default=None,
        description="Git repository whose branches are policy changes: an absolute path, "
        "ssh://…, user@host:path or https://…, without credentials in it.",
    )
    policy_branch: str = Field(
        default="main", description="Its main branch; a push to it is a policy change as well."
    )
    policy_path: str = Field(
        default="", description="Folder of the policies inside that repository; empty for its root."
    )
    policy_poll_seconds: float = Field(
        default=60.0, ge=1, le=86_400, description="How often that repository is fetched."
    )
    policy_ssh_key_file: Path | None = Field(
        default=None, description="Private key for a policy repository over ssh."
    )
    policy_ssh_known_hosts_file: Path | None = Field(
        default=None,
        description="Known hosts for it; unknown hosts are refused. Without it: the account's own.",
    )
    policy_token_file: Path | None = Field(
        default=None, description="File with the token for a policy repository over https."
    )
    policy_webhook_secret_file: Path | None = Field(
        default=None,
        description="File with the secret that the forge's webhook shows; with it, a push is "
        "fetched at once.",
    )
    policy_webhook_secret: SecretStr | None = Field(
        default=None, description="The same secret, where files cannot be mounted."
    )
    oidc: dict[ProviderName, OidcProviderSettings] = Field(
        default_factory=dict,
        description="OpenID providers that people may sign in with, by a name of your choice: "
        "CHARTER_OIDC__CORP__ISSUER=… and the other entries below, for a provider `corp`. What "
        "they may bring in is policy data (data/single_sign_on.json).",
    )
    smtp_host: str | None = Field(
        default=None, description="Mail server; without one, notices stay in the portal."
    )
    smtp_port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="`starttls` (asked for, and refused without it), `tls` (from the first byte) "
        "or `none`, which only a mail server on this very machine may have.",
    )
    smtp_user: str | None = Field(default=None, description="Account at the mail server.")
    smtp_password_file: Path | None = Field(
        default=None, description="File with the password of that account."
    )
    smtp_ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that the mail server's is checked against."
    )
    mail_from: str = Field(default="charter@localhost", description="Address that mails come from.")
    webhook_private_networks: str = Field(
        default="",
        description="Networks, separated by commas, that webhooks may reach beside the public "
        "internet (10.20.0.0/16,fd00::/8).",
    )
    webhook_loopback_http: bool = Field(
        default=False,
        description="Whether webhooks may be sent to this machine itself, and there without TLS.",
    )
    webhook_ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that webhooks' servers are checked against."
    )
    notification_secrets_dir: Path | None = Field(
        default=None,
        description="Folder of files that hold addresses and secrets of channels, which name a "
        "file in it in place of bringing the secret.",
    )
    notification_attempts: int = Field(
        default=10, ge=1, le=50, description="How often a message is tried before it is dead."
    )
    organisation: str = Field(default="main", description="Name of the organisation on pages.")
    admin_handle: str = Field(
        default="admin", description="Handle of the first administrator, made at first start."
    )
    log_level: str = Field(default="info", description="debug, info, warning or error.")
    database_pool: int = Field(
        default=24, ge=2, le=200, description="Database connections of one process."
    )
    controller_poll_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="How long a controller sleeps at most between two looks when nothing wakes it.",
    )
    workspace_processes: int = Field(
        default=512, ge=16, le=32768, description="Processes that one local workspace may have."
    )
    max_body_bytes: int = Field(
        default=1_048_576, ge=1024, description="Largest request body that is read."
    )
    max_admission_bytes: int = Field(
        default=8_388_608,
        ge=1024,
        description="Largest body of the Kubernetes admission webhook: an update carries the "
        "object before and after.",
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="Certificate chain (PEM) of a second, encrypted listener, which Kubernetes "
        "API servers need for webhooks. `charter kubernetes certificate` writes one.",
    )
    tls_key: Path | None = Field(
        default=None, description="Private key (PEM) of CHARTER_TLS_CERTIFICATE."
    )
    tls_host: str = Field(
        default="127.0.0.1", description="Address on which the encrypted listener listens."
    )
    tls_port: int = Field(
        default=8443, ge=0, le=65535, description="Port of the encrypted listener."
    )

    @field_validator("smtp_security")
    @classmethod
    def _no_plain_mail(cls, value: str, info: ValidationInfo) -> str:
        host = info.data.get("smtp_host")
        if value == "none" and host not in (None, "localhost", "127.0.0.1", "::1"):
            raise ValueError("mail without encryption goes to a server on this machine only")
        return value

    @field_validator("trusted_proxies", "webhook_private_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @property
    def session_cookie(self) -> str:
        """The name of the session's cookie.

        Over https it is one that no neighbouring host can plant in a browser (RFC 6265bis).
        """
        return "__Host-charter_session" if self.url.startswith("https:") else "charter_session"

    @property
    def url(self) -> str:
        """Where people reach this instance."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")
