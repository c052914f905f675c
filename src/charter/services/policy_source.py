"""Policy changes from Git: each pushed branch is a change, and a push to the main branch is one.

What counts is what is fetched. A webhook only rings the bell; who pushes what is read from the
repository itself, so a forged call costs one fetch and changes nothing.

A branch's change is what differs between the branch and the commit at which it left the main
branch; a push to the main branch is what differs from the main branch as it was last seen. When the
main branch is seen for the first time, its change is everything that differs from the bundle in
force. Applied to what is in force, that gives the candidate (`policy_flow`).

Level-triggered: the last seen commit of each branch is kept with what became of it, and a step
compares it with the branches that are there now.

Source: Spec PC-4, PC-5.
"""

from __future__ import annotations

import fcntl
import hmac
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import sqlalchemy as sa

from charter.adapters.git.command import Credentials, checked_url
from charter.adapters.git.repository import Commit, Repository, open_repository
from charter.core.access.roles import RoleName
from charter.core.audit.event import ActorRef
from charter.core.kernel.errors import CharterError, NotFoundError, UnauthenticatedError
from charter.core.policy.pipeline import OPEN, ChangeState, Edit, edits_between
from charter.services.policy_bundles import active_digest, tell
from charter.services.policy_records import (
    edits_json,
    files_of,
    limits_in_force,
    move,
    receive,
    record,
)
from charter.services.runtime import Caller, Runtime
from charter.store import tables as t
from charter.store.unit_of_work import Row, Tx

SOURCE: Final = ActorRef("system", "policy-source")
_FETCH: Final = timedelta(minutes=5)  # longer than a fetch may take: another replica waits so long
_OPEN_STATES: Final = [state.value for state in OPEN]


@dataclass(frozen=True, slots=True)
class Pushed:
    """A branch that has moved: what its commit says, and its files before and after.

    `before` is None where everything counts as new. `refusal` is a sentence in place of files.
    """

    branch: str
    commit: Commit
    emails: frozenset[str]
    before: Mapping[str, str] | None
    after: Mapping[str, str]
    refusal: str | None = None


def step(rt: Runtime) -> Mapping[str, Any] | None:
    """Fetch, if it is time, and receive what was pushed; None when there is nothing to do."""
    if rt.settings.policy_repository is None:
        return None
    claimed = _claim(rt)
    if claimed is None:
        return None
    with _alone(rt) as alone:
        if not alone:
            return None
        try:
            heads, repository = _fetched(rt)
            received = [
                change
                for branch, commit in _moved(rt, heads)
                if (change := _receive(rt, repository, heads, branch, commit)) is not None
            ]
            withdrawn = _withdraw_deleted(rt, heads)
        except CharterError as error:
            _settle(rt, claimed, error.message)
            return {"failed": error.message}
    _settle(rt, claimed, None)
    return {"branches": len(heads), "received": received, "withdrawn": withdrawn}


# --- when -------------------------------------------------------------------------------------
def _claim(rt: Runtime) -> datetime | None:
    """The claim on this fetch, unless another replica has it or it is not time yet."""
    with rt.database.unit_of_work() as tx:
        tx.insert_new(t.policy_source, single_row=True, next_fetch_at=tx.now)
        c = t.policy_source.c
        row = tx.one(
            sa.select(t.policy_source)
            .where(c.next_fetch_at <= tx.now)
            .with_for_update(skip_locked=True)
        )
        if row is None:
            return None
        until = tx.now + _FETCH
        tx.update(t.policy_source, c.single_row.is_(True), next_fetch_at=until)
        return until


def _settle(rt: Runtime, claimed: datetime, error: str | None) -> None:
    """Write down how it went and when to look again; a bell that rang meanwhile is not lost."""
    with rt.database.unit_of_work() as tx:
        c = t.policy_source.c
        row = tx.one(sa.select(t.policy_source).with_for_update())
        if row is None:
            return
        later = tx.now + timedelta(seconds=rt.settings.policy_poll_seconds)
        values: dict[str, Any] = {"error": error, "failing_since": None, "fetched_at": tx.now}
        if error is not None:
            since = row["failing_since"] or tx.now
            values = {"error": error, "failing_since": since}
            if row["failing_since"] is None:
                text = f"The policy repository cannot be fetched: {error}"
                tell(
                    tx,
                    (RoleName.PLATFORM_ADMIN.value,),
                    "policy-source",
                    text,
                    ("policy", "source"),
                )
                record(tx, "policy.source-failed", "source", SOURCE, private={"error": error})
        if row["next_fetch_at"] == claimed:
            values["next_fetch_at"] = later
        tx.update(t.policy_source, c.single_row.is_(True), **values)


@contextmanager
def _alone(rt: Runtime) -> Iterator[bool]:
    """Whether nobody else on this machine works on the mirror."""
    folder = rt.state_dir / "policy-source"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


# --- what -------------------------------------------------------------------------------------
def _fetched(rt: Runtime) -> tuple[dict[str, str], Repository]:
    settings = rt.settings
    repository = open_repository(
        settings.policy_repository or "",
        rt.state_dir / "policy-source",
        branch=settings.policy_branch,
        path=settings.policy_path,
        credentials=Credentials(
            settings.policy_ssh_key_file,
            settings.policy_ssh_known_hosts_file,
            settings.policy_token_file,
        ),
    )
    return repository.fetch(), repository


def _moved(rt: Runtime, heads: Mapping[str, str]) -> list[tuple[str, str]]:
    """Branches whose commit is not the one last seen; the main branch last.

    So a branch that is pushed and merged between two fetches is known before the merge is.
    """
    with rt.database.reading() as tx:
        seen = {row["branch"]: row["commit"] for row in tx.all(sa.select(t.policy_source_heads))}
    moved = [(b, c) for b, c in sorted(heads.items()) if seen.get(b) != c]
    return sorted(moved, key=lambda one: one[0] == rt.settings.policy_branch)


def _read(rt: Runtime, repository: Repository, heads: Mapping[str, str], branch: str) -> Pushed:
    """What the branch holds now; git is asked outside of any transaction."""
    commit = heads[branch]
    with rt.database.reading() as tx:
        largest = limits_in_force(rt, tx).largest_bundle_kib * 1024
        c = t.policy_source_heads.c
        last = tx.one(sa.select(c.commit).where(c.branch == branch))
    main = heads.get(rt.settings.policy_branch)
    base: str | None
    if branch == rt.settings.policy_branch:
        base = None if last is None else str(last["commit"])
        if base is not None and not repository.has(base):  # rewritten, and the mirror is new
            base = None
    else:
        base = None if main is None else repository.merge_base(commit, main)
    said, emails = repository.described(commit), repository.authors(commit, base)
    try:
        after = repository.files(commit, largest_bytes=largest)
        before = None if base is None else repository.files(base, largest_bytes=largest)
    except CharterError as error:
        return Pushed(branch, said, emails, {}, {}, f"{error.message} {error.fix}")
    if not any(path.endswith(".rego") for path in after):
        return Pushed(branch, said, emails, {}, {}, "It holds no .rego file.")
    return Pushed(branch, said, emails, before, after)


def _receive(
    rt: Runtime, repository: Repository, heads: Mapping[str, str], branch: str, commit: str
) -> str | None:
    """Make a change of what was pushed to one branch; its id, None when it changes nothing."""
    pushed = _read(rt, repository, heads, branch)
    with rt.database.unit_of_work() as tx:
        before = pushed.before
        if before is None:
            before = files_of(tx, active_digest(tx) or "")
        edits = edits_between(before, pushed.after)
        if pushed.refusal is None and not edits:
            change_id, outcome = None, "It changes no policy."
            _end_older(tx, branch, "The newest push to its branch changes no policy.")
        elif pushed.refusal is None and (same := _same(tx, edits, branch)) is not None:
            change_id, outcome = same, "It is the change that another branch brought."
            # Usually the branch was merged: the change outlives its branch from here on.
            where = t.policy_changes.c.id == same
            tx.update(t.policy_changes, where, branch=branch, commit=commit)
        else:
            change_id, outcome = _new(tx, pushed, edits), "It was received."
        _saw(tx, branch, commit, change_id, outcome)
        return change_id


def _new(tx: Tx, pushed: Pushed, edits: tuple[Edit, ...]) -> str:
    change_id = receive(
        tx,
        edits,
        source="git",
        title=pushed.commit.title,
        description=pushed.commit.body,
        author=pushed.commit.author_name,
        author_ids=_people(tx, pushed.emails, pushed.commit.author_name),
        by=SOURCE,
        branch=pushed.branch,
        commit=pushed.commit.id,
    )
    if pushed.refusal is not None:
        where = t.policy_changes.c.id == change_id
        tx.update(t.policy_changes, where, conflict=pushed.refusal)
    return change_id


def _people(tx: Tx, emails: frozenset[str], name: str) -> list[str]:
    """Those who wrote it, as far as they are known here; they may not review it."""
    c = t.people.c
    query = sa.select(c.id).where(sa.or_(sa.func.lower(c.email).in_(emails), c.handle == name))
    return [row["id"] for row in tx.all(query)]


def _same(tx: Tx, edits: tuple[Edit, ...], branch: str) -> str | None:
    """An open change of another branch with the very same edits."""
    c = t.policy_changes.c
    query = sa.select(c.id).where(
        c.state.in_(_OPEN_STATES),
        c.branch != branch,
        c.edits == sa.cast(edits_json(edits), c.edits.type),
    )
    row = tx.one(query.order_by(c.created_at).limit(1))
    return None if row is None else str(row["id"])


def _end_older(tx: Tx, branch: str, reason: str) -> int:
    c = t.policy_changes.c
    rows = tx.all(
        sa.select(t.policy_changes)
        .where(c.branch == branch, c.state.in_(_OPEN_STATES))
        .with_for_update()
    )
    for row in rows:
        move(tx, row, ChangeState.WITHDRAWN, reason, by=SOURCE)
    return len(rows)


def _saw(tx: Tx, branch: str, commit: str, change_id: str | None, outcome: str) -> None:
    heads = t.policy_source_heads
    tx.conn.execute(sa.delete(heads).where(heads.c.branch == branch))
    tx.insert(
        heads,
        branch=branch,
        commit=commit,
        change_id=change_id,
        outcome=outcome,
        seen_at=tx.now,
    )


def _withdraw_deleted(rt: Runtime, heads: Mapping[str, str]) -> int:
    """Withdraw the open changes of branches that are gone."""
    with rt.database.unit_of_work() as tx:
        c = t.policy_source_heads.c
        gone = [row["branch"] for row in tx.all(sa.select(c.branch)) if row["branch"] not in heads]
        ended = sum(_end_older(tx, branch, "Its branch was deleted.") for branch in gone)
        tx.conn.execute(sa.delete(t.policy_source_heads).where(c.branch.in_(gone)))
        return ended


# --- the bell ---------------------------------------------------------------------------------
def ring(rt: Runtime, body: bytes, headers: Mapping[str, str]) -> None:
    """Fetch soon, because a forge says that somebody pushed; what counts is what is fetched.

    Accepted are an HMAC of the body (`X-Hub-Signature-256`, `X-Gitea-Signature`) and the plain
    secret (`X-Gitlab-Token`). Raises `NotFoundError` where no secret is configured.
    """
    secret = _secret(rt)
    if not secret:
        raise NotFoundError(
            "There is no webhook here.",
            fix="Set CHARTER_POLICY_WEBHOOK_SECRET_FILE to use one.",
        )
    expected = hmac.new(secret, body, sha256).hexdigest().encode()
    signed = headers.get("x-hub-signature-256", "").removeprefix("sha256=")
    proofs = (
        (signed.encode(), expected),
        (headers.get("x-gitea-signature", "").encode(), expected),
        (headers.get("x-gitlab-token", "").encode(), secret),
    )
    if not any(hmac.compare_digest(shown, wanted) for shown, wanted in proofs):
        raise UnauthenticatedError(
            "The webhook's signature is not valid.",
            fix="Use the same secret there and in CHARTER_POLICY_WEBHOOK_SECRET_FILE.",
        )
    with rt.database.unit_of_work() as tx:
        tx.insert_new(t.policy_source, single_row=True, next_fetch_at=tx.now)
        tx.update(t.policy_source, t.policy_source.c.single_row.is_(True), next_fetch_at=tx.now)
        tx.wake = True


def _secret(rt: Runtime) -> bytes:
    path, secret = rt.settings.policy_webhook_secret_file, rt.settings.policy_webhook_secret
    if path is not None:
        try:
            return path.read_bytes().strip()
        except OSError:
            return b""
    return b"" if secret is None else secret.get_secret_value().encode()


# --- what people see --------------------------------------------------------------------------
def state(rt: Runtime, caller: Caller) -> dict[str, Any]:
    """The repository that is watched, how the last fetch went, and what became of each branch."""
    del caller
    settings = rt.settings
    with rt.database.reading() as tx:
        row = tx.one(sa.select(t.policy_source))
        heads = tx.all(sa.select(t.policy_source_heads).order_by(t.policy_source_heads.c.branch))

        def known(found: Row | None, name: str) -> Any:
            return None if found is None else found[name]

        return {
            "repository": _shown(settings.policy_repository),
            "branch": settings.policy_branch,
            "path": settings.policy_path,
            "poll_seconds": settings.policy_poll_seconds,
            "webhook": bool(_secret(rt)),
            "fetched_at": known(row, "fetched_at"),
            "error": known(row, "error"),
            "failing_since": known(row, "failing_since"),
            "heads": [dict(head) for head in heads],
        }


def _shown(url: str | None) -> str | None:
    """The address, unless it holds a credential; then it is refused anyway."""
    try:
        return None if url is None else checked_url(url)
    except CharterError:
        return "(not usable)"
