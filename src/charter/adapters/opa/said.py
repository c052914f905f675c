"""What OPA's type checker has to be told about the rules that Charter collects.

OPA infers from the loaded rules what they can say. In a bundle whose rules all say texts it would
refuse the aggregator's branch for objects, as one that can never be right. This module adds a rule
that is never true and whose value may be either.
"""

from __future__ import annotations

from typing import Final

TYPES_FILE: Final = "generated/charter-types.rego"
TYPES_MODULE: Final = """package charter.sources

import rego.v1

spoken contains {"effect": "deny", "rule": "none", "said": said} if {
	some said in ["", {"id": "none"}]
	count([said]) == 0
}
"""
