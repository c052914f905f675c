"""Bundles that would harm the process that reads them."""

from __future__ import annotations

import pytest

from charter.adapters.rego.syntax import PolicyRefusedError, parse
from tests.spec import spec


@spec("PC-3")
@pytest.mark.parametrize("pair", ["[]", "{}", "()"])
@pytest.mark.parametrize("before", ["", "# ]]]]]]]]\n", ']]]]]]\n"', 'y := "[\\""\n'])
def test_brackets_that_would_be_read_for_ever_are_refused_at_once(pair: str, before: str) -> None:
    nest = pair[0] * 100 + "1" + pair[1] * 100
    with pytest.raises(PolicyRefusedError, match="nested too deeply"):
        parse("admission/deep.rego", f"package deep\n{before}\nx := {nest}\n")


def test_brackets_in_texts_and_comments_are_no_nest() -> None:
    text = f'package flat\n# {"[" * 50}\nx := "{"[" * 50}"\ny := `{"{" * 50}`\n'
    assert parse("admission/flat.rego", text).package == ("flat",)


def test_a_long_flat_file_is_no_nest() -> None:
    text = "package flat\n" + 'x := {"a": [{"b": count([1])}]}\n' * 5000
    assert len(parse("admission/flat.rego", text).rules) == 5000
