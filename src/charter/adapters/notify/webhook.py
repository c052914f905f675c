"""One POST to a webhook: name resolved once, connection to that very address, no redirects.

Promised: nothing is sent to an address that `core.notifications.targets` refuses, whatever the name
stands for a moment later; the whole exchange ends within its time; no more than the first kilobytes
of an answer are read; proxies of the environment are not used. Not promised: that the receiver did
anything.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from charter.core.access.addresses import Network
from charter.core.notifications.delivery import Attempt, Outcome
from charter.core.notifications.targets import Target, why_not

_TIMEOUT_SECONDS: Final = 10.0
_MOST_READ: Final = 4096
_CODE: Final = re.compile(r"[a-z]+(?:_[a-z]+){1,6}")
_LONGEST_WAIT: Final = 3600
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Reach:
    """Where webhooks may go, as the operator set it."""

    networks: tuple[Network, ...] = ()
    loopback: bool = False
    ca_file: Path | None = None
    timeout_seconds: float = _TIMEOUT_SECONDS


def resolve(target: Target) -> tuple[str, ...]:
    """Every address that the target's host stands for now."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def post(target: Target, reach: Reach, headers: Mapping[str, str], body: bytes) -> Attempt:
    """Send `body`; a status of 200 to 299 counts as taken."""
    ends = time.monotonic() + reach.timeout_seconds
    try:
        addresses = resolve(target)
    except OSError as error:
        return Attempt(Outcome.UNREACHABLE, f"{target.host} cannot be resolved: {error.strerror}.")
    refusal = why_not(addresses, reach.networks, loopback=reach.loopback)
    if refusal is not None:
        return Attempt(Outcome.REFUSED, refusal)
    connection = _Pinned(target, addresses, reach, ends)
    # Each read has a time of its own, which a receiver that drips its answer would never use up.
    watch = threading.Timer(reach.timeout_seconds, connection.abort)
    watch.daemon = True
    watch.start()
    try:
        connection.request("POST", target.path, body, {"Host": target.authority, **headers})
        response = connection.getresponse()
        said = _code(response.read(_MOST_READ))
    except (OSError, http.client.HTTPException) as error:
        late = time.monotonic() >= ends
        return Attempt(Outcome.UNREACHABLE, _why(target, TimeoutError() if late else error))
    finally:
        watch.cancel()
        connection.close()
    return _judge(response, said)


class _Pinned(http.client.HTTPConnection):
    """A connection to one of the addresses that were looked at, and to no other."""

    def __init__(self, target: Target, addresses: Sequence[str], reach: Reach, ends: float) -> None:
        super().__init__(target.host, target.port)
        self._target, self._addresses, self._reach, self._ends = target, addresses, reach, ends

    def connect(self) -> None:
        """The first address that answers, with TLS where the target says https."""
        failed: OSError | None = None
        for address in self._addresses:
            try:
                plain = socket.create_connection((address, self.port), timeout=self._left())
            except OSError as error:
                failed = error
                continue
            self.sock = self._encrypted(plain)
            return
        raise failed or OSError("no address")

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        if self._target.scheme != "https":
            return plain
        try:
            context = ssl.create_default_context(cafile=self._reach.ca_file)
            return context.wrap_socket(plain, server_hostname=self._target.host)
        except BaseException:
            plain.close()
            raise

    def abort(self) -> None:
        """End whatever is being waited for."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def _left(self) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _code(body: bytes) -> str:
    """A chat's word for what is wrong (`channel_not_found`), and nothing else of an answer.

    Whoever adds a channel would otherwise read answers of hosts that only this server reaches.
    """
    text = body.decode("ascii", "replace").strip()
    return f": {text}" if _CODE.fullmatch(text) else ""


def _judge(response: http.client.HTTPResponse, said: str) -> Attempt:
    status = response.status
    match status // 100:
        case 2:
            return Attempt(Outcome.DELIVERED)
        case 3:
            return Attempt(
                Outcome.REFUSED,
                f"The receiver answered {status}: redirects are not followed. Add the channel "
                "again with the final address.",
            )
        case 4 if status not in {408, 425, 429}:
            gone = "is gone" if status == _GONE else f"answered {status}"
            return Attempt(Outcome.REFUSED, f"The receiver {gone}{said}.")
        case _:
            after = response.headers.get("retry-after", "")
            wait = min(int(after), _LONGEST_WAIT) if after.isascii() and after.isdigit() else 0
            return Attempt(Outcome.RETRY, f"The receiver answered {status}{said}.", wait)


def _why(target: Target, error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"The certificate of {target.host} cannot be trusted: {error.verify_message}."
        case TimeoutError():
            return f"{target.host} did not answer in time."
        case OSError():
            return f"{target.host} cannot be reached: {error.strerror or error}."
        case _:
            return f"{target.host} does not speak HTTP: {type(error).__name__}."
