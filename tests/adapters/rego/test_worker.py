"""A worker decides as this process does, and its limits hold against policies that mean harm."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.rego.engine import RegorusEngine
from charter.adapters.rego.load import shipped_bundle
from charter.adapters.rego.syntax import PolicyRefusedError
from charter.adapters.rego.worker import (
    FAILURE_MARK,
    PolicyWorker,
    WorkerFailedError,
    WorkerLimits,
)
from charter.adapters.rego.worker_tasks import read_facts
from charter.core.kernel.canonical import canonical_json
from charter.core.policy.bundle import Bundle
from tests.adapters.rego.bundles import RULE, to_lint
from tests.policies.documents import person_creates
from tests.spec import spec as proves


@pytest.fixture
def worker() -> Iterator[PolicyWorker]:
    with PolicyWorker() as one:
        yield one


def with_rule(body: str) -> Bundle:
    text = f"package admission.candidate\n\nimport rego.v1\n\n{body}\n"
    return shipped_bundle().with_files({"admission/candidate.rego": text})


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_evaluates_as_this_process_does(worker: PolicyWorker) -> None:
    document = json.dumps(person_creates())
    worker.load(shipped_bundle())
    here = RegorusEngine(shipped_bundle()).evaluate(document)
    assert isinstance(here, str)
    assert json.loads(worker.evaluate(document)) == json.loads(here)


def test_a_bundle_that_cannot_decide_is_refused_with_its_problems(worker: PolicyWorker) -> None:
    with pytest.raises(PolicyRefusedError) as refused:
        worker.load(with_rule("deny contains 1 if { misspelt }"))
    assert "misspelt" in str(refused.value)
    worker.load(shipped_bundle())  # and it goes on


def test_facts_that_cannot_be_judged_are_named_and_do_not_stop_the_others(
    worker: PolicyWorker,
) -> None:
    worker.load(shipped_bundle())
    results = worker.decide(["{}", "not json", "[]"])
    assert len(results) == 3
    assert all(result.startswith(FAILURE_MARK) for result in results)
    assert "not json" not in "".join(results)
    assert worker.decide([]) == []


EXPONENTIAL = """deny contains "never" if {
    some a in numbers.range(1, 2000)
    some b in numbers.range(1, 2000)
    some c in numbers.range(1, 2000)
    a + b + c == -1
}"""
HUGE = """deny contains "large" if {
    found := [x | some a in numbers.range(1, 3000); some x in numbers.range(1, 20000)]
    count(found) == 1
}"""


@proves("PC-5")
@pytest.mark.parametrize("body", [EXPONENTIAL, HUGE], ids=["exponential", "gigabyte"])
def test_a_rule_that_means_harm_ends_only_its_worker(body: str) -> None:
    limits = WorkerLimits(memory_mib=512, task_cpu_seconds=3, task_seconds=20)
    began = time.monotonic()
    with PolicyWorker(limits) as worker:
        pid = worker.pid
        with pytest.raises(WorkerFailedError) as failed:
            worker.load(with_rule(body))  # loading asks once
        assert "within their limits" in failed.value.message
    assert time.monotonic() - began < 60
    assert not alive(pid)


def test_elapsed_time_is_bounded_by_the_parent() -> None:
    with PolicyWorker(WorkerLimits(task_seconds=0.5, task_cpu_seconds=30)) as worker:
        pid = worker.pid
        with pytest.raises(WorkerFailedError, match="did not answer"):
            worker.load(with_rule(EXPONENTIAL))
        assert not alive(pid)


def test_a_worker_that_is_killed_is_reported(worker: PolicyWorker) -> None:
    worker.load(shipped_bundle())
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailedError):
        worker.evaluate("{}")


def test_several_are_kept_busy_by_one_thread() -> None:
    with PolicyWorker() as one, PolicyWorker() as two:
        for worker in (one, two):
            worker.load(shipped_bundle())
        for worker in (one, two):
            worker.begin_decide(["{}"] * 3)
        assert [len(worker.finish_decide()) for worker in (one, two)] == [3, 3]


def test_a_worker_sees_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARTER_SECRET_FOR_TEST", "hunter2")
    with PolicyWorker() as worker:
        worker.load(shipped_bundle())
        with open(f"/proc/{worker.pid}/environ", "rb") as file:  # noqa: PTH123
            assert b"hunter2" not in file.read()


LETTERS = st.text('aé"\\{},:\n\u2028', max_size=6)


@given(
    st.dictionaries(
        st.sampled_from(["document", "subject", "quota", "a"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | LETTERS,
            lambda inner: st.lists(inner) | st.dictionaries(LETTERS, inner),
            max_leaves=10,
        ),
    ).map(lambda facts: {"document": {}, **facts})
)
def test_the_document_is_cut_out_of_canonical_facts_exactly(facts: dict[str, Any]) -> None:
    assert read_facts(canonical_json(facts)) == (facts, canonical_json(facts["document"]))


def test_a_worker_checks_a_bundle_whole() -> None:
    with PolicyWorker() as worker:
        report = worker.check(to_lint(RULE + "d if input.resurce"))
    assert report["passed"] is False
    assert "unknown-input" in {finding["rule"] for finding in report["findings"]}
