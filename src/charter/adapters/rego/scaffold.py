"""A policy repository to start from, and a rule to start from in it.

The repository is the starter set with what a team needs around it: a README, a pre-commit hook and
a workflow that run the check, and a change log of its own. The rule is one that passes the check:
it has METADATA, a mode in the data, and a table with one case in which it fires and one in which it
does not; whoever asked for it then writes what they meant.
"""

from __future__ import annotations

import json
import re
from typing import Final

from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import Bundle

EFFECTS: Final = ("deny", "require_approval", "warn")
_RULE_ID: Final = re.compile(r"^[a-z][a-z0-9-]*/[a-z][a-z0-9-]*$")
_FOLDERS: Final = ("admission", "runtime", "ai-governance", "compliance")

_README: Final = """# Policies

The rules by which Charter decides, for people and for agents. Every change is a pull request: it is
checked, its effect on recorded decisions is shown, and two people review it before it is in force.

| folder | what |
| --- | --- |
| `admission/` | what may be created and done; rules for agents stand in files of their own |
| `runtime/` | what happens while a workspace or an agent runs |
| `ai-governance/` | agents' tasks and the data they work on |
| `compliance/` | rules that a control or a regulation asks for |
| `data/` | the numbers; every rule's mode; exemptions; who approves what |
| `lib/` | the aggregator and what the rules read; change it with care |
| `schemas/` | what data and input look like; the check holds both against them |
| `tests/` | `*_test.rego`, and tables in `cases/*.yaml` for people who do not write Rego |
| `docs/` | the guide to the rules, and the change log |

    charter policy check            # syntax, profile, data, input paths, tests, coverage
    charter policy new admission/my-rule
    charter policy test --coverage .

`charter policy check` runs before each commit (`pre-commit install`) and in the workflow. It needs
no server and ends with 0 when nothing is wrong.
"""

_HOOK: Final = """# pre-commit install
repos:
  - repo: local
    hooks:
      - id: charter-policy-check
        name: charter policy check
        entry: charter policy check .
        language: system
        pass_filenames: false
"""

_WORKFLOW: Final = """# Runs where the charter command is; it needs no server and no secrets.
name: policy
on: [push, pull_request]
jobs:
  check:
    runs-on: [self-hosted, charter]
    steps:
      - uses: actions/checkout@v4
      - run: charter policy check . --format github --coverage-floor 90
"""

_CHANGE_LOG: Final = """# Change log of the policies

Newest first. Each entry says what changed for whom, and why. The bundle's digest in every decision
says which state was in force.

## Starter set

* The rules that come with Charter, unchanged.
"""


def repository() -> dict[str, str]:
    """The files of a new policy repository, by path."""
    bundle = shipped_bundle()
    return {
        **{path: bundle.text(path) for path in bundle.files},
        "README.md": _README,
        "docs/change-log.md": _CHANGE_LOG,
        ".pre-commit-config.yaml": _HOOK,
        ".github/workflows/policy.yaml": _WORKFLOW,
    }


_RULE: Final = """# Why this rule exists, in a sentence for whoever reads it in a year.
package {package}

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "{title}"
# custom:
#   id: {id}
#   severity: medium
#   controls: []
#   owner: platform-team
#   fix: "Say here what whoever is stopped should do."
{effect} contains {{
	"id": "{id}",
	"message": "Say here what is wrong.",
}} if {{
	facts.creating
	facts.label("{name}") == "example"
}}
"""

_TABLE: Final = """# {title}: when it speaks, and when it does not.
- name: {name} speaks
  base: person creates
  change: {{resource: {{labels: {{{name}: example}}}}}}
  effect: {effect}
  rules: [{id}]
  message: Say here what is wrong.
- name: {name} is silent
  base: person creates
  effect: allow
"""


def new_rule(bundle: Bundle, rule_id: str, *, effect: str, title: str) -> dict[str, str]:
    """The files to add to `bundle`, or to replace in it, for a rule with this id.

    Raises `InvalidInputError` for an id that cannot be one or that is taken.
    """
    if not _RULE_ID.match(rule_id) or effect not in EFFECTS:
        raise InvalidInputError(
            f"{rule_id!r} with the effect {effect!r} cannot be a rule.",
            fix="Give an id such as admission/no-weekend, and deny, require_approval or warn.",
            code="policy-rule-id",
        )
    area, _, name = rule_id.partition("/")
    folder = area if area in _FOLDERS else "admission"
    file, table = f"{folder}/{name}.rego", f"tests/cases/{name}.yaml"
    taken = [path for path in (file, table) if path in bundle.files]
    text = "\n".join(bundle.text(path) for path in bundle.modules)
    if taken or f"id: {rule_id}\n" in text:
        raise InvalidInputError(
            f"There is a rule {rule_id} or a file {file} or {table} already.",
            fix="Choose another name.",
            code="policy-rule-id",
        )
    words = {
        "id": rule_id,
        "name": name,
        "effect": effect,
        "title": title.replace('"', "'"),
        "package": f"{folder}.{name}".replace("-", "_"),
    }
    modes = json.loads(bundle.text("data/enforcement.json"))
    modes["rules"][rule_id] = "enforce"
    return {
        file: _RULE.format(**words),
        table: _TABLE.format(**words),
        "data/enforcement.json": json.dumps(modes, indent=2, ensure_ascii=False) + "\n",
    }
