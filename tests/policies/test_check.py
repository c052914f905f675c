"""The starter set passes the check that Charter asks of everybody's bundles.

Whoever adds a rule, a data document or a field of the decision document reads here what is missing:
a test, a schema in `schemas/data`, a field in `schemas/input/decision-document.json`.
"""

from __future__ import annotations

import json

from charter.adapters.rego.check import check
from charter.adapters.rego.findings import Severity
from charter.adapters.rego.load import shipped_bundle
from tests.spec import spec as proves


@proves("PC-4")
def test_the_starter_set_is_clean_and_tested() -> None:
    report = check(shipped_bundle(), coverage_floor=99)
    told = [f for f in report.findings if f.severity is not Severity.NOTE]
    assert [f.sentence() for f in told if f.rule != "uncovered-lines"] == []
    assert report.passed
    assert report.report is not None
    assert any(test.table for test in report.report.tests)
    document = report.as_json()
    assert json.loads(json.dumps(document)) == document
    assert document["tests"]["coverage_percent"] >= 99


def test_every_data_document_has_a_schema() -> None:
    shipped = shipped_bundle()
    assert [p for p in shipped.documents if f"schemas/{p}" not in shipped.files] == []
