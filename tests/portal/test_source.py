"""A rule in its source: escaped, coloured, and marked from its first line to its last."""

from __future__ import annotations

import html

from hypothesis import given
from hypothesis import strategies as st

from charter.portal.source import coloured, excerpt, listing

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
