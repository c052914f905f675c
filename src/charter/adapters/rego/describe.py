"""What each rule is, for people: from the `# METADATA` comment above it and the data about it."""

from __future__ import annotations

from dataclasses import dataclass

from charter.adapters.rego.assemble import assemble
from charter.adapters.rego.syntax import Rule
from charter.core.policy.bundle import Bundle


@dataclass(frozen=True, slots=True)
class RuleDescription:
    """One rule as portal and CLI show it; `text` is its source, metadata included."""

    id: str
    package: str
    file: str
    line: int
    title: str
    effect: str
    severity: str
    controls: tuple[str, ...]
    owner: str
    fix: str
    mode: str
    source: str
    text: str


def _text(bundle: Bundle, rule: Rule) -> str:
    lines = bundle.text(rule.file).split("\n")
    start = rule.line - 1
    while start > 0 and lines[start - 1].startswith("#"):
        start -= 1
    return "\n".join(lines[start : rule.end_line])


def describe_rules(bundle: Bundle) -> list[RuleDescription]:
    """Every speaking rule of the bundle, by id; raises `PolicyRefusedError` for a broken one.

    A rule with several bodies under one id is described once, by the body that carries metadata.
    """
    assembly = assemble(bundle)
    found: dict[str, RuleDescription] = {}
    for rule in assembly.speaking:
        if rule.id in found and not rule.metadata:
            continue
        custom = rule.metadata.get("custom", {})
        found[rule.id] = RuleDescription(
            id=rule.id,
            package=".".join(rule.path[:-1]),
            file=rule.file,
            line=rule.line,
            title=str(rule.metadata.get("title", rule.id)),
            effect=rule.name,
            severity=str(custom.get("severity", "medium")),
            controls=tuple(custom.get("controls", ())),
            owner=str(custom.get("owner", "")),
            fix=str(custom.get("fix", "")),
            mode=assembly.data.mode_of(rule.id).value,
            source=f"{rule.file}:{rule.line}",
            text=_text(bundle, rule),
        )
    return [found[name] for name in sorted(found)]
