"""The answer to an admission review: what the API server, and through it a person, gets to see.

A denial says why and what to do; warnings appear on the requester's terminal; annotations go to
the cluster's audit log, where they lead back to the decision. Lengths are bounded because the API
server cuts or drops what is too long, and control characters would steer a terminal.

Source: Spec PC-8; Kubernetes, AdmissionResponse and the limits of warning headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from charter.core.kernel.decision import Decision, Effect, Violation
from charter.core.kubernetes.review import API_VERSION, KIND

LONGEST_WARNING: Final = 256
MOST_WARNINGS: Final = 12  # with their lengths, all of them fit into the 4 KiB of the headers
LONGEST_MESSAGE: Final = 4_096
LONGEST_ANNOTATION: Final = 4_096
_FORBIDDEN: Final = 403
# Control characters, line separators, and the marks that turn the direction of writing.
_CONTROL: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+"
)


def plain(text: str, longest: int) -> str:
    """`text` on one line, without control characters, cut to `longest` characters."""
    clean = _CONTROL.sub(" ", text).strip()
    return clean if len(clean) <= longest else clean[: longest - 1].rstrip() + "…"


def _sentence(violation: Violation) -> str:
    return f"[{violation.rule}] {violation.message} {violation.fix}".strip()


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def refusal(decision: Decision) -> str:
    """Why not, and what to do, in one text."""
    said = _unique(_sentence(v) for v in decision.decisive)
    text = " ".join(said[:MOST_WARNINGS])
    if len(said) > MOST_WARNINGS:
        text += f" And {len(said) - MOST_WARNINGS} more."
    if decision.effect is Effect.REQUIRE_APPROVAL:
        text = f"This needs an approval first ({_approvers(decision)}). {text}"
    return text


def _approvers(decision: Decision) -> str:
    roles = sorted({role for v in decision.decisive for role in v.approvers})
    return " or ".join(roles) or "ask a platform admin"


def answer(
    uid: str,
    *,
    allowed: bool,
    message: str = "",
    reason: str = "Forbidden",
    code: int = _FORBIDDEN,
    warnings: Iterable[str] = (),
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The AdmissionReview with a response."""
    response: dict[str, Any] = {"uid": uid, "allowed": allowed}
    if not allowed:
        response["status"] = {
            "code": code,
            "reason": reason,
            "message": plain(message, LONGEST_MESSAGE),
        }
    said = _unique(plain(w, LONGEST_WARNING) for w in warnings)
    if said:
        response["warnings"] = said[:MOST_WARNINGS]
    if annotations:
        response["auditAnnotations"] = {
            key: plain(value, LONGEST_ANNOTATION) for key, value in sorted(annotations.items())
        }
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def of_decision(
    uid: str, decision: Decision, *, decision_id: str, bundle_digest: str, dry_run: bool
) -> dict[str, Any]:
    """The answer that a decision is: deny and 'needs an approval' are both a no here.

    The API server cannot wait for people, so an approval is asked for in Charter, and the request
    is sent again once it is given.
    """
    annotations = {
        "decision-id": decision_id,
        "bundle-digest": bundle_digest,
        "effect": decision.effect.value,
    }
    if rules := _unique(v.rule for v in decision.violations):
        annotations["rules"] = ",".join(rules)
    if shadow := _unique(v.rule for v in decision.shadow):
        annotations["shadow-rules"] = ",".join(shadow)
    if dry_run:
        annotations["dry-run"] = "true"
    if decision.effect is Effect.REQUIRE_APPROVAL:
        annotations["approval"] = _approvers(decision)
    return answer(
        uid,
        allowed=decision.allowed,
        message="" if decision.allowed else f"{refusal(decision)} (decision {decision_id})",
        warnings=[_sentence(v) for v in decision.violations if v.effect is Effect.WARN],
        annotations=annotations,
    )


def undecided(uid: str, *, closed: bool, why: str) -> dict[str, Any]:
    """The answer when no decision could be made: a no, or, for an open class, a warned yes."""
    sentence = f"Charter could not decide about this: {why}"
    if closed:
        return answer(
            uid,
            allowed=False,
            message=f"{sentence} Nothing of this class passes without a decision; try again, or "
            "ask a platform admin.",
            reason="ServiceUnavailable",
            code=503,
            annotations={"undecided": "closed"},
        )
    return answer(
        uid,
        allowed=True,
        warnings=[f"{sentence} It was let through because its class fails open."],
        annotations={"undecided": "open"},
    )
