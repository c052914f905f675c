"""A real OPA as the policy engine, asked over its REST API.

Each engine loads its bundle below a path of its own (`data.charter_bundles.b…`), named by the
bundle's digest and by chance: several bundles, and several replicas with one OPA, never touch each
other's rules. What decides is loaded last and removed first: the generated list of speaking rules,
without which the aggregator gives no answer. So a policy that is there in part (an OPA that was
restarted half way) is undefined, and undefined is a deny.

An OPA that has lost the policy is given it again, once for each question; whatever else goes wrong
is a `PolicyFailure`, and `decide` turns a failure into a deny. OPA's own error texts quote values
of the input, so nothing of them is passed on.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import quote

from charter.adapters.opa.client import NOT_FOUND, OpaClient, OpaError
from charter.adapters.opa.prefix import moved
from charter.adapters.opa.said import TYPES_FILE, TYPES_MODULE
from charter.adapters.rego.assemble import Assembly, assemble, sources_module
from charter.adapters.rego.syntax import Module, PolicyRefusedError
from charter.core.policy.bundle import Bundle, PolicyData
from charter.core.policy.result import PolicyFailure

NAME: Final = "opa"
_ROOT: Final = "charter_bundles"
_STRICT: Final = "strict-builtin-errors=true"
_UNREACHABLE: Final = PolicyFailure(
    "policy-engine-unreachable", "The configured OPA does not answer or refuses Charter's token."
)


class LoadedPolicy:
    """A bundle loaded into an OPA below a path of its own; `remove` takes it out again."""

    def __init__(self, client: OpaClient, assembly: Assembly, *, digest: str) -> None:
        old = [m.file for m in (*assembly.modules, *assembly.tests) if m.old_syntax]
        if old:
            raise PolicyRefusedError(
                [
                    f"{file} is written in the syntax of Rego before version 1, which an OPA takes "
                    "by its API only when it runs with it altogether. Convert it first: charter "
                    "policy convert."
                    for file in old
                ]
            )
        name = f"b{digest.removeprefix('sha256:')[:16]}_{secrets.token_hex(6)}"
        self.path = f"{_ROOT}/{name}"
        self._prefix = f"{_ROOT}.{name}"
        self._client = client
        self._ids: list[str] = []
        try:
            self._load(assembly)
        except BaseException:
            self.remove()
            raise

    def _load(self, assembly: Assembly) -> None:
        for name, document in json.loads(assembly.data_json).items():
            body = json.dumps(document).encode()
            self._client.send("PUT", f"/v1/data/{self.path}/{name}", body, "application/json")
        self._put_one(TYPES_FILE, TYPES_MODULE)
        self._put([*assembly.modules, *assembly.tests])
        self._check()
        file, text = sources_module(assembly)
        self._put_one(file, text)

    def _put(self, modules: list[Module]) -> None:
        """All modules. One whose functions are not there yet is refused, and tried again later."""
        waiting = modules
        while waiting:
            refused: list[tuple[Module, OpaError]] = []
            for module in waiting:
                try:
                    self._put_one(module.file, module.text)
                except OpaError as error:
                    if not 400 <= error.status < 500:  # noqa: PLR2004 — "your request is wrong"
                        raise
                    refused.append((module, error))
            if len(refused) == len(waiting):
                raise PolicyRefusedError(
                    [f"OPA refuses {m.file}: {self._plain(e.message)}." for m, e in refused]
                )
            waiting = [module for module, _ in refused]

    def _put_one(self, file: str, text: str) -> None:
        name = f"{self.path}/{file}"
        self._client.send(
            "PUT", f"/v1/policies/{quote(name)}", moved(text, self._prefix).encode(), "text/plain"
        )
        self._ids.append(name)

    def _check(self) -> None:
        """That everything is there: an OPA that was restarted meanwhile has lost the beginning."""
        answer = self._client.json("GET", "/v1/policies")
        there = {entry["id"] for entry in answer["result"]}
        if not set(self._ids) <= there:
            raise OpaError(0, "OPA lost a part of the policy while it was loaded")

    def _plain(self, text: str) -> str:
        return text.replace(f"{self.path}/", "").replace(f"{self._prefix}.", "").rstrip(".")

    def query(self, path: tuple[str, ...], body: bytes | None) -> tuple[bool, Any]:
        """Whether `data.<path>` of this policy is defined for the body, and its value."""
        where = "/".join(quote(part, safe="") for part in path)
        answer = self._client.json("POST", f"/v1/data/{self.path}/{where}?{_STRICT}", body)
        if not isinstance(answer, dict):
            raise OpaError(200, "OPA's answer is not an object")
        return "result" in answer, answer.get("result")

    def remove(self) -> None:
        """Take the policy out, the deciding part first; what is left stays undefined."""
        try:
            for name in reversed(self._ids):
                self._drop(f"/v1/policies/{quote(name)}")
            self._drop(f"/v1/data/{self.path}")
        except OpaError:
            return  # it is gone, or it cannot be reached: it decides nothing either way
        self._ids.clear()

    def _drop(self, path: str) -> None:
        try:
            self._client.send("DELETE", path)
        except OpaError as error:
            if error.status != NOT_FOUND:
                raise


class OpaEngine:
    """A bundle decided by an external OPA, with the interface of `EngineThread`.

    Raises `PolicyRefusedError` for a bundle that cannot decide, and `OpaError` when no OPA answers.
    """

    name = NAME

    def __init__(self, bundle: Bundle, client: OpaClient) -> None:
        self.bundle = bundle
        self.digest = bundle.digest
        self._client = client
        self._assembly = assemble(bundle)
        self.data: PolicyData = self._assembly.data
        self.notices = self._assembly.notices
        self.version = client.version()
        self._lock = threading.Lock()
        self._loaded: LoadedPolicy | None = self._load()

    def _load(self) -> LoadedPolicy:
        return LoadedPolicy(self._client, self._assembly, digest=self.digest)

    def evaluate(
        self,
        document_json: str,
        document: Mapping[str, Any] | None = None,  # noqa: ARG002 — the built-in engine's shortcut
    ) -> str | PolicyFailure:
        """The aggregator's answer on a decision document, as JSON text."""
        loaded = self._loaded
        if loaded is None:
            return PolicyFailure("policy-engine-closed", "The policy engine has been closed.")
        body = b'{"input":' + document_json.encode() + b"}"
        try:
            defined, answer = loaded.query(("charter", "decision"), body)
            if not defined:
                defined, answer = self._again(loaded).query(("charter", "decision"), body)
        except OpaError as error:
            return _failure(error)
        except PolicyRefusedError:
            return PolicyFailure("policy-engine-error", "OPA refuses the policy that it had.")
        if not defined:
            return PolicyFailure("policy-undefined", "The policy gives no data.charter.decision.")
        return json.dumps(answer)

    def query(self, path: tuple[str, ...], document_json: str) -> tuple[bool, Any] | PolicyFailure:
        """Whether `data.<path>` is defined for the document, and its value."""
        loaded = self._loaded
        if loaded is None:
            return PolicyFailure("policy-engine-closed", "The policy engine has been closed.")
        try:
            return loaded.query(path, b'{"input":' + document_json.encode() + b"}")
        except OpaError as error:
            return _failure(error)

    def _again(self, lost: LoadedPolicy) -> LoadedPolicy:
        """The policy, loaded again unless another thread has done it meanwhile."""
        with self._lock:
            if self._loaded is lost:
                lost.remove()
                self._loaded = self._load()
            if self._loaded is None:
                raise OpaError(0, "the engine has been closed")
            return self._loaded

    def close(self) -> None:
        """Take the policy out of OPA."""
        with self._lock:
            if self._loaded is not None:
                self._loaded.remove()
                self._loaded = None
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _failure(error: OpaError) -> PolicyFailure:
    if error.status == 0 or error.status in {401, 403}:
        return _UNREACHABLE
    return PolicyFailure("policy-engine-error", "While evaluating, OPA reported an error.")
