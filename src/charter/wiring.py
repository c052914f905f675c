"""The composition root: plain functions that put the parts together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from charter import clock
from charter.adapters.identity.oidc import OidcProvider, ProviderConfig
from charter.adapters.rego.load import load_directory, shipped_bundle
from charter.adapters.workspaces.local.provider import LocalProvider
from charter.services.audit_sealing import load_or_create_key
from charter.services.bootstrap import bootstrap, recover_admin
from charter.services.policy_point import PolicyPoint, engine_maker
from charter.services.runtime import Keys, Runtime
from charter.settings import Settings
from charter.store.embedded import EmbeddedPostgres
from charter.store.migrate import migrate
from charter.store.unit_of_work import Database


def database_url(settings: Settings) -> str:
    """Where the database is: the configured one, or the embedded server of the state folder."""
    return settings.database_url or EmbeddedPostgres(settings.state_dir.absolute() / "pg").url


def build_runtime(settings: Settings) -> Runtime:
    """Everything that services need; nothing is connected or started yet."""
    state = settings.state_dir.absolute()
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    keys = state / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    policy_key = load_or_create_key(keys / "policy.key", clock.random_bytes)
    return Runtime(
        settings=settings,
        database=Database(database_url(settings), pool_size=settings.database_pool),
        policy=PolicyPoint(policy_key.public_key(), engine_maker(settings)),
        provider=LocalProvider(state / "workspaces"),
        keys=Keys(
            sealing=load_or_create_key(keys / "sealing.key", clock.random_bytes),
            audit=load_or_create_key(keys / "audit.key", clock.random_bytes),
            policy=policy_key,
            notifications=load_or_create_key(keys / "notifications.key", clock.random_bytes),
        ),
        now=clock.now,
        randomness=clock.random_bytes,
        sign_in_providers=sign_in_providers(settings, clock.now),
    )


def sign_in_providers(
    settings: Settings, now: Callable[[], datetime]
) -> Mapping[str, OidcProvider]:
    """The OpenID providers of the settings; none of them is asked anything yet."""
    return {
        name: OidcProvider(
            ProviderConfig(
                name=name,
                **{**each.model_dump(), "label": each.label or name.replace("_", " ").title()},
            ),
            redirect_uri=f"{settings.url}/sign-in/oidc/{name}/callback",
            now=now,
        )
        for name, each in settings.oidc.items()
    }


@contextmanager
def runtime(settings: Settings) -> Iterator[Runtime]:
    """A runtime that is taken apart at the end."""
    rt = build_runtime(settings)
    try:
        yield rt
    finally:
        for found in rt.sign_in_providers.values():
            found.close()
        rt.policy.close()
        rt.database.close()


def recover(settings: Settings, handle: str | None, *, forget_passkeys: bool) -> dict[str, Any]:
    """A one-time link for a platform admin, for whoever has the installation in their hands."""
    with runtime(settings) as rt:
        return recover_admin(rt, handle or settings.admin_handle, forget_passkeys=forget_passkeys)


def prepare(settings: Settings) -> str | None:
    """Migrate and fill the database; the first administrator's one-time link, if needed."""
    with runtime(settings) as rt:
        rt.database.await_answer()
        migrate(rt.database.engine)
        folder = settings.policy_dir
        return bootstrap(rt, shipped_bundle() if folder is None else load_directory(folder))
