"""Tables: tests for people who do not write Rego.

A table is a YAML file `tests/cases/NAME.yaml`: a list of cases, each a request in a few words and
what must come of it.

    - name: an agent with 9 vCPU
      base: agent creates
      spec: {resources: {cpu: 9}}
      effect: deny
      rules: [agent/cpu-above-maximum]

`base` names a document of `tests/documents.yaml`; `change` is merged into it, `spec` into its
`request.object.spec`; the value `ABSENT` takes an entry away. `rules` are all rules that speak, and
no others. `approvers` and `requires` are those of the decisive rule, `message` is what one of the
rules says.

A document is written out under `is`, or made `from` others, merged in order, and a `change`. In a
name, and in the texts of its document, `ACTION` stands for any action: `person ACTION` serves
`person workspace.view`. A bundle without such a file has the documents of the starter set.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.decision import Decision
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import Bundle

DOCUMENTS: Final = "tests/documents.yaml"
_CASES: Final = "tests/cases/"
_ABSENT: Final = "ABSENT"
_ANY_ACTION: Final = "ACTION"
_DEEPEST: Final = 20  # documents made from documents; more is a circle
_EFFECTS: Final = ("allow", "warn", "require_approval", "deny")
_KEYS: Final = {
    "name": str,
    "base": str,
    "change": dict,
    "spec": dict,
    "effect": str,
    "rules": list,
    "approvers": list,
    "requires": list,
    "message": str,
}


class _Loader(yaml.SafeLoader):
    """YAML in which times stay texts and only `true` and `false` are truth values."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"}
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|false|True|False)$"), list("tfTF")
)


class TableError(InvalidInputError):
    """A table that cannot be read; the message names file and line."""

    code = "policy-table"

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "The tables cannot be used: " + " ".join(problems),
            fix="Correct the named places; the author's guide describes tables.",
            details={"problems": problems},
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a table: the document it asks about, and what must come of it."""

    name: str
    file: str
    line: int
    document: Mapping[str, Any]
    changes: Mapping[str, Any]
    effect: str
    rules: tuple[str, ...]
    approvers: tuple[str, ...] | None
    requires: tuple[str, ...] | None
    message: str | None

    def expected(self) -> dict[str, Any]:
        """What must come of it, in the words of the table."""
        return {
            "effect": self.effect,
            "rules": list(self.rules),
            **({} if self.approvers is None else {"approvers": list(self.approvers)}),
            **({} if self.requires is None else {"requires": list(self.requires)}),
            **({} if self.message is None else {"message": self.message}),
        }

    def actual(self, decision: Decision) -> dict[str, Any]:
        """What came of it, in the same words."""
        found: dict[str, Any] = {
            "effect": decision.effect.value,
            "rules": sorted(violation.rule for violation in decision.violations),
        }
        first = decision.decisive[0] if decision.decisive else None
        if self.approvers is not None:
            found["approvers"] = list(first.approvers) if first else []
        if self.requires is not None:
            found["requires"] = list(first.requires) if first else []
        if self.message is not None:
            messages = [violation.message for violation in decision.violations]
            found["message"] = self.message if self.message in messages else "; ".join(messages)
        return found


def merged(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`document` with `changes` merged in; the value ABSENT takes the entry away."""
    result = copy.deepcopy(dict(document))
    for key, value in changes.items():
        if value == _ABSENT:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


class Documents:
    """The named documents that cases start from."""

    def __init__(self, entries: Mapping[str, Any], file: str = DOCUMENTS) -> None:
        self._entries = entries
        self._file = file

    @classmethod
    def of(cls, bundle: Bundle) -> Documents:
        """Those of the bundle, or the starter set's."""
        source = bundle if DOCUMENTS in bundle.files else shipped_bundle()
        entries = _read(source, DOCUMENTS)
        if not isinstance(entries, dict):
            raise TableError([f"{DOCUMENTS}:1: must be an object of documents by name."])
        return cls(entries)

    def get(self, name: str, _depth: int = 0) -> dict[str, Any]:
        """The document called `name`; raises `KeyError` with a sentence."""
        if _depth > _DEEPEST:
            raise KeyError(f"the document {name!r} is made from itself")
        if name in self._entries:
            return self._make(name, self._entries[name], _depth)
        for pattern, entry in self._entries.items():
            before, marker, after = str(pattern).partition(_ANY_ACTION)
            inner = name[len(before) : len(name) - len(after) or None]
            if marker and name.startswith(before) and name.endswith(after) and inner:
                made: dict[str, Any] = _filled(self._make(name, entry, _depth), inner)
                return made
        known = ", ".join(map(str, self._entries))
        raise KeyError(f"there is no document {name!r} in {self._file}; it has {known}")

    def _make(self, name: str, entry: object, depth: int) -> dict[str, Any]:
        if not isinstance(entry, dict) or not set(entry) <= {"is", "from", "change"}:
            raise KeyError(f"the document {name!r} may have 'is' or 'from', and 'change'")
        sources = entry.get("from", [])
        result: dict[str, Any] = dict(entry.get("is", {}))
        for source in [sources] if isinstance(sources, str) else sources:
            result = merged(result, self.get(str(source), depth + 1))
        return merged(result, entry.get("change", {}))


def _filled(value: Any, action: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, action) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, action) for inner in value]
    return action if value == _ANY_ACTION else value


def _read(bundle: Bundle, path: str) -> Any:
    try:
        return yaml.load(bundle.text(path), Loader=_Loader)  # noqa: S506 — a safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = 1 if mark is None else mark.line + 1
        raise TableError([f"{path}:{line}: this is not YAML."]) from error


def cases_of(bundle: Bundle) -> tuple[Case, ...]:
    """Every case of every table of the bundle; raises `TableError` with every problem."""
    paths = [p for p in bundle.files if p.startswith(_CASES) and p.endswith(".yaml")]
    if not paths:
        return ()
    documents = Documents.of(bundle)
    problems: list[str] = []
    found: list[Case] = []
    for path in paths:
        rows = _read(bundle, path)
        if not isinstance(rows, list):
            problems.append(f"{path}:1: must be a list of cases.")
            continue
        for line, row in zip(_lines(bundle.text(path)), rows, strict=True):
            wrong = list(_wrong(row))
            problems += [f"{path}:{line}: {what}" for what in wrong]
            if not wrong:
                try:
                    found.append(_case(row, path, line, documents))
                except KeyError as error:
                    problems.append(f"{path}:{line}: {error.args[0]}.")
                except (RecursionError, ValueError, TypeError):
                    problems.append(f"{path}:{line}: the case is not plain JSON.")
    if problems:
        raise TableError(problems)
    return tuple(found)


def _lines(text: str) -> list[int]:
    node: Any = yaml.compose(text, Loader=_Loader)
    return [item.start_mark.line + 1 for item in node.value]


def _wrong(row: object) -> Iterator[str]:
    if not isinstance(row, dict):
        yield "a case is an object."
        return
    for key in row:
        if key not in _KEYS:
            yield f"a case has no {key!r}; it may have {', '.join(_KEYS)}."
        elif not isinstance(row[key], _KEYS[key]):
            kind = {str: "a text", list: "a list", dict: "an object"}[_KEYS[key]]
            yield f"{key!r} must be {kind}."
    for key in ("name", "base", "effect"):
        if key not in row:
            yield f"a case needs {key!r}."
    if "effect" in row and row["effect"] not in _EFFECTS:
        yield f"the effect is one of {', '.join(_EFFECTS)}."


def _case(row: Mapping[str, Any], path: str, line: int, documents: Documents) -> Case:
    changes = row.get("change", {})
    if "spec" in row:
        changes = merged(changes, {"request": {"object": {"spec": row["spec"]}}})
    document = documents.get(row["base"])
    document = merged(document, row.get("change", {}))
    if "spec" in row:
        document = merged(document, {"request": {"object": {"spec": row["spec"]}}})

    json.dumps([document, changes])  # an anchor may have put the case into itself

    def texts(key: str) -> tuple[str, ...] | None:
        return tuple(map(str, row[key])) if key in row else None

    return Case(
        name=row["name"],
        file=path,
        line=line,
        document=document,
        changes=changes,
        effect=row["effect"],
        rules=tuple(sorted(texts("rules") or ())),
        approvers=texts("approvers"),
        requires=texts("requires"),
        message=row.get("message"),
    )


def differs(
    case: Case, decide: Callable[[Mapping[str, Any]], Decision]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Expected and actual outcome where they differ; None when the case holds."""
    expected, actual = case.expected(), case.actual(decide(case.document))
    return None if expected == actual else (expected, actual)
