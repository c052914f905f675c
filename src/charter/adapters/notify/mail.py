"""Mail over SMTP: encrypted or to this machine, checked, never downgraded.

Promised: a message is handed to the server completely or an `Attempt` says why not; certificates
are checked; a password is never sent in the clear. Not promised: that the server delivers it.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from charter.core.notifications.delivery import Attempt, Outcome
from charter.core.notifications.text import Letter, clean

_TIMEOUT_SECONDS: Final = 15.0
_PERMANENT: Final = 500
_LONGEST_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class Server:
    """The mail server, as the settings name it."""

    host: str
    port: int
    security: str
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """Everything of a mail but its contents. `thread_id` is the first mail about the same thing."""

    sender: str
    sender_name: str
    to: str
    message_id: str
    thread_id: str
    list_id: str
    settings_url: str
    at: datetime


def compose(envelope: Envelope, letter: Letter) -> EmailMessage:
    """The mail. Raises ValueError for addresses that no header can hold."""
    message = EmailMessage()
    reminder = envelope.thread_id != envelope.message_id
    message["From"] = Address(clean(envelope.sender_name), addr_spec=envelope.sender)
    message["To"] = Address(addr_spec=envelope.to)
    message["Subject"] = f"Re: {letter.subject}" if reminder else letter.subject
    message["Date"] = format_datetime(envelope.at)
    message["Message-ID"] = f"<{envelope.message_id}>"
    if reminder:
        message["In-Reply-To"] = message["References"] = f"<{envelope.thread_id}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["List-Id"] = f"<{envelope.list_id}>"
    message["List-Unsubscribe"] = f"<{envelope.settings_url}>"
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message


def send(server: Server, message: EmailMessage) -> Attempt:
    """Hand the mail to the server."""
    try:
        with _session(server) as smtp:
            smtp.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        return _refused(code, said)
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        return _refused(error.smtp_code, error.smtp_error)
    except smtplib.SMTPNotSupportedError as error:
        return Attempt(Outcome.RETRY, f"The mail server cannot take it: {error}.")
    except (smtplib.SMTPException, OSError) as error:
        return Attempt(Outcome.UNREACHABLE, why(server, error))
    return Attempt(Outcome.DELIVERED)


def probe(server: Server) -> str | None:
    """Connect, encrypt, sign in and hang up; what is wrong, None when nothing is."""
    try:
        with _session(server) as smtp:
            smtp.noop()
    except (smtplib.SMTPException, OSError) as error:
        return why(server, error)
    return None


def _refused(code: int, said: object) -> Attempt:
    outcome = Outcome.REFUSED if code >= _PERMANENT else Outcome.RETRY
    return Attempt(outcome, f"The mail server answered {code}: {_text(said)}")


def _text(said: object) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return clean(text)[:_LONGEST_REASON]


def why(server: Server, error: Exception) -> str:
    """A failure as a sentence for an operator; what a server says back never holds the password."""
    place = f"{server.host}:{server.port}"
    match error:
        case smtplib.SMTPAuthenticationError():
            text = f"{place} does not take the account {server.user} ({error.smtp_code})"
        case smtplib.SMTPNotSupportedError():
            text = f"{place} offers no {server.security} or no sign-in, and nothing is done without"
        case ssl.SSLCertVerificationError():
            text = f"The certificate of {place} cannot be trusted: {error.verify_message}"
        case FileNotFoundError() | PermissionError():
            text = f"A file that the settings name cannot be read: {error.strerror}"
        case TimeoutError():
            text = f"{place} did not answer within {_TIMEOUT_SECONDS:.0f} seconds"
        case smtplib.SMTPResponseException():
            text = f"{place} answered {error.smtp_code}: {_text(error.smtp_error)}"
        case _:
            text = f"{place} cannot be used: {_text(error)}"
    return f"{text.rstrip('.')}."


@contextmanager
def _session(server: Server) -> Iterator[smtplib.SMTP]:
    context = ssl.create_default_context(cafile=server.ca_file)
    connect = (
        smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_SECONDS, context=context)
        if server.security == "tls"
        else smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_SECONDS)
    )
    with connect as smtp:
        if server.security == "starttls":
            smtp.starttls(context=context)  # raises where it is not offered
        if server.user is not None:
            if server.security == "none":
                raise smtplib.SMTPNotSupportedError("no sign-in without encryption")
            password = "" if server.password_file is None else server.password_file.read_text()
            smtp.login(server.user, password.strip())
        yield smtp
