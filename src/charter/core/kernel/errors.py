"""Refusals and failures, each a sentence with a code, a status and the next step.

A refusal is part of the product: a person or an agent reads it and has to know what to do now. So
every error that may reach a caller is a `CharterError` with four parts: a stable `code` (what a
program switches on), a `message` (one sentence, for people), a `fix` (the next step) and the
HTTP `status` that fits. Faces turn it into problem+json, a CLI message or a portal notice; none of
them invents texts of its own.
"""

from __future__ import annotations

from typing import ClassVar

from charter.core.kernel.masking import masked


class CharterError(Exception):
    """Base of everything Charter says no with.

    `details` holds facts for programs (violations, limits); it must never hold a secret. Message
    and fix may say back what somebody sent, so what looks like a secret is taken out of them.
    """

    status: ClassVar[int] = 500
    code: str = "internal-error"

    def __init__(
        self,
        message: str,
        *,
        fix: str,
        code: str | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        self.message = masked(message)
        self.fix = masked(fix)
        super().__init__(self.message)
        self.details: dict[str, object] = details or {}
        if code is not None:
            self.code = code

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer: the scheme that a 401 names, when a 429 may try again."""
        found = {"WWW-Authenticate": 'Bearer realm="charter"'} if self.status == 401 else {}  # noqa: PLR2004
        seconds = self.details.get("retry_after_seconds")
        return found if seconds is None else {**found, "Retry-After": str(seconds)}


class InvalidInputError(CharterError):
    """What was sent cannot be understood or breaks a declared limit."""

    status = 422
    code = "invalid-input"


class UnauthenticatedError(CharterError):
    """No valid credential was shown."""

    status = 401
    code = "unauthenticated"


class ForbiddenError(CharterError):
    """The subject may not do this: an invariant or a policy says so."""

    status = 403
    code = "forbidden"


class NotFoundError(CharterError):
    """There is no such thing, or the subject may not know that there is."""

    status = 404
    code = "not-found"


class ConflictError(CharterError):
    """The thing is in a state in which this cannot be done."""

    status = 409
    code = "conflict"


class TooManyError(CharterError):
    """A rate or a quota is used up."""

    status = 429
    code = "too-many"


class UnavailableError(CharterError):
    """A part that is needed is missing or down; nothing was weakened to go on without it."""

    status = 503
    code = "unavailable"
