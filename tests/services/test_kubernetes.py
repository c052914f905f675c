"""The admission webhook, from the API server's request to the stored decision."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from charter.api.app import build_api
from charter.core.audit.event import ActorRef
from charter.core.kernel.errors import UnavailableError
from charter.core.policy.bundle import Bundle
from charter.services import enforcement_points, kubernetes, policies, policy_bundles, replay
from charter.services.kubernetes import UNDECIDED
from charter.store import tables as t
from tests.conftest import fresh_world
from tests.core.kubernetes.reviews import (
    LABELS,
    agent_spec,
    body,
    claim,
    container,
    devworkspace,
    pod,
    pod_spec,
    workload,
)
from tests.core.kubernetes.test_review import REFUSED, UID
from tests.spec import spec as proves
from tests.support import World


class Webhook:
    """A cluster's webhook on a world, with its token."""

    def __init__(self, world: World) -> None:
        self.world = world
        made = enforcement_points.register(
            world.rt, world.admin, kind="kubernetes", name="cluster", settings={}
        )
        self.token: str = made["token"]
        self.point: str = made["id"]
        self.client = TestClient(build_api(world.rt), raise_server_exceptions=False)

    def post(
        self, sent: bytes, admission_class: str = "workspaces", token: str | None = None
    ) -> Any:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return self.client.post(
            f"/kubernetes/v1/admit/{admission_class}", content=sent, headers=headers
        )

    def ask(
        self, value: dict[str, Any], admission_class: str = "workspaces", **request: Any
    ) -> Any:
        answer = self.post(body(value, **request), admission_class)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["kind"] == "AdmissionReview"
        assert found["response"]["uid"] == request.get("uid", UID)
        return found["response"]

    def stored(self, response: dict[str, Any]) -> Any:
        """The decision that a response names."""
        name = response["auditAnnotations"]["decision-id"]
        with self.world.rt.database.reading() as tx:
            row = tx.one(sa.select(t.decisions).where(t.decisions.c.id == name))
        assert row is not None
        return row


@pytest.fixture(scope="module")
def webhook(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """One world for all of them: each test looks at its own answers only."""
    with fresh_world(postgres_url, tmp_path_factory.mktemp("kubernetes") / "state") as world:
        world.cast()
        made = Webhook(world)
        with made.client:
            yield made


@pytest.fixture
def own_webhook(world: World) -> Iterator[Webhook]:
    """A world of its own, for what changes it."""
    made = Webhook(world)
    with made.client:
        yield made


@proves("PC-8", "PC-1")
def test_what_is_in_order_is_admitted_and_recorded(webhook: Webhook) -> None:
    found = webhook.ask(pod())
    assert found["allowed"] is True
    assert "warnings" not in found
    row = webhook.stored(found)
    assert found["auditAnnotations"]["bundle-digest"] == row["bundle_digest"]
    assert (row["action"], row["resource_kind"]) == ("kubernetes.create", "kubernetes.pod")
    assert row["resource_id"] == "team-a/api"
    facts = json.loads(row["facts"])
    assert facts["document"]["request"] == json.loads(body(pod()))["request"]
    assert facts["document"]["context"]["admission_class"] == "workspaces"
    assert facts["document"]["context"]["enforcement_point"]["name"] == "cluster"


@proves("PC-8")
@pytest.mark.parametrize(
    ("value", "admission_class", "rule"),
    [
        (pod(pod_spec(hostNetwork=True)), "workspaces", "kubernetes/host-namespace"),
        (workload("Deployment", pod_spec(hostPID=True)), "workspaces", "kubernetes/host-namespace"),
        (
            workload("StatefulSet", pod_spec(containers=[container(image="ubuntu:latest")])),
            "workspaces",
            "kubernetes/image-not-pinned",
        ),
        (claim("1Ti"), "workspaces", "kubernetes/storage-above-maximum"),
        (
            devworkspace(labels=LABELS | {"charter/agent": "true"}),
            "workspaces",
            "kubernetes-agent/egress-missing",
        ),
        (workload("Sandbox"), "agents", "kubernetes-agent/runtime-class"),
    ],
    ids=["pod", "deployment", "statefulset", "pvc", "devworkspace", "sandbox"],
)
def test_what_is_not_in_order_is_denied(
    webhook: Webhook, value: dict[str, Any], admission_class: str, rule: str
) -> None:
    found = webhook.ask(value, admission_class)
    assert found["allowed"] is False
    assert found["status"]["code"] == 403
    assert rule in found["status"]["message"]
    assert rule in found["auditAnnotations"]["rules"].split(",")


@proves("PC-8", "AG-1")
def test_an_agents_sandbox_in_order(webhook: Webhook) -> None:
    sandbox = workload("Sandbox", agent_spec(), annotations={"charter/egress": ""})
    assert webhook.ask(sandbox, "agents")["allowed"] is True


@proves("PC-8")
def test_a_warning_is_a_yes_that_is_shown(webhook: Webhook) -> None:
    quiet = container(resources={"limits": {"cpu": "1", "memory": "1Gi"}})
    found = webhook.ask(pod(pod_spec(containers=[quiet])))
    assert found["allowed"] is True
    assert found["warnings"][0].startswith("[kubernetes/requests-missing]")


@proves("PC-8")
def test_an_approval_is_a_no_that_names_who_may_give_it(webhook: Webhook) -> None:
    large = {"cpu": "48", "memory": "8Gi"}
    made = container(resources={"limits": large, "requests": large})
    found = webhook.ask(pod(pod_spec(containers=[made])))
    assert found["allowed"] is False
    assert "needs an approval" in found["status"]["message"]
    assert found["auditAnnotations"]["effect"] == "require_approval"
    assert found["auditAnnotations"]["approval"]


@proves("PC-8")
def test_a_dry_run_is_decided_and_recorded_as_one(webhook: Webhook) -> None:
    found = webhook.ask(pod(pod_spec(hostNetwork=True)), dryRun=True)
    assert found["allowed"] is False
    assert found["auditAnnotations"]["dry-run"] == "true"
    facts = json.loads(webhook.stored(found)["facts"])
    assert facts["document"]["context"]["dry_run"] is True


@proves("PC-8")
def test_people_and_agents_of_charter_are_known_by_their_names(webhook: Webhook) -> None:
    row = webhook.stored(webhook.ask(pod(), userInfo={"username": "charter:dana"}))
    assert row["subject_id"].startswith("per_")
    subject = json.loads(row["facts"])["document"]["subject"]
    assert subject["handle"] == "dana"
    assert "developer" in subject["roles"]
    stranger = webhook.ask(pod(), userInfo={"username": "charter-agent:agt_nobody"})
    assert stranger["allowed"] is False
    assert "invariant/unknown-agent" in stranger["status"]["message"]
    outsider = webhook.ask(pod(), userInfo={"username": "dana"})
    assert webhook.stored(outsider)["subject_id"] == "kubernetes:dana"


@proves("PC-8")
def test_a_controller_and_a_harmless_update_pass(webhook: Webhook) -> None:
    controller = {"username": "system:serviceaccount:kube-system:replicaset-controller"}
    owned = pod(labels={}, ownerReferences=[{"kind": "ReplicaSet", "controller": True}])
    assert webhook.ask(owned, userInfo=controller)["allowed"] is True
    old = pod(pod_spec(hostNetwork=True))
    new = copy.deepcopy(old)
    new["metadata"]["finalizers"] = ["x"]
    assert webhook.ask(new, operation="UPDATE", oldObject=old)["allowed"] is True
    gone = webhook.ask(old, operation="DELETE", object=None, oldObject=old)
    assert gone["allowed"] is True


@proves("PC-6")
def test_admission_decisions_replay(webhook: Webhook) -> None:
    for value in (pod(), pod(pod_spec(hostIPC=True)), claim("10Gi")):
        webhook.ask(value)
    report = replay.replay(webhook.world.rt, webhook.world.caller("sam"), 50)
    assert report["differences"] == 0
    assert report["replayed"] >= 3


@proves("PC-8")
@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_review_is_a_denial_or_a_400(webhook: Webhook, name: str) -> None:
    answer = webhook.post(REFUSED[name])
    if answer.status_code == 200:
        found = answer.json()["response"]
        assert found["allowed"] is False
        assert found["uid"] == UID or name.startswith("a uid")
        assert found["status"]["code"] == 400
    else:
        assert answer.status_code == 422
        assert answer.json()["code"] == "admission-review-malformed"
    assert "Traceback" not in answer.text


@proves("PC-8")
@pytest.mark.parametrize("how", ["object", "both", "annotations", "containers"])
def test_a_megabyte_is_answered(webhook: Webhook, how: str) -> None:
    value = pod()
    if how == "annotations":
        value["metadata"]["annotations"] = {f"note-{n}": "x" * 1000 for n in range(1050)}
    elif how == "containers":
        many = [container(name=f"c{n}", image="ubuntu:latest") for n in range(900)]
        value["spec"]["containers"] = many
        value["metadata"]["annotations"] = {f"note-{n}": "x" * 1000 for n in range(900)}
    else:
        value["spec"]["containers"][0]["args"] = ["x" * 100] * 10_500
    request = {"operation": "UPDATE", "oldObject": copy.deepcopy(value)} if how == "both" else {}
    sent = body(value, **request)
    assert len(sent) > 1_048_576
    answer = webhook.post(sent)
    assert answer.status_code == 200
    found = answer.json()["response"]
    assert found["allowed"] is (how != "containers")
    assert len(answer.content) < 50_000


def test_a_body_beyond_the_bound_is_refused_unread(webhook: Webhook) -> None:
    answer = webhook.post(b"x" * (webhook.world.rt.settings.max_admission_bytes + 1))
    assert answer.status_code == 413


@proves("PC-12")
def test_only_a_clusters_token_asks_here(own_webhook: Webhook) -> None:
    world = own_webhook.world
    other = enforcement_points.register(world.rt, world.admin, kind="opa", name="opa", settings={})[
        "token"
    ]
    for token in ("", "nonsense", other, world.tokens["admin"]):
        answer = own_webhook.post(body(), token=token)
        assert answer.status_code == 401, token
        assert answer.headers["content-type"] == "application/problem+json"
    assert own_webhook.post(body()).status_code == 200  # now it is remembered
    enforcement_points.revoke(world.rt, world.admin, own_webhook.point)
    assert own_webhook.post(body()).status_code == 401


@proves("PC-12")
def test_a_remembered_token_ends_with_its_grace(own_webhook: Webhook) -> None:
    world, old = own_webhook.world, own_webhook.token
    assert own_webhook.post(body()).status_code == 200
    new = enforcement_points.rotate(world.rt, world.admin, own_webhook.point, grace_seconds=60)
    for token in (old, new["token"]):
        assert own_webhook.post(body(), token=token).status_code == 200
    world.clock.advance(seconds=61)
    with world.rt.database.reading() as tx:
        before = tx.one(sa.select(sa.func.count().label("n")).select_from(t.decisions))
    assert own_webhook.post(body(), token=old).status_code == 401
    with world.rt.database.reading() as tx:
        after = tx.one(sa.select(sa.func.count().label("n")).select_from(t.decisions))
    assert before == after  # nothing was decided for it
    assert own_webhook.post(body(), token=new["token"]).status_code == 200


def test_the_token_may_stand_in_the_path(webhook: Webhook) -> None:
    path = f"/kubernetes/v1/admit/workspaces/{webhook.token}"
    answer = webhook.client.post(path, content=body())
    assert answer.json()["response"]["allowed"] is True
    assert webhook.client.post(path[:-1] + "x", content=body()).status_code == 401


def test_an_unknown_class_is_no_class(webhook: Webhook) -> None:
    assert webhook.post(body(), "nothing").status_code == 404
    assert webhook.post(body(), "Not_A_Class").status_code == 422


def undecided() -> float:
    return sum(
        sample.value
        for family in UNDECIDED.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    )


@proves("PC-8")
def test_without_a_database_the_class_decides(
    own_webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts: list[str] = []
    monkeypatch.setattr(kubernetes._log, "error", lambda event, **_: alerts.append(event))
    own_webhook.ask(pod())  # the last thing that was known
    counted = undecided()
    own_webhook.world.rt.database.engine.dispose()
    broken = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none", pool_pre_ping=True)
    monkeypatch.setattr(own_webhook.world.rt.database, "engine", broken)
    closed = own_webhook.ask(pod())
    assert closed["allowed"] is False
    assert closed["status"]["code"] == 503
    assert "could not decide" in closed["status"]["message"]
    opened = own_webhook.ask(pod(), "system")
    assert opened["allowed"] is True
    assert "fails open" in opened["warnings"][0]
    for value in (pod(labels={"charter/agent": "true"}), workload("Sandbox")):
        assert own_webhook.ask(value, "system")["allowed"] is False
    agent = own_webhook.ask(pod(), "system", userInfo={"username": "charter-agent:agt_1"})
    assert agent["allowed"] is False
    assert own_webhook.ask(pod(), "nothing")["allowed"] is False
    assert undecided() == counted + 6
    assert alerts == ["admission_undecided"] * 6


@proves("PC-8")
def test_before_anything_was_known_nothing_passes(
    own_webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise UnavailableError("No policy bundle is active.", fix="Load one.")

    monkeypatch.setattr(own_webhook.world.rt.policy, "active", down)
    assert own_webhook.ask(pod(), "system")["allowed"] is False


@proves("PC-8")
def test_a_policy_that_says_nothing_about_clusters_denies(own_webhook: Webhook) -> None:
    world = own_webhook.world
    shipped = policies.active(world.rt, world.admin)["digest"]
    with world.rt.database.reading() as tx:
        row = tx.one(sa.select(t.bundles.c.files).where(t.bundles.c.digest == shipped))
    assert row is not None
    without = Bundle(row["files"]).with_files(
        {
            "data/kubernetes.json": None,
            "admission/kubernetes-workloads.rego": None,
            "admission/kubernetes-agents.rego": None,
            "lib/kubernetes.rego": None,
            "tests/kubernetes_test.rego": None,
        }
    )
    with world.rt.database.unit_of_work() as tx:
        policy_bundles.store_bundle(tx, without, loaded_by="test", note_text="")
        policy_bundles.put_in_force(
            world.rt,
            tx,
            without.digest,
            kind=policy_bundles.Kind.APPLY,
            by=ActorRef("system", "test"),
            why="",
        )
    found = own_webhook.ask(pod(), "system")
    assert found["allowed"] is False
    assert "data/kubernetes.json" in found["status"]["message"]
