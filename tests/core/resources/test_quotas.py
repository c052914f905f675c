"""Quotas: every line gives or none does, and no sequence of requests exceeds a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.resources.amounts import Amount
from charter.core.resources.quotas import (
    QuotaLine,
    may_reserve,
    quota_scopes,
    release,
    reserve,
)
from tests.spec import spec

SMALL = st.integers(0, 12)
AMOUNTS = st.builds(Amount, SMALL, SMALL, SMALL, SMALL, SMALL)
LINES = st.lists(AMOUNTS, min_size=1, max_size=4).map(
    lambda limits: tuple(QuotaLine(f"team:{i}", limit, Amount()) for i, limit in enumerate(limits))
)


@spec("RG-2")
@given(LINES, st.lists(st.tuples(st.booleans(), AMOUNTS), max_size=30))
def test_no_sequence_of_requests_exceeds_a_limit_or_loses_a_unit(lines, steps) -> None:
    held: list[Amount] = []
    for give_back, amount in steps:
        if give_back and held:
            lines = release(lines, held.pop())
        elif not may_reserve(lines, amount):
            lines = reserve(lines, amount)
            held.append(amount)
        else:
            with pytest.raises(ValueError, match="more than the quota"):
                reserve(lines, amount)
        total = sum(held, Amount())
        assert all(line.used == total for line in lines)
        assert all(line.used.fits_within(line.limit) for line in lines)
    for amount in held:
        lines = release(lines, amount)
    assert all(line.used == Amount() for line in lines)


@spec("RG-2")
@given(LINES, AMOUNTS)
def test_a_refusal_names_every_scope_and_dimension_that_is_short(lines, wanted) -> None:
    short = [
        (line.scope, dimension)
        for line in lines
        for dimension in (line.used + wanted).exceeding(line.limit)
        if wanted.of(dimension) > 0
    ]
    refusals = may_reserve(lines, wanted)
    assert len(refusals) == len(short)
    for scope, _ in short:
        assert any(scope.replace(":", " ") in refusal.message for refusal in refusals)


@spec("RG-2")
def test_the_sentence_of_a_refusal() -> None:
    line = QuotaLine(
        "team:team_1", Amount(vcpu=200, memory_mib=4096), Amount(vcpu=190), label="team payments"
    )
    (cpu, memory) = may_reserve([line], Amount(vcpu=40, memory_mib=5120))
    assert cpu.message == "team payments has 200 vCPU, 190 are in use, 40 were asked for."
    assert cpu.fix.startswith("Ask for at most 10 vCPU,")
    assert memory.message == (
        "team payments has 4 GiB of memory, 0 GiB are in use, 5 GiB were asked for."
    )
    (gpu,) = may_reserve([line], Amount(gpu=1))
    assert gpu.message == "team payments has 0 GPU, 0 are in use, 1 were asked for."
    (places,) = may_reserve([line], Amount(workspaces=1))
    assert places.message == "team payments has 0 workspaces, 0 are in use, 1 were asked for."


@spec("RG-2")
def test_above_a_lowered_limit_one_may_still_take_what_is_not_short() -> None:
    line = QuotaLine("user:per_1", Amount(vcpu=4, disk_mib=10), Amount(vcpu=8))
    assert may_reserve([line], Amount(disk_mib=10)) == ()
    assert may_reserve([line], Amount(vcpu=-2)) == ()
    (refusal,) = may_reserve([line], Amount(vcpu=1))
    assert "at most 0 vCPU" in refusal.fix


@spec("RG-2")
def test_no_known_quota_is_a_refusal() -> None:
    assert [v.rule for v in may_reserve([], Amount(vcpu=1))] == ["invariant/quota-missing"]


@spec("RG-2")
def test_counts_never_fall_below_zero() -> None:
    line = QuotaLine("user:per_1", Amount(vcpu=4), Amount(vcpu=2))
    with pytest.raises(ValueError, match="below zero"):
        release([line], Amount(vcpu=3))
    with pytest.raises(ValueError, match="below zero"):
        reserve([line], Amount(vcpu=-3))
    with pytest.raises(ValueError, match="negative"):
        release([line], Amount(vcpu=-1))


@spec("RG-2")
def test_the_scopes_of_an_owner_in_the_order_of_locking() -> None:
    assert quota_scopes(
        owner_kind="human", owner_id="per_1", team_id="team_1", project_id="prj_1"
    ) == ("project:prj_1", "team:team_1", "user:per_1")
    assert quota_scopes(
        owner_kind="agent", owner_id="agt_1", sponsor_id="per_1", team_id="team_1"
    ) == ("agent:agt_1", "team:team_1", "user:per_1")


@pytest.mark.parametrize("kind", ["agent", "service", ""])
def test_an_owner_whose_quota_is_unknown_is_refused(kind) -> None:
    with pytest.raises(ValueError, match="with a sponsor"):
        quota_scopes(owner_kind=kind, owner_id="agt_1")
