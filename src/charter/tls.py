"""The encrypted listener beside the plain one: a Kubernetes API server calls webhooks by TLS only.

It runs in a thread of its own, so that the plain listener, which the supervisor watches, keeps the
main thread and its signals.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from charter.core.kernel.errors import InvalidInputError, UnavailableError
from charter.settings import Settings

_START_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02


class EncryptedListener:
    """An application that is served over TLS until `stop`."""

    def __init__(self, app: FastAPI, settings: Settings, options: dict[str, Any]) -> None:
        certificate, key = _files(settings)
        config = uvicorn.Config(
            app,
            lifespan="off",  # the plain listener carries it
            ssl_certfile=certificate,
            ssl_keyfile=key,
            **options,
        )
        config.load()
        if isinstance(config.ssl, ssl.SSLContext):
            config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        self._socket = socket.create_server((settings.tls_host, settings.tls_port), backlog=512)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="charter-tls", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise UnavailableError(
                    "The encrypted listener did not start.",
                    fix="Look at the log, and at CHARTER_TLS_HOST and CHARTER_TLS_PORT.",
                    code="tls-not-started",
                )
            time.sleep(_POLL_SECONDS)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._socket.getsockname()[1]
        return port

    def stop(self) -> None:
        """Finish what is being answered, and end."""
        self._server.should_exit = True
        self._thread.join(_START_SECONDS)
        self._socket.close()


def _files(settings: Settings) -> tuple[str, str]:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        raise InvalidInputError(
            "Of CHARTER_TLS_CERTIFICATE and CHARTER_TLS_KEY only one is set.",
            fix="Set both, or neither.",
            code="tls-incomplete",
        )
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    except OSError as error:  # an SSLError is one
        raise InvalidInputError(
            f"{certificate} and {key} cannot be used for TLS: {error.strerror or error}.",
            fix="Write them anew: charter kubernetes certificate.",
            code="tls-unusable",
        ) from error
    return str(certificate), str(key)
