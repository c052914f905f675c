"""Schemas: what data documents and the decision document look like, and what does not fit.

Two kinds lie in the starter bundle and in bundles of users:

* `schemas/data/NAME.json` describes `data/NAME.json`. Charter's own always apply beside the strict
  reader (`core.policy.data`), so that an editor and the check speak of an entry's path in the same
  words; a bundle may describe documents of its own.
* `schemas/input/*.json` describe what policies read as `input`. A path that a rule names is looked
  up in all of them. Where an object is closed, an unknown field is a mistake; where it is marked
  `x-charter-extensible` it may come from an enforcement point outside; elsewhere it is free, and
  only a near miss is pointed out.

References to other files or hosts are not followed: a check works offline and reads the bundle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

import jsonschema_rs

from charter.adapters.rego.findings import Finding
from charter.adapters.rego.load import shipped_bundle
from charter.core.kernel.errors import InvalidInputError
from charter.core.policy.bundle import DATA_FOLDER, Bundle

_DATA: Final = "schemas/data/"
_INPUT: Final = "schemas/input/"
_ANY: Final = "*"
# Of difflib: "resurce" and "resource" have 0.93, "problems" and "roles" 0.77. Where other names are
# free, only a slip of the fingers counts: one letter wrong or two exchanged, or nearly the same.
_NEAR: Final = 0.7
_SLIP: Final = 0.84
_SHORTEST_SLIP: Final = 4  # "id" and "ip" are two names
_LARGEST: Final = 1 << 53
_EXTENSIBLE: Final = "x-charter-extensible"
Schema = dict[str, Any]
Path = tuple[str, ...]


class SchemaRefusedError(InvalidInputError):
    """A schema file that cannot be used."""

    code = "policy-schema"


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"{uri} lies outside the bundle")


def read_schema(bundle: Bundle, path: str) -> Schema:
    """The schema in the file `path`; raises `SchemaRefusedError` naming what is wrong with it."""
    try:
        schema = json.loads(bundle.text(path))
        jsonschema_rs.validator_for(schema, retriever=_no_retrieval)
    except (ValueError, RecursionError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else "it is not JSON"
        raise SchemaRefusedError(
            f"{path} is no usable JSON Schema: {first}.",
            fix="Correct it; references to other files or hosts are not followed.",
        ) from error
    if not isinstance(schema, dict):
        raise SchemaRefusedError(
            f"{path} is no usable JSON Schema: it must be an object.", fix="Write an object."
        )
    return schema


def _schemas(bundle: Bundle, folder: str) -> Iterator[tuple[str, Schema | Finding]]:
    """The schemas below `folder`, each by its path, or what is wrong with it."""
    for path in bundle.files:
        if path.startswith(folder) and path.endswith(".json"):
            try:
                yield path, read_schema(bundle, path)
            except InvalidInputError as error:
                yield path, Finding("schema-file", path, 0, error.message)


@cache
def _shipped(folder: str) -> tuple[tuple[str, Schema | Finding], ...]:
    return tuple(_schemas(shipped_bundle(), folder))


def data_findings(bundle: Bundle) -> list[Finding]:
    """What in the bundle's data documents does not fit their schemas."""
    found: list[Finding] = []
    schemas: dict[str, list[Schema]] = {}
    for source in (_shipped(_DATA), _schemas(bundle, _DATA)):
        for path, schema in source:
            if isinstance(schema, Finding):
                found.append(schema)
            elif schema not in schemas.setdefault(path.removeprefix(_DATA), []):
                schemas[path.removeprefix(_DATA)].append(schema)
    for path in bundle.documents:
        text = bundle.text(path)
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            continue  # the bundle's own reader says so, and better
        for schema in schemas.get(path.removeprefix(DATA_FOLDER), ()):
            found += _misfits(path, text, document, schema)
        found += [
            Finding("large-integer", path, _line(text, at), f"{_dotted(at)} is larger than 2^53.")
            for at, value in _numbers(document, ())
            if abs(value) > _LARGEST
        ]
    return found


def _misfits(path: str, text: str, document: object, schema: Schema) -> Iterator[Finding]:
    validator = jsonschema_rs.validator_for(schema, retriever=_no_retrieval)
    for error in validator.iter_errors(document):
        at = tuple(str(step) for step in error.instance_path)
        yield Finding("data-schema", path, _line(text, at), f"{_dotted(at)}: {error.message}.")


def _dotted(at: Path) -> str:
    return ".".join(at) or "the document"


def _line(text: str, at: Path) -> int:
    """The line of the entry at this path: its keys, one after the other, as they stand in the text.

    An approximation for readers; lists count as no step.
    """
    place = 0
    for step in at:
        found = text.find(f"{json.dumps(step)}:", place)
        place = found if found >= 0 else place
    return text.count("\n", 0, place) + 1


def _numbers(value: object, at: Path) -> Iterator[tuple[Path, float]]:
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        yield at, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _numbers(inner, (*at, str(number)))


def input_schemas(bundle: Bundle) -> tuple[list[Schema], list[Finding]]:
    """Every schema of the decision document that holds for this bundle, Charter's own first."""
    schemas: list[Schema] = []
    findings: list[Finding] = []
    for source in (_shipped(_INPUT), _schemas(bundle, _INPUT)):
        for _, schema in source:
            if isinstance(schema, Finding):
                findings.append(schema)
            elif schema not in schemas:
                schemas.append(schema)
    return schemas, findings


def _step(schema: Schema, step: str) -> Schema | None:
    """The schema of a field or element; {} where it is free, None where there is no such field."""
    properties = schema.get("properties", {})
    if step in properties:
        return _as_schema(properties[step])
    if "items" in schema or schema.get("type") == "array":
        return _as_schema(schema.get("items", {})) if step == _ANY or step.isdigit() else None
    if step == _ANY:
        return {}
    further = schema.get("additionalProperties", True)
    if isinstance(further, dict):
        return further
    known = bool(properties) and (further is False or _EXTENSIBLE in schema)
    return None if known or _slip(step, properties) else {}


def _as_schema(value: object) -> Schema:
    return value if isinstance(value, dict) else {}


def _near(step: str, properties: Iterable[str], least: float = _NEAR) -> str | None:
    found = get_close_matches(step, list(properties), n=1, cutoff=least)
    return found[0] if found else None


def _slip(step: str, properties: Iterable[str]) -> bool:
    """Whether a name is a known one but for the fingers."""
    if _near(step, properties, _SLIP):
        return True
    for name in properties if len(step) >= _SHORTEST_SLIP else ():
        wrong = [n for n, (a, b) in enumerate(zip(step, name, strict=False)) if a != b]
        if len(name) != len(step) or len(wrong) > 2:  # noqa: PLR2004 — two letters exchanged
            continue
        first, last = (wrong[0], wrong[-1]) if wrong else (0, 0)
        if len(wrong) == 1 or (step[first], step[last]) == (name[last], name[first]):
            return True
    return False


def input_problem(path: Path, schemas: Sequence[Schema]) -> tuple[str, str] | None:
    """Which rule of the linter a path of the input breaks, and how; None for a path that may be."""
    answers = [_lookup(path, schema) for schema in schemas]
    if not answers or any(answer is None for answer in answers):
        return None
    # The schema that follows the path furthest knows best what was meant.
    _, rule, message = max((a for a in answers if a is not None), key=lambda answer: answer[0])
    return rule, message


def _lookup(path: Path, schema: Schema) -> tuple[int, str, str] | None:
    current = schema
    for depth, step in enumerate(path):
        if not current:
            return None
        following = _step(current, step)
        if following is not None:
            current = following
            continue
        properties = current.get("properties", {})
        near = _near(step, properties)
        written = ".".join(("input", *path[: depth + 1]))
        closed = current.get("additionalProperties") is False
        extensible = _EXTENSIBLE in current
        slip = extensible and _slip(step, properties)
        rule = "unknown-input" if closed or slip else "doubtful-input"
        if near:
            meant = ".".join(("input", *path[:depth], near))
            return depth, rule, f"{written} does not exist; did you mean {meant}?"
        if "items" in current or current.get("type") == "array":
            return (
                depth,
                rule,
                f"{written} does not exist: {'.'.join(('input', *path[:depth]))} is a list.",
            )
        known = ", ".join(sorted(properties))
        return depth, rule, f"{written} is not described; known here are {known}."
    return None


def sure_texts(schemas: Sequence[Schema]) -> list[Path]:
    """The paths of the input that hold a text whenever they are there."""
    return [("input", *path) for path in _texts(schemas[0], ())] if schemas else []


def _texts(schema: Schema, at: Path) -> Iterator[Path]:
    if schema.get("type") == "string":
        yield at
    for name, inner in schema.get("properties", {}).items():
        yield from _texts(_as_schema(inner), (*at, name))
