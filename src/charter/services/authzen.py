"""OpenID AuthZEN 1.0: the same decisions in the words of its Access Evaluation API.

A subject has a `type`, a resource too; properties lie beside the names. They become the parts of
the decision document, and the answer becomes `decision: true|false` with the reasons, obligations
and the decision's id in `context`. An approval that is still missing is a no whose context says
what is missing.

An enforcement point asks about anybody. A person or agent may also ask with their own token, about
themselves: that is a preview and is not stored, like every preview.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from charter.core.kernel.decision import Effect
from charter.core.kernel.errors import CharterError, ForbiddenError, InvalidInputError
from charter.services.decisions import Answer
from charter.services.enforcement_points import EnforcementPoint
from charter.services.external_decisions import decide
from charter.services.runtime import Caller, Runtime

SEMANTICS: Final = ("execute_all", "deny_on_first_deny", "permit_on_first_permit")
MAX_EVALUATIONS: Final = 100
_PARTS: Final = ("subject", "action", "resource", "context")
_PEOPLE: Final = frozenset({"user", "person", "human", "identity"})
_AGENTS: Final = frozenset({"agent", "ai-agent", "ai_agent"})


def _refuse(what: str) -> InvalidInputError:
    return InvalidInputError(
        f"The evaluation request is not valid: {what}.",
        fix="Send subject {type, id}, action {name} and resource {type, id} as AuthZEN 1.0 says.",
        code="authzen-request",
    )


def configuration(rt: Runtime) -> dict[str, str]:
    """The metadata document (AuthZEN 1.0 §9): only what is there is named."""
    base = rt.settings.url
    return {
        "policy_decision_point": base,
        "access_evaluation_endpoint": f"{base}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{base}/access/v1/evaluations",
    }


def evaluation(rt: Runtime, who: EnforcementPoint | Caller, request: object) -> dict[str, Any]:
    """The answer to one evaluation request."""
    return _evaluated(rt, who, _object(request, "the body"))


def evaluations(rt: Runtime, who: EnforcementPoint | Caller, request: object) -> dict[str, Any]:
    """The answers to a list; without a list, the answer to the one request that the body is."""
    body = _object(request, "the body")
    listed = body.get("evaluations")
    if listed is None or listed == []:
        return _evaluated(rt, who, body)
    if not isinstance(listed, list):
        raise _refuse("evaluations is not a list")
    if len(listed) > MAX_EVALUATIONS:
        raise _refuse(f"it asks for more than {MAX_EVALUATIONS} evaluations at once")
    options = _optional(body, "options", "options")
    semantic = options.get("evaluations_semantic", SEMANTICS[0])
    if semantic not in SEMANTICS:
        raise _refuse(f"options.evaluations_semantic is none of {', '.join(SEMANTICS)}")
    defaults: dict[str, Any] = {part: body[part] for part in _PARTS if part in body}
    answers: list[dict[str, Any]] = []
    for item in listed:
        answer = _one_of_many(rt, who, defaults, item)
        answers.append(answer)
        if semantic == "deny_on_first_deny" and not answer["decision"]:
            break
        if semantic == "permit_on_first_permit" and answer["decision"]:
            break
    return {"evaluations": answers}


def _one_of_many(
    rt: Runtime, who: EnforcementPoint | Caller, defaults: Mapping[str, Any], item: object
) -> dict[str, Any]:
    """An item that cannot be evaluated is a no of its own; the others are still answered."""
    try:
        return _evaluated(rt, who, {**defaults, **_object(item, "an item of evaluations")})
    except (InvalidInputError, ForbiddenError) as error:
        return {"decision": False, "context": {"error": _error(error)}}


def _error(error: CharterError) -> dict[str, Any]:
    status = 400 if isinstance(error, InvalidInputError) else error.status
    return {"status": status, "message": error.message, "code": error.code}


def _evaluated(
    rt: Runtime, who: EnforcementPoint | Caller, request: Mapping[str, Any]
) -> dict[str, Any]:
    document = as_document(request)
    if isinstance(who, EnforcementPoint):
        return spelled(decide(rt, who, document))
    names = {who.id, getattr(who.subject, "handle", who.id)}
    if document["subject"]["id"] not in names:
        raise ForbiddenError(
            "With your own token you may ask about yourself only.",
            fix="Name yourself as the subject, or ask with the token of an enforcement point.",
            code="authzen-subject",
        )
    own = EnforcementPoint(who.credential_id, "authzen", "own token", {})
    # The id of the credential's own subject, so that a name can never mean somebody else.
    document["subject"] = {"id": who.id, "kind": "agent" if who.is_agent else "human"}
    if who.ip is not None:
        document["subject"]["ip"] = who.ip
    return spelled(decide(rt, own, document, record=False))


def as_document(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request as a decision document; raises `InvalidInputError` for what AuthZEN forbids."""
    subject = _object(request.get("subject"), "subject")
    action = _object(request.get("action"), "action")
    resource = _object(request.get("resource"), "resource")
    context = _optional(request, "context", "context")
    for part, value, keys in (
        ("subject", subject, ("type", "id")),
        ("action", action, ("name",)),
        ("resource", resource, ("type", "id")),
    ):
        for key in keys:
            if not isinstance(value.get(key), str) or not value[key]:
                raise _refuse(f"{part}.{key} is missing or not a text")
    kind = subject["type"]
    # The wider view of the request that some rules read; AuthZEN has no place of its own for it.
    seen = {"request": context.pop("request")} if "request" in context else {}
    return {
        "subject": {
            **_optional(subject, "properties", "subject.properties"),
            "id": subject["id"],
            "kind": "human" if kind in _PEOPLE else "agent" if kind in _AGENTS else kind,
        },
        "action": {
            **_optional(action, "properties", "action.properties"),
            "name": action["name"],
        },
        "resource": {
            **_optional(resource, "properties", "resource.properties"),
            "id": resource["id"],
            "kind": resource["type"],
        },
        "context": context,
        **seen,
    }


def _optional(value: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    found = value.get(key)
    return {} if found is None else dict(_object(found, where))


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(f"{where} is missing or not an object")
    return value


def spelled(answer: Answer) -> dict[str, Any]:
    """The decision in AuthZEN's words."""
    decision = answer.decision
    context: dict[str, Any] = {
        "id": answer.id,
        "effect": decision.effect.value,
        "reason": decision.explain(),
        "reasons": [
            {
                "rule": v.rule,
                "effect": v.effect.value,
                "message": v.message,
                "fix": v.fix,
                "severity": v.severity,
            }
            for v in decision.violations
        ],
        "obligations": [obligation.as_json() for obligation in decision.obligations],
    }
    if decision.effect is Effect.REQUIRE_APPROVAL:
        context["approval"] = {
            "required": True,
            "approvers": sorted({role for v in decision.decisive for role in v.approvers}),
            "rules": [v.rule for v in decision.decisive],
        }
    return {"decision": decision.allowed, "context": context}
