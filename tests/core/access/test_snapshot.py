"""What a decision was made from can be written down and read back without loss."""

from __future__ import annotations

import json

from hypothesis import given

from charter.core.access.snapshot import (
    resource_from_json,
    resource_json,
    subject_from_json,
    subject_json,
)
from charter.core.kernel.canonical import canonical_json
from tests.core.access.people import AGENTS, HUMANS, RESOURCES
from tests.spec import spec


@spec("PC-6")
@given(HUMANS | AGENTS, RESOURCES)
def test_facts_read_back_as_they_were(subject, resource) -> None:
    written = canonical_json(
        {"subject": subject_json(subject), "resource": resource_json(resource)}
    )
    stored = json.loads(written)
    assert subject_from_json(stored["subject"]) == subject
    assert resource_from_json(stored["resource"]) == resource
