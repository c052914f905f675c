"""Kubernetes admission: an API server asks about an object, and is answered in its own words.

Each review becomes a decision document, is decided and recorded like every decision
(`external_decisions`), and is answered after the commit. When nothing can be decided (no database,
no policy, an engine that failed), the review's *class* counts: a closed class gets a denial that
says so, an open one a yes with a warning and an alert. An agent's object never passes undecided,
whatever its class says, and a review that cannot be read is always a no.

Authentication needs the database too. While that is down, an undecided answer is given to whoever
asks: it changes nothing here, and tells nothing but the class's failure mode.

Source: Spec PC-8, PC-12; design, rule 5.
"""

from __future__ import annotations

from typing import Any, Final

from prometheus_client import Counter

from charter.core.kernel.errors import (
    CharterError,
    InvalidInputError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.core.kubernetes import response
from charter.core.kubernetes.document import decision_document
from charter.core.kubernetes.review import MalformedReviewError, Review, read_review
from charter.core.kubernetes.settings import AdmissionClass, KubernetesSettings
from charter.core.policy.data import PolicyData
from charter.core.policy.decide import UNAVAILABLE_RULE
from charter.log import Log
from charter.services import external_decisions
from charter.services.decisions import Answer
from charter.services.enforcement_points import EnforcementPoint, SeenPoints
from charter.services.networks import NetworkRefusedError
from charter.services.runtime import Runtime

_log = Log("charter.kubernetes")
_BAD_REQUEST: Final = 400

UNDECIDED: Final = Counter(
    "charter_admission_undecided",
    "Admission reviews that this process answered without a decision.",
    ["admission_class", "answer"],
    registry=None,
)
"""Counted in this process and not in the database, which may be the very part that is down."""


class AdmissionDesk:
    """Answers admission reviews on one runtime; safe to share between threads."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self._points = SeenPoints(rt, "kubernetes")
        self._last: KubernetesSettings | None = None

    def admit(
        self, token: str | None, class_name: str, body: bytes, ip: str | None = None
    ) -> dict[str, Any]:
        """The AdmissionReview that answers the one in `body`, which came from `ip`.

        Raises `UnauthenticatedError` for a wrong token, `NotFoundError` for an unknown class, and
        `MalformedReviewError` for a body whose uid cannot be read; with a uid the answer is a
        denial, because that is what the API server can show.
        """
        point, down = self._authenticated(token, ip)
        try:
            review = read_review(body)
        except MalformedReviewError as error:
            if error.uid is None:
                raise
            return _refused(error.uid, error)
        if point is None:
            return self._undecided(class_name, review, down)
        try:
            return self._decided(point, class_name, review)
        except (NotFoundError, UnauthenticatedError, NetworkRefusedError):
            raise
        except InvalidInputError as error:
            return _refused(review.uid, error)
        except CharterError as error:
            return self._undecided(class_name, review, error.message)
        except Exception as error:  # noqa: BLE001 — whatever broke, the class says what follows
            _log.exception("admission_failed", admission_class=class_name)
            return self._undecided(class_name, review, f"{type(error).__name__} in the server.")

    def _authenticated(
        self, token: str | None, ip: str | None
    ) -> tuple[EnforcementPoint | None, str]:
        """The point, or None and why it could not be looked for."""
        try:
            return self._points.authenticate(token or "", ip), ""
        except UnavailableError as error:
            return None, error.message

    def _decided(self, point: EnforcementPoint, class_name: str, review: Review) -> dict[str, Any]:
        def document(data: PolicyData) -> dict[str, Any]:
            settings = _settings(data)
            self._last = settings
            if class_name not in settings.classes:
                raise _unknown_class(class_name, settings)
            return {
                **(made := decision_document(review, settings)),
                "context": {**made["context"], "admission_class": class_name},
            }

        answer = external_decisions.decide(self._rt, point, document)
        if failure := _engine_failure(answer):
            return self._undecided(class_name, review, failure)
        return response.of_decision(
            review.uid,
            answer.decision,
            decision_id=str(answer.id),
            bundle_digest=str(answer.bundle_digest),
            dry_run=review.dry_run,
        )

    def _undecided(self, class_name: str, review: Review, why: str) -> dict[str, Any]:
        """The answer of a class that cannot be decided for, and the alert that goes with it."""
        closed = self._closed(class_name, review)
        answer = "denied" if closed else "allowed"
        UNDECIDED.labels(class_name if self._class(class_name) else "unknown", answer).inc()
        _log.error("admission_undecided", admission_class=class_name, answer=answer, why=why)
        return response.undecided(review.uid, closed=closed, why=why)

    def _class(self, name: str) -> AdmissionClass | None:
        return None if self._last is None else self._last.classes.get(name)

    def _closed(self, class_name: str, review: Review) -> bool:
        """Closed unless the last known policy says that this class is open, and never for agents.

        Who sends the review and what it holds was checked for its form only; that suffices to see
        the signs of an agent, and any of them closes.
        """
        known = self._class(class_name)
        if known is None or known.closed or self._last is None:
            return True
        document = decision_document(review, self._last)
        return bool(document["resource"]["spec"]["agent"] or document["subject"]["kind"] == "agent")


def _settings(data: PolicyData) -> KubernetesSettings:
    if data.kubernetes is None:
        raise UnavailableError(
            "The policy in force has no data/kubernetes.json, so it says nothing about clusters.",
            fix="Add the document; charter policy init writes one.",
            code="kubernetes-not-in-policy",
        )
    return data.kubernetes


def _unknown_class(name: str, settings: KubernetesSettings) -> NotFoundError:
    return NotFoundError(
        f"The policy has no admission class {name!r}.",
        fix=f"Known are {', '.join(sorted(settings.classes))}; they stand in data/kubernetes.json.",
        code="admission-class-unknown",
    )


def _engine_failure(answer: Answer) -> str | None:
    """Why the engine gave no opinion, if that is what the decision says."""
    for violation in answer.decision.violations:
        if violation.rule == UNAVAILABLE_RULE:
            return violation.message
    return None


def _refused(uid: str, error: InvalidInputError) -> dict[str, Any]:
    return response.answer(
        uid,
        allowed=False,
        message=f"{error.message} {error.fix}",
        reason="BadRequest",
        code=_BAD_REQUEST,
    )
