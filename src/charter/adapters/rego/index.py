"""Leaving out the rules that cannot speak: an index over the rules of a bundle.

Most rules begin by saying whom and what they are about: one action, only agents, only workspaces
that are placed. Those *guards* depend on nothing but three facts of a document, its *key*:
the action's name, the kind of the subject and whether the workspace asked for is an agent's. So for
each key the guards are asked once, by the engine itself, and rules whose guard does not hold are
left out of the policy that decides documents with this key. What is left out could not have said
anything; every other rule is evaluated as it stands.

A rule stays in whenever there is a doubt: it has no guard, several bodies or an older syntax, its
guard fails with an error, or another rule refers to its set. Documents with a key that is not
foreseen (an unknown action, say) are decided by the whole policy.

What is left is written as the engine reads it fastest (`rewrite`), without the modules that no rule
left in it reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from charter.adapters.rego import library
from charter.adapters.rego.assemble import AGGREGATOR, Assembly, sources_of
from charter.adapters.rego.guards import guard_of
from charter.adapters.rego.places import StatementReads
from charter.adapters.rego.rewrite import Constants, ready
from charter.adapters.rego.syntax import Module, Rule, guarded

_KEY_PATHS: Final = frozenset(
    {("action", "name"), ("subject", "kind"), ("request", "object", "spec", "agent")}
)
_GUARDS: Final = "charter.guards"
_ABSENT: Final = "absent"
_MISSING: Final = object()
_KINDS: Final = frozenset({"human", "agent", "service"})


class Key(NamedTuple):
    """What guards can depend on; `agent_workspace` is true, false or absent."""

    action: str
    subject_kind: str
    agent_workspace: str

    def document(self) -> dict[str, Any]:
        """A decision document that has this key and nothing else."""
        document: dict[str, Any] = {
            "action": {"name": self.action},
            "subject": {"kind": self.subject_kind},
        }
        if self.agent_workspace != _ABSENT:
            spec = {"agent": self.agent_workspace == "true"}
            document["request"] = {"object": {"spec": spec}}
        return document


def key_of(document: Mapping[str, Any]) -> Key | None:
    """The key of a decision document; None when one of its facts has an unforeseen shape."""
    action = _at(document, "action", "name")
    kind = _at(document, "subject", "kind")
    agent = _at(document, "request", "object", "spec", "agent")
    if not isinstance(action, str) or not isinstance(kind, str) or kind not in _KINDS:
        return None
    if agent is not _MISSING and not isinstance(agent, bool):
        return None
    return Key(action, kind, json.dumps(agent) if isinstance(agent, bool) else _ABSENT)


def keys_of(action: str, subject_kind: str) -> tuple[Key, ...]:
    """Every key that a request with this action by such a subject can have."""
    return tuple(Key(action, subject_kind, agent) for agent in ("true", "false", _ABSENT))


def _at(document: object, *steps: str) -> object:
    value = document
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            return _MISSING
        value = value[step]
    return value


class RuleIndex:
    """The guards of a bundle, and the policy that is left for each key."""

    def __init__(self, assembly: Assembly) -> None:
        program = assembly.program
        used = program.uses()
        self._assembly = assembly
        self._actions = assembly.data.actions
        self._constants = Constants.of(program, json.loads(assembly.data_json))
        speaking = set(map(id, assembly.speaking))
        self._guards = tuple(
            guard
            for module in assembly.modules
            if not module.old_syntax
            for rule in module.rules
            if id(rule) in speaking and rule.path not in used
            if (guard := guard_of(program, module, rule, _KEY_PATHS)) is not None
        )

    def foreseen(self, key: Key | None) -> bool:
        """Whether a policy can be left for this key; a key that anybody may invent is none."""
        return key is not None and key.action in self._actions

    def guard_modules(self) -> list[tuple[str, str]]:
        """Modules, by file name, which ask every guard; the answer is `data.charter.guards`."""
        names: dict[tuple[str, str], str] = {}
        found: list[tuple[str, str]] = []
        asked = [f"package {_GUARDS}", "", "import rego.v1", ""]
        for number, guard in enumerate(self._guards):
            conditions = []
            for module, text in guard.conditions():
                name = names.get((module.file, text))
                if name is None:
                    name = names[module.file, text] = f"charter_guard_{len(names)}"
                    question = f"{_head(module)}\n\n{name} if {{\n\t{text}\n}}\n"
                    found.append((f"generated/{name}.rego", question))
                package = "".join(f"[{json.dumps(part)}]" for part in module.package)
                conditions.append(f"data{package}.{name}")
            asked.append(f"holds contains {number} if {{ {'; '.join(conditions)} }}")
        asked.append("asked := true\n")
        found.append(("generated/charter-guards.rego", "\n".join(asked)))
        return found

    def left_out(self, engine: library.Engine, key: Key) -> frozenset[int]:
        """Which guards do not hold for `key`, asked of an engine with the guard modules."""
        try:
            engine.set_input_json(json.dumps(key.document()))
            answer = json.loads(engine.eval_query_as_json(f"data.{_GUARDS}"))
            engine.take_prints()
            found = answer["result"][0]["expressions"][0]["value"]
        except BaseException as error:  # noqa: BLE001  (panics derive from it)
            guarded(error)
            return frozenset()
        holds = set(found.get("holds", ()))
        return frozenset(range(len(self._guards))) - holds

    def speaking(self, left_out: frozenset[int]) -> tuple[Rule, ...]:
        """The rules that can speak when these guards do not hold."""
        without = {id(self._guards[number].rule) for number in left_out}
        return tuple(rule for rule in self._assembly.speaking if id(rule) not in without)

    def remaining(self, left_out: frozenset[int]) -> tuple[list[Module], str]:
        """The modules without the rules that were left out, and the list of those that speak.

        In the rules that stay, the guards hold, and so they are not asked again.
        """
        without: set[int] = set()
        settled: dict[int, tuple[StatementReads, ...]] = {}
        for number, guard in enumerate(self._guards):
            if number in left_out:
                without.add(id(guard.rule))
            else:
                settled[id(guard.rule)] = guard.statements
        program = self._assembly.program
        rest = self.speaking(left_out)
        read = program.reached([(*AGGREGATOR, "decision"), *(rule.path for rule in rest)])
        modules = [
            ready(program, module, without, settled, self._constants)
            for module in self._assembly.modules
            if any(rule.path[: len(module.package) + 1] in read for rule in module.rules)
        ]
        return modules, sources_of(rest, evaluated=len(self._assembly.speaking))


def _head(module: Module) -> str:
    lines = module.text.split("\n")
    return "\n".join(line for line in lines if line.startswith(("package ", "import ")))
