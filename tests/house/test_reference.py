"""The generated pages of docs/reference are what the code says now."""

from __future__ import annotations

from pathlib import Path

from charter.settings import Settings
from tools.reference import PAGES, ROOT, api, errors, spec_coverage, stale


def test_no_generated_page_is_stale() -> None:
    assert stale() == [], "run: python -m tools.reference --write"


def test_every_setting_is_on_its_page() -> None:
    text = (ROOT / "docs/reference/settings.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"`CHARTER_{name.upper()}`" in text
        assert field.description, name


def test_every_route_and_every_code_is_on_its_page() -> None:
    text = (ROOT / "docs/reference/api.md").read_text()
    for path, methods in api.document()["paths"].items():
        for method, operation in methods.items():
            assert f"`{method.upper()} {path}`" in text
            assert operation.get("description"), f"{method} {path} says nothing about itself"
    text = (ROOT / "docs/reference/errors.md").read_text()
    assert all(f"| `{code}` |" in text for code in errors.codes(ROOT))


def test_a_test_names_only_capabilities_that_exist() -> None:
    unknown = set(spec_coverage.marks(ROOT)) - set(spec_coverage.known_ids())
    assert unknown == set()


def test_a_page_that_differs_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs/reference").mkdir(parents=True)
    assert stale(tmp_path) == list(PAGES)
