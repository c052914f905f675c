"""A rule in its source: escaped, coloured, and marked from its first line to its last."""

from __future__ import annotations

import html

from hypothesis import given
from hypothesis import strategies as st

from charter.portal.source import coloured, excerpt, listing, near_sides, traced
from tests.spec import spec

REGO = """package admission

# A rule with braces in a string and in a comment: }
deny contains {
\t"id": "a/b", # {
\t"message": "more than }",
} if {
\tinput.x > 1
}

warn contains "plain" if input.y
"""


def test_a_rule_is_marked_to_its_last_line() -> None:
    assert [line.number for line in listing(REGO, 4) if line.marked] == [4, 5, 6, 7, 8, 9]
    assert [line.number for line in listing(REGO, 11) if line.marked] == [11]
    assert not [line for line in listing(REGO, 99) if line.marked]
    assert [line.number for line in excerpt(REGO, 11)] == [5, 6, 7, 8, 9, 10, 11]


def test_words_are_coloured() -> None:
    assert coloured('deny contains "a<b" # x') == (
        'deny <span class="t-k">contains</span> <span class="t-s">&#34;a&lt;b&#34;</span> '
        '<span class="t-c"># x</span>'
    )


@given(st.text(alphabet=st.characters(exclude_characters="\n\r")))
def test_colouring_changes_no_character(text: str) -> None:
    plain = str(coloured(text))
    for kind in "csk":
        plain = plain.replace(f'<span class="t-{kind}">', "")
    assert html.unescape(plain.replace("</span>", "")) == text


@spec("PC-13")
def test_values_stand_under_the_last_line_of_their_statement() -> None:
    text = "deny contains 1 if {\n\tx := [y |\n\t\ty := 1\n\t]\n\tz\n}"
    statements = [
        {
            "line": 11,
            "text": "x := [y |\n\t\ty := 1\n\t]",
            "held": True,
            "values": [{"text": "x", "path": "input.x", "value": "<b>"}],
        },
        {
            "line": 14,
            "text": "z",
            "held": False,
            "values": [{"text": "z", "path": None, "undefined": True}],
        },
    ]
    lines = traced(text, 10, statements)
    assert [line.line.number for line in lines] == [10, 11, 12, 13, 14, 15]
    assert [line.held for line in lines] == [None, True, True, True, False, None]
    assert [line.values for line in lines if line.values] == [
        (("input.x", '"<b>"'),),
        (("z", "no value"),),
    ]


def test_a_near_comparison_is_told_by_the_facts_behind_it() -> None:
    seen = [{"values": [{"text": "facts.cpu", "path": "input.cpu"}]}]
    near = {"left": 31, "left_text": "facts.cpu", "right": 32, "right_text": "32"}
    assert near_sides({**near, "statements": seen}) == [("input.cpu", "31")]
