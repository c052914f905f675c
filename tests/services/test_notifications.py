"""Notices that leave: mails, digests, channels, and an outbox that loses and doubles nothing."""

from __future__ import annotations

import ast
import base64
import dataclasses
import hmac
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from charter.adapters.notify import mail, webhook
from charter.controllers import expiry
from charter.controllers import notifications as controller
from charter.core.kernel.errors import CharterError, ForbiddenError
from charter.core.notifications.delivery import Attempt, Outcome
from charter.core.notifications.kinds import OTHER, kind_of
from charter.core.notifications.targets import TargetError, read_target
from charter.services import (
    approvals,
    notification_channels,
    notification_sending,
    notifications,
    overview,
    workspaces,
)
from charter.services.approval_requests import notify
from charter.services.workspace_questions import WorkspaceRequest
from charter.store import tables as t
from tests.post import ACCOUNT, PASSWORD, Certificate, Mailbox, certificate, mail_server, web_server
from tests.spec import spec
from tests.support import World
from tools.reference import ROOT


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def box(trusted: Certificate) -> Iterator[Mailbox]:
    with mail_server(trusted) as running:
        yield running


def settings(world: World, **given: Any) -> None:
    world.rt = dataclasses.replace(world.rt, settings=world.rt.settings.model_copy(update=given))


@pytest.fixture
def mailed(world: World, box: Mailbox, trusted: Certificate, tmp_path: Path) -> World:
    """The world with a mail server, and an address for everybody but otto."""
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    settings(
        world,
        smtp_host="localhost",
        smtp_port=box.port,
        smtp_user=ACCOUNT,
        smtp_password_file=password,
        smtp_ca_file=trusted.authority,
        mail_from="charter@example.org",
        webhook_loopback_http=True,
    )
    with world.rt.database.unit_of_work() as tx:
        c = t.people.c
        tx.update(t.people, c.handle != "otto", email=c.handle + "@example.org")
        tx.update(t.notices, dispatched_at=tx.now)
    return world


def ask(world: World, name: str = "big", why: str | None = None) -> str:
    request = WorkspaceRequest(name=name, template="python", vcpu=40, justification=why)
    made = workspaces.create(world.rt, world.caller("dana"), request)
    return str(made["approval"]["id"])


def deliver(world: World) -> list[Any]:
    while controller.dispatch(world.rt):
        pass
    done = []
    while (one := controller.send(world.rt)) is not None:
        done.append(one)
    return done


def rows(world: World) -> list[Any]:
    with world.rt.database.reading() as tx:
        return list(tx.all(sa.select(t.deliveries).order_by(t.deliveries.c.id)))


def mails_to(box: Mailbox, who: str) -> list[Any]:
    return [m for m in box.received if m["To"] == f"{who}@example.org"]


def text_of(message: Any) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


@spec("AP-7")
def test_an_approver_gets_a_mail_with_everything_and_a_link_of_their_own(
    mailed: World, box: Mailbox
) -> None:
    ask(mailed, why="The load test needs it.")
    deliver(mailed)
    assert box.encrypted
    assert all(box.encrypted)
    lee, admin = mails_to(box, "lee")[0], mails_to(box, "admin")[0]
    text = text_of(lee)
    for fact in ("dana", "40 vCPU", "The load test needs it.", "payments", "workspace.create",
                 "2026-03-05 09:00 UTC", "team-lead", "a grant for 30 d"):  # fmt: skip
        assert fact in text
        assert fact in lee.get_body(("html",)).get_content()
    links = [re.findall(r"http\S+/vote\?link=\S+", text_of(m)) for m in (lee, admin)]
    assert [len(found) for found in links] == [1, 1]
    assert links[0] != links[1]
    assert lee["Auto-Submitted"] == "auto-generated"
    assert lee["List-Id"] == "<charter.127.0.0.1>"
    assert lee["Message-ID"].endswith("@example.org>")
    assert {row["state"] for row in rows(mailed)} == {"delivered"}
    stored = repr(rows(mailed)) + repr(overview.notices(mailed.rt, mailed.caller("lee")))
    assert "charter_apl_" not in stored  # the outbox holds no link


@spec("AP-7")
def test_reminders_thread_and_nothing_is_sent_about_what_was_settled(
    mailed: World, box: Mailbox
) -> None:
    ask(mailed)
    deliver(mailed)
    first = mails_to(box, "lee")[0]
    mailed.clock.advance(days=1, hours=1)
    expiry.step(mailed.rt)
    deliver(mailed)
    again = mails_to(box, "lee")[1]
    assert again["References"] == again["In-Reply-To"] == first["Message-ID"]
    assert again["Message-ID"] != first["Message-ID"]
    assert again["Subject"] == f"Re: {first['Subject']}"
    mailed.sign_in_again()
    other = ask(mailed, "other")
    while controller.dispatch(mailed.rt):
        pass
    before = len(mails_to(box, "lee"))
    approvals.deny(mailed.rt, mailed.caller("admin"), other, "No.")
    deliver(mailed)
    assert len(mails_to(box, "lee")) == before
    assert any("denied" in text_of(m) for m in mails_to(box, "dana"))
    about = [row for row in rows(mailed) if row["resource_id"] == other]
    late = [row for row in about if row["kind"] == "approval"]
    assert {(row["state"], row["reason"]) for row in late} == {
        ("skipped", "The request was settled meanwhile.")
    }


@spec("AP-7")
def test_hostile_texts_start_no_header_bring_no_markup_and_turn_no_line(
    mailed: World, box: Mailbox
) -> None:
    with mailed.rt.database.unit_of_work() as tx:
        lee = mailed.caller("lee").id
        tx.update(t.people, t.people.c.id == lee, display_name="Lee\r\nBcc: eve@example.org")
        notify(tx, lee, "agent-note", "Hi\r\nBcc: eve@example.org\n\n<script>x</script>\u202egnp")
    deliver(mailed)
    [message] = mails_to(box, "lee")
    assert message["Bcc"] is None
    assert box.recipients == ["lee@example.org"]
    assert "\u202e" not in message.as_string() + text_of(message)
    markup = message.get_body(("html",)).get_content()
    assert "<script>" not in markup
    assert "&lt;script&gt;" in markup
    assert message["Subject"] == "Hi"


def test_an_address_that_is_none_is_never_written_to(mailed: World, box: Mailbox) -> None:
    lee = mailed.caller("lee").id
    for address in (
        "lee@x.example\nBcc: eve@x.example",
        "a@b, eve@x.example",
        "<x@y>",
        "-f@x",
    ):
        with mailed.rt.database.unit_of_work() as tx:
            tx.update(t.people, t.people.c.id == lee, email=address)
            notify(tx, lee, "agent-note", "Something.")
        deliver(mailed)
    assert box.received == []


@spec("AP-7")
def test_two_replicas_send_each_message_once(mailed: World, box: Mailbox) -> None:
    with mailed.rt.database.unit_of_work() as tx:
        for number in range(12):
            notify(tx, mailed.caller("lee").id, "agent-note", f"Number {number}.")
    with ThreadPoolExecutor(4) as pool:
        for waiting in [pool.submit(deliver, mailed) for _ in range(4)]:
            waiting.result()
    deliver(mailed)
    said = sorted(m["Subject"] for m in box.received)
    assert said == sorted(f"Number {number}." for number in range(12))


@spec("AP-7")
def test_a_crash_between_sending_and_commit_sends_again_under_the_same_id(
    mailed: World, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mailed.rt.database.unit_of_work() as tx:
        notify(tx, mailed.caller("lee").id, "agent-note", "Once.")
    controller.dispatch(mailed.rt)
    with monkeypatch.context() as patched:

        def crash(*_: Any) -> None:
            raise KeyboardInterrupt

        patched.setattr(notification_sending, "_settle", crash)
        with pytest.raises(KeyboardInterrupt):
            controller.send(mailed.rt)
    deliver(mailed)
    first, second = box.received
    assert first["Message-ID"] == second["Message-ID"]
    assert [row["state"] for row in rows(mailed)] == ["delivered"]


@spec("AP-7")
def test_what_fails_is_tried_again_later_and_is_dead_in_the_end_with_an_alert(
    mailed: World, box: Mailbox
) -> None:
    settings(mailed, notification_attempts=3)
    box.answer = "451 Try later"
    with mailed.rt.database.unit_of_work() as tx:
        notify(tx, mailed.caller("lee").id, "agent-note", "Hello.")
    waits = []
    for _ in range(3):
        deliver(mailed)
        [row] = rows(mailed)
        waits.append((row["next_attempt_at"] - mailed.clock.moment).total_seconds())
        mailed.clock.advance(seconds=waits[-1])
    assert waits[:2] == [5, 10]
    assert row["state"] == "dead"
    assert "451" in row["reason"]
    told = overview.notices(mailed.rt, mailed.admin)["items"]
    [alert] = [n for n in told if n["kind"] == "delivery-dead"]
    assert "charter notification deliveries" in alert["message"]
    seen = notifications.list_deliveries(mailed.rt, mailed.admin, state="dead")["items"]
    assert seen[0]["fix"]
    box.answer = "250 OK"
    notifications.retry(mailed.rt, mailed.admin, seen[0]["id"])
    deliver(mailed)
    assert [m["Subject"] for m in box.received] == ["Hello."]
    box.answer = "550 No such mailbox"
    with mailed.rt.database.unit_of_work() as tx:
        notify(tx, mailed.caller("lee").id, "agent-note", "Again.")
    deliver(mailed)
    assert rows(mailed)[-1]["state"] == "dead"  # it will never be taken, so it is tried once


@spec("AP-7")
def test_mail_is_never_sent_in_the_clear_nor_to_a_server_that_cannot_prove_itself(
    mailed: World, trusted: Certificate
) -> None:
    server = notification_sending.server_of(mailed.rt)
    assert server is not None
    assert mail.probe(server) is None
    untrusted = mail.probe(dataclasses.replace(server, ca_file=None))
    assert untrusted is not None
    assert "cannot be trusted" in untrusted
    wrong = mailed.rt.state_dir / "wrong"
    wrong.write_text("another")
    refused = mail.probe(dataclasses.replace(server, password_file=wrong))
    assert refused is not None
    assert "does not take the account" in refused
    assert "another" not in refused
    with mail_server(None) as plain:
        downgraded = mail.probe(dataclasses.replace(server, port=plain.port, user=None))
    assert downgraded is not None
    assert "starttls" in downgraded.lower()
    with pytest.raises(ValueError, match="this machine only"):
        type(mailed.rt.settings)(smtp_host="mail.example.org", smtp_security="none")


@spec("AP-7")
def test_people_choose_what_comes_and_when_but_not_what_protects_them(
    mailed: World, box: Mailbox
) -> None:
    lee = mailed.caller("lee")
    notifications.set_preferences(mailed.rt, lee, {"agent": "digest", "approval": "off"})
    with pytest.raises(CharterError, match="protects you"):
        notifications.set_preferences(mailed.rt, lee, {"sign-in": "off"})
    with mailed.rt.database.unit_of_work() as tx:
        tx.update(t.people, t.people.c.id == lee.id, time_zone="Asia/Tokyo")
        for number in (1, 2):
            notify(tx, lee.id, "agent-note", f"Note {number}.")
        notify(tx, lee.id, "sign-in-link", "A link was made.")
        notify(tx, lee.id, "approval", "Something waits.")
    deliver(mailed)
    assert [m["Subject"] for m in box.received] == ["A link was made."]
    mailed.clock.advance(hours=14)  # 23:00 UTC is 8:00 of the next day there
    deliver(mailed)
    digest = box.received[-1]
    assert digest["Subject"] == "Charter: 2 notices"
    assert "Note 1." in text_of(digest)
    assert "Note 2." in text_of(digest)
    assert len(box.received) == 2


@spec("AP-7")
def test_what_only_tells_of_a_request_goes_to_those_who_may_not_vote_too(
    mailed: World, box: Mailbox
) -> None:
    approval = ask(mailed)
    deliver(mailed)
    with mailed.rt.database.unit_of_work() as tx:
        notify(
            tx,
            mailed.caller("dana").id,
            "approval-comment",
            "lee commented on an approval.",
            resource=("approval", approval),
        )
    deliver(mailed)
    [told] = mails_to(box, "dana")
    assert "lee commented" in text_of(told)
    assert "/vote" not in text_of(told)


def test_every_kind_of_notice_that_a_service_writes_is_listed() -> None:
    """So that somebody has thought about who may see it, and whether it can be switched off."""
    found = set()
    for folder in ("services", "controllers"):
        for path in sorted((ROOT / "src/charter" / folder).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or len(node.args) < 4:
                    continue
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                kind = node.args[2]
                if name in {"notify", "tell"} and isinstance(kind, ast.Constant):
                    found.add(kind.value)
    written = {kind for kind in found if isinstance(kind, str) and " " not in kind}
    assert len(written) > 15  # the walk has found them
    new = {kind for kind in written if kind_of(kind) is OTHER}
    assert new == set(), "a line in core/notifications/kinds.py says who may see it"


# --- channels ---------------------------------------------------------------------------------
def add(world: World, who: str = "admin", **given: Any) -> dict[str, Any]:
    made = {"kind": "webhook", "name": "news", **given}
    return notification_channels.add_channel(world.rt, world.caller(who), **made)


@spec("AP-7")
def test_a_webhook_gets_one_signed_message_for_an_event_and_no_power(mailed: World) -> None:
    with web_server() as hook:
        made = add(mailed, url=f"{hook.url}/in?token=hidden", team="payments", who="lee")
        assert "hidden" not in json.dumps(made, default=str)
        assert "hidden" not in repr(notification_channels.list_channels(mailed.rt, mailed.admin))
        ask(mailed)  # two people may approve it, so there are two notices
        deliver(mailed)
        [(path, headers, body)] = hook.received
    assert path == "/in?token=hidden"
    assert b"charter_apl_" not in body
    document = json.loads(body)
    assert document["type"] == "approval"
    assert document["data"]["url"].endswith(document["data"]["resource"]["id"])
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"


@spec("AP-7")
def test_a_chat_gets_blocks_in_which_nothing_is_markup(mailed: World) -> None:
    with web_server() as hook:
        add(mailed, kind="slack", url=f"{hook.url}/services/T/B/x")
        with mailed.rt.database.unit_of_work() as tx:
            notify(
                tx,
                mailed.caller("lee").id,
                "break-glass-used",
                "<!channel> <https://evil.example|click> \u202eabc",
                resource=("person", "per_1"),
            )
        deliver(mailed)
        [(_, headers, body)] = hook.received
    document = json.loads(body)
    assert "webhook-signature" not in headers
    kinds = {b["text"]["type"] for b in document["blocks"] if "text" in b}
    assert kinds == {"plain_text"}
    assert "<" not in document["text"]
    button = document["blocks"][-1]["elements"][0]
    assert button["url"].startswith(mailed.rt.settings.url)


def test_team_channels_get_the_teams_news_only_and_no_personal_ones(mailed: World) -> None:
    with web_server() as hook:
        add(mailed, name="search", url=hook.url, team="search")
        ask(mailed)
        with mailed.rt.database.unit_of_work() as tx:
            notify(tx, mailed.caller("lee").id, "sign-in-link", "A link.", resource=("person", "x"))
        deliver(mailed)
        assert hook.received == []
    with pytest.raises(CharterError, match="personal"):
        add(mailed, name="nosy", url="https://x.example.org", kinds=["sign-in"])


@spec("AP-7", "ID-1")
def test_who_may_add_channels_where(mailed: World) -> None:
    url = "https://hooks.example.org/x"
    assert add(mailed, "lee", name="ours", team="payments", url=url)["team"] == "payments"
    for who, team in (("lee", "search"), ("lee", None), ("dana", "payments"), ("sam", None)):
        with pytest.raises(ForbiddenError):
            add(mailed, who, name="theirs", team=team, url=url)
    with pytest.raises(CharterError) as caught:
        add(mailed, name="plain", url="http://hooks.example.org/x")
    assert caught.value.code == "channel-address"


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/x",
        "ftp://hooks.example.org/x",
        "https://user:pw@hooks.example.org/x",
        "https:///x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://hooks.example.org/x#y",
        "https://hooks.example.org\\@evil.example/",
        "https://ho oks.example.org/",
    ],
)
def test_addresses_that_no_channel_may_have(url: str) -> None:
    with pytest.raises(TargetError):
        read_target(url)


def test_the_refusal_of_this_very_machine_names_the_setting() -> None:
    with pytest.raises(TargetError, match="CHARTER_WEBHOOK_LOOPBACK_HTTP"):
        read_target("http://127.0.0.1:9000/hook")
    assert read_target("http://127.0.0.1:9000/hook", loopback_http=True).shown


@spec("AP-7")
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "172.16.0.9", "0.1.2.3",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "fe80::1", "fd00::1",
        "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::",
    ],
)  # fmt: skip
def test_a_webhook_reaches_no_private_address_whatever_its_name_stands_for(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only one of several addresses is private: any of them might be taken."""
    target = read_target("https://rebinding.example.org/")
    for found in ((address,), ("93.184.216.34", address)):
        monkeypatch.setattr(webhook, "resolve", lambda _target, found=found: found)
        attempt = webhook.post(target, webhook.Reach(), {}, b"{}")
        assert attempt.outcome is Outcome.REFUSED
        assert "not on the public internet" in attempt.reason


@spec("AP-7")
def test_the_connection_goes_to_the_address_that_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that stands for something else a moment later changes nothing: it is asked once."""
    asked: list[str] = []
    with web_server() as hook, web_server() as other:
        here = read_target(hook.url, loopback_http=True)
        target = dataclasses.replace(here, host="rebinding.test")

        def resolve(_target: Any) -> tuple[str, ...]:
            asked.append("once")
            return ("127.0.0.1",)

        monkeypatch.setattr(webhook, "resolve", resolve)
        reach = webhook.Reach(loopback=True)
        assert webhook.post(target, reach, {}, b"{}") == Attempt(Outcome.DELIVERED)
        assert asked == ["once"]
        assert hook.received[0][1]["host"].startswith("rebinding.test")
        hook.respond = lambda _path: (307, {"location": f"{other.url}/stolen"})
        attempt = webhook.post(target, reach, {}, b"{}")
        assert attempt.outcome is Outcome.REFUSED
        assert "redirects are not followed" in attempt.reason
        assert other.received == []


def test_tls_is_checked_and_what_is_busy_is_asked_later(trusted: Certificate) -> None:
    with web_server(trusted) as hook:
        target = read_target(hook.url)
        closed = webhook.Reach(loopback=True)
        assert "cannot be trusted" in webhook.post(target, closed, {}, b"{}").reason
        reach = dataclasses.replace(closed, ca_file=trusted.authority)
        assert webhook.post(target, reach, {}, b"{}").outcome is Outcome.DELIVERED
        hook.respond = lambda _path: (429, {"retry-after": "120"})
        busy = webhook.post(target, reach, {}, b"{}")
        assert (busy.outcome, busy.wait_seconds) == (Outcome.RETRY, 120)
        hook.respond = lambda _path: (404, {})
        for answer, shown in ((b"no_service", ": no_service"), (b"<h1>Secrets</h1>", "")):
            hook.answer = answer
            attempt = webhook.post(target, reach, {}, b"{}")
            assert attempt.outcome is Outcome.REFUSED
            assert attempt.reason == f"The receiver answered 404{shown}."


def test_secrets_come_from_files_of_one_folder_only(mailed: World, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (tmp_path / "outside").write_text("https://outside.example.org/")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "address").write_text("https://inside.example.org/hidden\n")
    with pytest.raises(CharterError, match="no folder"):
        add(mailed, url_file="address")
    settings(mailed, notification_secrets_dir=folder)
    assert add(mailed, url_file="address")["shown"] == "https://inside.example.org"
    for name in ("../outside", "link", "missing", "/etc/passwd", ".."):
        with pytest.raises(CharterError) as caught:
            add(mailed, name="bad", url_file=name)
        assert caught.value.code == "secret-file"


def test_a_removed_channel_forgets_its_address_and_gets_nothing(mailed: World) -> None:
    with web_server() as hook:
        made = add(mailed, url=hook.url)
        ask(mailed)
        controller.dispatch(mailed.rt)
        notification_channels.remove_channel(mailed.rt, mailed.admin, made["id"])
        deliver(mailed)
        assert hook.received == []
    with mailed.rt.database.reading() as tx:
        row = tx.one(sa.select(t.notification_channels))
    assert row is not None
    assert row["url_sealed"] is None
    assert row["secret_sealed"] is None
