"""The part of the policy data that Kubernetes admission reads in Python (data/kubernetes.json).

Numbers that only rules read (registries, sizes, runtime classes) are checked here for their form
and stay in the document. What Python itself needs is typed: the classes of webhooks with what
happens when no decision can be made, how a cluster's users are recognised, and which labels carry
the facts.

Source: Spec PC-8: fail-closed or fail-open by class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from charter.core.policy.reading import Reader

FACT_LABELS: Final = ("owner", "team", "project", "data_class", "agent", "egress")
OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE", "CONNECT")
SCOPES: Final = ("Namespaced", "Cluster", "*")
_CLASS: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
_LONGEST_SECONDS: Final = 30  # the API refuses more


@dataclass(frozen=True, slots=True)
class MatchRule:
    """What the API server is to send: a row of `rules` in a webhook configuration."""

    groups: tuple[str, ...]
    versions: tuple[str, ...]
    resources: tuple[str, ...]
    operations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AdmissionClass:
    """Objects that fail together: `closed` denies when nothing can be decided, `open` allows.

    `namespaces` are values of the namespace label `class_label`; empty means every namespace that
    belongs to no other class.
    """

    name: str
    failure: str
    timeout_seconds: int
    namespaces: tuple[str, ...]
    rules: tuple[MatchRule, ...]

    @property
    def closed(self) -> bool:
        """Whether nothing passes without a decision."""
        return self.failure == "closed"


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """What is known of a namespace's objects that do not say it themselves."""

    team: str | None
    project: str | None
    data_class: str | None


@dataclass(frozen=True, slots=True)
class AgentSigns:
    """By what an object is recognised as an agent's; any of them suffices."""

    groups: tuple[str, ...]
    service_accounts: tuple[str, ...]
    namespaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """Everything of data/kubernetes.json that Python reads."""

    person_prefix: str
    agent_prefix: str
    labels: Mapping[str, tuple[str, ...]]
    agents: AgentSigns
    namespaces: Mapping[str, NamespaceFacts]
    class_label: str
    excluded_namespaces: tuple[str, ...]
    classes: Mapping[str, AdmissionClass]


def read_settings(part: Reader) -> KubernetesSettings:
    """The settings in the document that `part` stands on; problems go to the reader."""
    identities, signs = part.child("identities"), part.child("agents")
    settings = KubernetesSettings(
        person_prefix=identities.text("person_prefix"),
        agent_prefix=identities.text("agent_prefix"),
        labels={name: part.child("labels").texts(name, least=1) for name in FACT_LABELS},
        agents=AgentSigns(
            groups=signs.texts("groups"),
            service_accounts=signs.texts("service_accounts"),
            namespaces=signs.texts("namespaces"),
        ),
        namespaces={name: _namespace(one) for name, one in part.child("namespaces").children()},
        class_label=part.text("class_label"),
        excluded_namespaces=part.texts("excluded_namespaces"),
        classes={name: _class(name, one) for name, one in part.child("classes").children()},
    )
    _limits(part)
    if settings.person_prefix == settings.agent_prefix:
        identities.complain("agent_prefix", "must differ from person_prefix")
    for name, one in settings.classes.items():
        if name == "agents" and not one.closed:
            part.child("classes").child(name).complain(
                "failure", "must be closed: nothing of an agent's passes without a decision"
            )
        if _CLASS.fullmatch(name) is None:
            part.child("classes").complain(name, "is not a lower-case word")
    return settings


def _namespace(part: Reader) -> NamespaceFacts:
    return NamespaceFacts(
        team=part.text("team") if part.has("team") else None,
        project=part.text("project") if part.has("project") else None,
        data_class=part.text("data_class") if part.has("data_class") else None,
    )


def _class(name: str, part: Reader) -> AdmissionClass:
    return AdmissionClass(
        name=name,
        failure=part.text("failure", choices=("closed", "open")),
        timeout_seconds=part.whole("timeout_seconds", minimum=1, maximum=_LONGEST_SECONDS),
        namespaces=part.texts("namespaces"),
        rules=tuple(
            MatchRule(
                groups=one.texts("groups", least=1),
                versions=one.texts("versions", least=1),
                resources=one.texts("resources", least=1),
                operations=one.texts("operations", choices=OPERATIONS, least=1),
            )
            for one in part.items("rules")
        ),
    )


def _limits(part: Reader) -> None:
    """Read by the rules only; a misspelt or missing one is still noticed here."""
    part.texts("registries", least=1)
    part.texts("required_labels")
    part.texts("agent_runtime_classes", least=1)
    part.texts("host_path_prefixes")
    part.texts("allowed_capabilities")
    for name in ("human", "agent"):
        limits = part.child("limits").child(name)
        for key in ("cpu_milli", "memory_mib", "storage_mib"):
            limits.whole(key, minimum=1)
        limits.whole("gpu")
    part.child("limits").child("human").whole("cpu_milli_without_approval", minimum=1)
