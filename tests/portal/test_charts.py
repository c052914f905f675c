"""The geometry of bars and meters."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from charter.portal.charts import WIDTH, meter, stacked_bar

EFFECTS = ("allow", "warn", "require_approval", "deny")


@given(st.dictionaries(st.sampled_from(EFFECTS), st.integers(0, 10**9)))
def test_a_bar_is_filled_and_nothing_overlaps(counts: dict[str, int]) -> None:
    parts = stacked_bar(counts, EFFECTS)
    assert [p.name for p in parts] == [e for e in EFFECTS if counts.get(e)]
    if parts:
        assert parts[0].x == 0
        assert abs(parts[-1].x + parts[-1].width - WIDTH) < 1
    for left, right in pairwise(parts):
        assert left.x + left.width < right.x
        assert left.width >= 1


def test_a_meter_says_when_it_is_nearly_full() -> None:
    assert meter(0, 100).level == "ok"
    assert meter(0, 0).level == "ok"
    assert meter(75, 100).level == "warn"
    assert meter(90, 100).level == "bad"
    assert meter(1, 0) == meter(150, 100)  # never wider than the bar
