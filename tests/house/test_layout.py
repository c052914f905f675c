"""One noun in every layer: who looks for approvals finds rule, route, command and page by name."""

from __future__ import annotations

import ast
from typing import Final

from tools.reference import ROOT

SOURCE: Final = ROOT / "src/charter"
NOUNS: Final = (
    "access_reviews",
    "agent_definitions",
    "absences",
    "agents",
    "approvals",
    "audit",
    "break_glass",
    "decisions",
    "exemptions",
    "governance",
    "grants",
    "impact",
    "enforcement_points",
    "keys",
    "kubernetes",
    "notifications",
    "overview",
    "passkeys",
    "people",
    "playground",
    "policies",
    "policy_changes",
    "production",
    "quotas",
    "roles",
    "scim",
    "sessions",
    "templates",
    "workspaces",
)
FACES: Final = ("api", "cli", "portal")
# Nouns that a face does not have under their own name. This list may only get shorter.
ABSENT: Final = {
    "portal": {
        "enforcement_points",
        "kubernetes",
        "templates",
    },
    "api": set(),
    "cli": set(),
}
# Modules of a face that serve all nouns, or a noun that has no service of its own.
SHARED: Final = {
    "api": {
        "access", "app", "authzen", "deps", "headers", "introspection", "limits", "metrics",
        "notification_schemas", "oauth", "opa", "points", "problems", "schemas",
        "scim_protocol", "sign_in",
    },
    "portal": {
        "access", "account", "assets", "charts", "command_line", "confirm", "forms", "identity",
        "render", "routes", "single_sign_on", "source", "visit", "votes",
    },
}  # fmt: skip


def modules(folder: str) -> set[str]:
    return {path.stem for path in (SOURCE / folder).glob("*.py")} - {"__init__"}


def test_each_noun_of_a_face_is_a_service_and_each_service_noun_has_its_faces() -> None:
    services = modules("services")
    assert set(NOUNS) <= services
    for face in FACES:
        found = modules(face)
        missing = set(NOUNS) - found
        assert missing == ABSENT[face], f"{face}: the exception list may only get shorter"


def test_a_face_has_no_module_that_is_neither_a_noun_nor_shared() -> None:
    for face, shared in SHARED.items():
        found = modules(face)
        assert found - set(NOUNS) == shared & found, face
        assert shared <= found, f"{face}: an exception is not used any more"


def test_a_noun_of_the_core_is_spelt_like_its_service() -> None:
    packages = {p.parent.name for p in (SOURCE / "core").glob("*/__init__.py")}
    # What only the core knows: the vocabulary, and rules that several services ask.
    assert packages - {"kernel", "access", "resources", "lifecycle", "policy"} == {
        "agents",
        "approvals",
        "audit",
        "kubernetes",
        "notifications",
    }
    assert {"agents", "approvals", "audit", "lifecycle"} <= modules("services")


def test_every_package_says_what_it_is_for() -> None:
    for path in SOURCE.rglob("*.py"):
        if "versions" in path.parts or path.parent.name == "migrations":
            continue
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"
