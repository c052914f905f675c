"""Bundles and their data: digests that mean something, refusals that name the entry."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.decision import Mode
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import Bundle, PolicyData
from charter.core.resources.amounts import Amount
from tests.spec import spec

PATHS = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}", fullmatch=True)
FILES = st.dictionaries(PATHS, st.binary(max_size=30), max_size=6)


@spec("PC-4")
@given(FILES, FILES)
def test_the_digest_is_equal_exactly_for_equal_files(
    first: dict[str, bytes], second: dict[str, bytes]
) -> None:
    assert (Bundle(first).digest == Bundle(second).digest) == (first == second)
    assert Bundle(dict(reversed(first.items()))).digest == Bundle(first).digest


def test_text_and_bytes_of_it_are_the_same_file() -> None:
    assert Bundle({"a.rego": "package é"}).digest == Bundle({"a.rego": "package é".encode()}).digest


def test_moving_a_character_from_path_to_content_changes_the_digest() -> None:
    assert Bundle({"ab": "c"}).digest != Bundle({"a": "bc"}).digest


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/../b", "a//b", "a\\b", "./a", "a/"])
def test_paths_stay_inside(path: str) -> None:
    with pytest.raises(InvalidInputError, match="plain relative path"):
        Bundle({path: ""})


def test_a_bundle_does_not_change_with_the_mapping_it_was_made_from() -> None:
    files = {"a.rego": "package a"}
    bundle = Bundle(files)
    files["b.rego"] = "package b"
    assert list(bundle.files) == ["a.rego"]
    assert list(bundle.with_files({"b.rego": "package b", "a.rego": None}).files) == ["b.rego"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not usable JSON"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b'{"a": NaN}', "not a number"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_unusable_documents_are_refused(content: bytes, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        Bundle({"data/a.json": content}).settings()


def test_documents_lie_side_by_side() -> None:
    with pytest.raises(InvalidInputError, match="plain lower-case word"):
        Bundle({"data/Sizes.json": "{}"}).settings()


@spec("RG-1", "RG-2", "LC-2", "LC-5", "AP-1")
def test_the_shipped_numbers() -> None:
    data = PolicyData.from_bundle(shipped_bundle())
    small = data.sizes["small"]
    assert (small.vcpu, small.memory_mib, small.disk_mib, small.gpu) == (2, 8192, 51200, 0)
    assert (data.sizes["medium"].vcpu, data.sizes["large"].vcpu, data.sizes["gpu"].gpu) == (
        8,
        16,
        1,
    )
    agent = data.sizes["agent"]
    assert (agent.vcpu, agent.memory_mib, agent.disk_mib) == (2, 4096, 20480)
    assert agent.ephemeral
    assert Amount(vcpu=40 + 96).exceeding(data.quotas["team"]) == ()
    assert data.lifecycle["human"].idle_seconds == 4 * 3600
    assert data.lifecycle["human"].warning_seconds == 15 * 60
    assert data.lifecycle["human"].max_runtime_seconds == 12 * 3600
    assert data.lifecycle["agent"].max_runtime_seconds == 2 * 3600
    assert data.credentials.agent_credential_seconds == 15 * 60
    assert data.approvals.deadline_seconds == 72 * 3600
    assert data.approvals.of("admission/gpu-needs-approval").grant_seconds == 7 * 24 * 3600
    assert data.approvals.of("no/such-rule") == data.approvals.fallback
    assert data.mode_of("no/such-rule") is Mode.ENFORCE
    assert not data.limits.allow_host_network_for_humans


def _broken(path: list[str], value: Any) -> list[str]:
    documents: Any = shipped_bundle().settings()
    place = documents
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(InvalidInputError) as refusal:
        PolicyData.from_documents(documents)
    problems = refusal.value.details["problems"]
    assert isinstance(problems, list)
    return problems


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (["sizes"], ..., "data.sizes is missing."),
        (["limits"], [], "data.limits must be an object."),
        (["limits", "gpu_max"], ..., "data.limits.gpu_max must be a whole number."),
        (["limits", "gpu_max"], True, "data.limits.gpu_max must be a whole number."),
        (["limits", "gpu_max"], -1, "data.limits.gpu_max must be at least 0, and it is -1."),
        (["limits", "gpu_maximum"], 3, "data.limits.gpu_maximum is not a known entry."),
        (["quotas", "team", "vcpu"], "many", "data.quotas.team.vcpu must be a whole number."),
        (["enforcement", "rules"], {"a/b": "sometimes"}, "data.enforcement.rules.a/b must be one"),
        (["limits", "cpu_without_approval"], 500, "above data.limits.cpu_max"),
        (["lifecycle", "human", "warning_seconds"], 14400, "leaves no idle time"),
        (["approvals", "fallback", "approvers"], [], "fallback.approvers must hold at least 1"),
        (["sizes", "default", "human"], "huge", "data.sizes.default.human must be one of"),
        (["tiers", "trusted", "network_modes"], ["wifi"], "network_modes may hold only"),
        (["exemptions", "exemptions"], [{}], "data.exemptions.exemptions[0].scope is missing."),
        (["limits", "quota_warning_percent"], 101, "must be at most 100"),
    ],
)
def test_a_wrong_entry_is_named(path: list[str], value: Any, problem: str) -> None:
    assert any(problem in found for found in _broken(path, value)), _broken(path, value)


def test_every_problem_is_told_at_once() -> None:
    documents: Any = json.loads(json.dumps(shipped_bundle().settings()))
    documents["limits"]["gpu_max"] = "x"
    documents["tasks"]["max_seconds"] = 0
    with pytest.raises(InvalidInputError) as refusal:
        PolicyData.from_documents(documents)
    problems = refusal.value.details["problems"]
    assert isinstance(problems, list)
    assert len([p for p in problems if "gpu_max" in p or "max_seconds must" in p]) == 2


def test_an_exemption_is_read() -> None:
    documents: Any = shipped_bundle().settings()
    documents["exemptions"]["exemptions"] = [
        {
            "rule": "hipaa/phi-region",
            "owner": "security-admin",
            "reason": "Migration",
            "scope": {"team": "team_1"},
            "expires_at": "2027-01-31T00:00:00Z",
        }
    ]
    (exemption,) = PolicyData.from_documents(documents).exemptions
    assert (exemption.rule, dict(exemption.scope)) == ("hipaa/phi-region", {"team": "team_1"})
    assert exemption.expires_at.year == 2027
