"""Rules as Gatekeeper ConstraintTemplates, for clusters that enforce by Gatekeeper.

Gatekeeper evaluates one template per rule, and gives it the object (`input.review`) and the
constraint's parameters. It knows nothing of Charter's subjects, approvals, quotas or tasks. So a
rule fits when everything it reads comes through the names of `lib/kubernetes.rego` that an object
alone can answer: the export puts `gatekeeper.rego`, which defines the same names from the object,
in the place of that library, and the rule's own text goes over unchanged. Where a rule needs more,
the reason is told; it stays with the webhook.

The constraint's `enforcementAction` follows from the rule's effect and mode. Gatekeeper cannot ask
for an approval: it denies.

Source: Spec PC-12; Gatekeeper, ConstraintTemplate v1 with Rego v1 (Gatekeeper 3.19 and later).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from charter.adapters.rego.assemble import Assembly, assemble
from charter.adapters.rego.reads import reads_of
from charter.adapters.rego.syntax import Module, Rule
from charter.core.kernel.decision import Mode
from charter.core.policy.bundle import Bundle

_LIBRARY: Final = ("charter", "kubernetes")
_IMPORT: Final = "data.charter.kubernetes"
_PARAMETERS: Final = (
    "registries",
    "allowed_capabilities",
    "host_path_prefixes",
    "agent_runtime_classes",
    "required_labels",
    "limits",
    "labels",
    "agents",
    "namespaces",
)
_KINDS: Final = (
    ([""], ["Pod", "PodTemplate", "ReplicationController", "PersistentVolumeClaim"]),
    (["apps"], ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"]),
    (["batch"], ["Job", "CronJob"]),
    (["agents.x-k8s.io"], ["Sandbox"]),
    (["extensions.agents.x-k8s.io"], ["SandboxTemplate"]),
    (["workspace.devfile.io"], ["DevWorkspace"]),
)
_USED: Final = re.compile(r"(?<![\w.\"])kubernetes\.([a-z_]+)")
_DEFINED: Final = re.compile(r"^(?:default )?([a-z_]+)(?:\(| |$)", re.MULTILINE)
_TEXTS: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`')
_FROM_OBJECT: Final = (("request",), ("resource", "spec"), ("action", "name"))
_ACTIONS: Final = {"deny": "deny", "require_approval": "deny", "warn": "warn"}


@dataclass(frozen=True, slots=True)
class ExportedRule:
    """One rule as Gatekeeper takes it; `name` is that of template and constraint."""

    rule: str
    name: str
    template: Mapping[str, Any]
    constraint: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Export:
    """What fits, and (rule, reason) of what does not."""

    rules: tuple[ExportedRule, ...]
    left_out: tuple[tuple[str, str], ...]


@cache
def library() -> str:
    """The module that answers for `lib/kubernetes.rego` inside Gatekeeper."""
    return (files("charter.adapters.kubernetes") / "gatekeeper.rego").read_text()


def export_rules(bundle: Bundle) -> Export:
    """Every rule of the bundle, as a template or with the reason why not.

    Raises `PolicyRefusedError` for a bundle that cannot decide.
    """
    assembly = assemble(bundle)
    modules = {module.file: module for module in assembly.modules}
    reads = reads_of(assembly.modules)
    parameters = _parameters(bundle)
    fitting: dict[str, list[Rule]] = {}
    left_out: dict[str, str] = {}
    for rule in assembly.speaking:
        reason = _reason(rule, modules[rule.file], assembly, reads.get(rule.path, frozenset()))
        if reason is None:
            fitting.setdefault(rule.id, []).append(rule)
        else:
            left_out.setdefault(rule.id, reason)
    for rule_id in left_out.keys() & fitting.keys():
        del fitting[rule_id]  # half a rule would be another rule
    rules = [
        _exported(rule_id, bodies, modules[bodies[0].file], assembly, parameters)
        for rule_id, bodies in sorted(fitting.items())
    ]
    return Export(tuple(rules), tuple(sorted(left_out.items())))


def _parameters(bundle: Bundle) -> dict[str, Any]:
    document = bundle.settings().get("kubernetes")
    if not isinstance(document, dict):
        return {}
    return {name: _without_why(document[name]) for name in _PARAMETERS if name in document}


def _without_why(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_why(inner) for key, inner in value.items() if key != "_why"}
    return value


def _code(text: str) -> str:
    """Rego without comments and texts, in which names can be looked for."""
    plain = _TEXTS.sub('""', text)
    return "\n".join(line.partition("#")[0] for line in plain.split("\n"))


def _text_of(module: Module, rule: Rule) -> str:
    lines = module.text.split("\n")
    return "\n".join(lines[rule.line - 1 : rule.end_line])


def _helpers(module: Module) -> str:
    """The rules of the module that do not speak: whatever the others may use."""
    return "\n\n".join(_text_of(module, rule) for rule in module.rules if not rule.speaks)


def _reason(
    rule: Rule, module: Module, assembly: Assembly, read: frozenset[tuple[str, ...]]
) -> str | None:
    """Why the rule cannot be exported; None when it can."""
    return _unfit(rule, module, assembly) or _unanswerable(rule, module, read)


def _unfit(rule: Rule, module: Module, assembly: Assembly) -> str | None:
    """What speaks against the rule whatever it reads."""
    if assembly.data.mode_of(rule.id) is Mode.OFF:
        return "it is switched off"
    if rule.name not in _ACTIONS:
        return f"Gatekeeper knows no {rule.name}"
    if module.old_syntax:
        return "it is written in the older syntax; charter policy convert rewrites it"
    return None


def _unanswerable(rule: Rule, module: Module, read: frozenset[tuple[str, ...]]) -> str | None:
    """What the rule needs and an object alone cannot answer."""
    imported = {name for name in module.imports if name.startswith("data.")}
    code = _code(_text_of(module, rule) + "\n" + _helpers(module))
    if imported != {_IMPORT} or re.search(r"(?<![\w.])(input|data)[.\[]", code):
        more = sorted(
            ".".join(path)
            for path in read
            if not any(path[: len(start)] == start for start in _FROM_OBJECT)
        )
        if not more:
            return "it judges Charter's own workspaces, which are no Kubernetes objects"
        return f"it reads {', '.join(more[:3])}, which Gatekeeper does not have"
    known = set(_DEFINED.findall(library()))
    if missing := sorted(set(_USED.findall(code)) - known):
        return f"it uses kubernetes.{missing[0]}, which an object alone cannot answer"
    return None


def _exported(
    rule_id: str,
    bodies: list[Rule],
    module: Module,
    assembly: Assembly,
    parameters: dict[str, Any],
) -> ExportedRule:
    kind = "Charter" + "".join(part.capitalize() for part in re.split(r"[/-]", rule_id))
    name = kind.lower()
    entry = bodies[0].metadata.get("custom", {})
    title = str(bodies[0].metadata.get("title", rule_id))
    texts = "\n\n".join(_text_of(module, rule) for rule in bodies)
    helpers = _helpers(module)
    word = bodies[0].name
    rego = (
        f"package {name}\n\nimport data.lib.kubernetes\n\n"
        'violation contains {"msg": sprintf("[%s] %s", [said.id, said.message]), '
        '"details": {"rule": said.id}} if {\n'
        f"\tsome said in {word}\n}}\n\n{texts}\n" + (f"\n{helpers}\n" if helpers else "")
    )
    action = _ACTIONS[word]
    match assembly.data.mode_of(rule_id):
        case Mode.WARN:
            action = "warn"
        case Mode.DRY_RUN:
            action = "dryrun"
    labels = {"app.kubernetes.io/part-of": "charter"}
    notes = {
        "metadata.gatekeeper.sh/title": title,
        "description": f"{title}. {entry.get('fix', '')}".strip(),
        "charter/rule": rule_id,
        "charter/bundle": assembly_digest(assembly, parameters),
    }
    template = {
        "apiVersion": "templates.gatekeeper.sh/v1",
        "kind": "ConstraintTemplate",
        "metadata": {"name": name, "labels": labels, "annotations": notes},
        "spec": {
            "crd": {
                "spec": {
                    "names": {"kind": kind},
                    "validation": {"openAPIV3Schema": _schema(parameters)},
                }
            },
            "targets": [
                {
                    "target": "admission.k8s.gatekeeper.sh",
                    "code": [
                        {
                            "engine": "Rego",
                            "source": {"version": "v1", "rego": rego, "libs": [library()]},
                        }
                    ],
                }
            ],
        },
    }
    constraint = {
        "apiVersion": "constraints.gatekeeper.sh/v1beta1",
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "enforcementAction": action,
            "match": {"kinds": [{"apiGroups": g, "kinds": k} for g, k in _KINDS]},
            "parameters": parameters,
        },
    }
    return ExportedRule(rule_id, name, template, constraint)


def assembly_digest(assembly: Assembly, parameters: dict[str, Any]) -> str:
    """A digest over the rules and numbers that an export was made from."""
    from charter.core.kernel.canonical import digest  # noqa: PLC0415 — only for this note

    return digest([[module.file, module.text] for module in assembly.modules] + [parameters])


def _schema(value: Any) -> dict[str, Any]:
    """A structural schema for a value; every level has its type, as the API demands."""
    if isinstance(value, dict):
        if not value:
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        return {"type": "object", "properties": {k: _schema(v) for k, v in value.items()}}
    if isinstance(value, list):
        return {"type": "array", "items": _schema(value[0]) if value else {"type": "string"}}
    if isinstance(value, bool):
        return {"type": "boolean"}
    return {"type": "integer"} if isinstance(value, int) else {"type": "string"}
