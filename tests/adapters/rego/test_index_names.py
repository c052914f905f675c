"""A rule stays in where names hide each other, and where what it asks for is there but empty.

Each of these rules speaks about a request to look at a workspace, although a helper of that name
holds for requests to create one only.
"""

from __future__ import annotations

import pytest

from tests.adapters.rego.bundles import with_rules
from tests.adapters.rego.test_index import CREATE, Both
from tests.policies.documents import base
from tests.spec import spec as proves

HEAD = "package admission.mine\n\nimport rego.v1\n\n"
HELPER = f"h if {CREATE}"
OBJECT = f'h["a"] := 1 if {CREATE}'
NESTED = "[1 | h := input.subject.kind; h]"
LATER = "h if input.resource.kind"


@proves("PC-2")
@pytest.mark.parametrize(
    ("body", "helpers"),
    [
        ("data.admission.mine.h == {}", OBJECT),
        ("x := h; count(x) == 0", OBJECT),
        ("h", OBJECT),
        ("h == {}", f'h[k] := v if {{ {CREATE}; some k, v in {{"a": 1}} }}'),
        ("h := true; h; input.resource.kind", HELPER),
        ("some h; h = true; h", HELPER),
        ('h := input.action; h.name == "workspace.view"', f'h := {{"name": "x"}} if {CREATE}'),
        ("f(true)", f"f(h) if h\n\n{HELPER}"),
        ("f([true])", f"f([h]) if h\n\n{HELPER}"),
        ("f(true)", f"f(h) := g if {{ g := h; h }}\n\n{HELPER}\n\ng if {CREATE}"),
        ('f({"action": {"name": "workspace.create"}})', f"f(input) if {CREATE}"),
        ("g == 2", f"g := 1 if {{ h := input.subject.kind; h == 1 }} else := 2 if h\n\n{LATER}"),
        ("g", f"g if {{ count({NESTED}) == 1; h }}\n\n{LATER}"),
    ],
)
def test_a_rule_that_can_speak_stays_in(body: str, helpers: str) -> None:
    both = Both(with_rules(f'{HEAD}deny contains "x" if {{ {body} }}\n\n{helpers}\n'))
    indexed, whole = both.ask(base("person workspace.view"))
    assert indexed == whole
    assert whole["effect"] == "deny"
