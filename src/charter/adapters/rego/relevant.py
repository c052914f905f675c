"""Which facts a bundle looks at when it decides a request of one kind.

The union over the rules that can speak: what each reads, itself and through its helpers. To it come
the facts that the bundle's data demands of every such request (`data/actions.json`): a rule over
data reads them, which no syntax shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from charter.adapters.rego.assemble import Assembly
from charter.adapters.rego.index import Key
from charter.adapters.rego.syntax import Rule
from charter.core.policy.paths import EVERYTHING, InputPath


class RelevantPaths:
    """Answers for one bundle."""

    def __init__(self, assembly: Assembly) -> None:
        self._program = assembly.program
        self._files = {module.file: module for module in assembly.modules}
        self._read: dict[int, frozenset[InputPath]] = {}
        self._actions = json.loads(assembly.data_json)["settings"].get("actions")

    def of(
        self, action: str, subject_kind: str, speaking: Callable[[Key], tuple[Rule, ...]]
    ) -> frozenset[InputPath]:
        """The input paths that matter for such a request; `*` steps are open.

        `speaking` gives the rules that can speak for a key of the index. (It is not kept: it holds
        the engine that holds this.)
        """
        found: set[InputPath] = set()
        for agent_workspace in ("absent", "true", "false"):
            for rule in speaking(Key(action, subject_kind, agent_workspace)):
                found |= self._reads(rule)
        return frozenset(found - {EVERYTHING}) | _demanded(self._actions, action, subject_kind)

    def _reads(self, rule: Rule) -> frozenset[InputPath]:
        if id(rule) not in self._read:
            self._read[id(rule)] = self._program.rule_reads(self._files[rule.file], rule)
        return self._read[id(rule)]


def _demanded(actions: Any, action: str, subject_kind: str) -> frozenset[InputPath]:
    """What the data documents say that a request of this kind must carry."""
    lists = (
        _below(actions, "actions", action, "required"),
        _below(actions, "subjects", subject_kind),
    )
    return frozenset(
        tuple(path)
        for paths in lists
        if isinstance(paths, list)
        for path in paths
        if isinstance(path, list) and path and all(isinstance(step, str) for step in path)
    )


def _below(value: Any, *steps: str) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value
