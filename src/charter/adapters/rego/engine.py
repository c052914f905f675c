"""The policy engine in this process: one bundle, compiled, asked with JSON.

`RegorusEngine` is bound to the thread that made it; the library aborts a call from any other
thread. `EngineThread` gives it a thread of its own, so that a service running in a pool of threads
can ask it from anywhere. A new bundle always gets a new engine: loading takes milliseconds, and
nothing of the old policy can remain.

What can go wrong and what happens then: the library's errors quote the input and its panics are not
ordinary exceptions. Both become a `PolicyFailure` that names the place in the policy and nothing of
the input, and `decide` turns a failure into a deny.

Known limits: the library has no time limit and holds Python's global lock while it evaluates, so
a timeout is noticed only after the evaluation has ended. The bundle in force is reviewed code;
every other bundle is evaluated in a process with limits (`worker`).
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import cached_property
from typing import Any, Final, Self, TypeVar

from charter.adapters.rego import library
from charter.adapters.rego.assemble import ENTRYPOINT, SOURCES_FILE, Assembly, assemble
from charter.adapters.rego.index import Key, RuleIndex, key_of, keys_of
from charter.adapters.rego.relevant import RelevantPaths
from charter.adapters.rego.rewrite import ready
from charter.adapters.rego.syntax import (
    NONDETERMINISTIC,
    Module,
    PolicyRefusedError,
    Rule,
    add,
    explain_error,
    guarded,
)
from charter.core.kernel.canonical import canonical_json
from charter.core.kernel.decision import Decision, Violation
from charter.core.kernel.errors import CharterError
from charter.core.policy.bundle import Bundle, PolicyData
from charter.core.policy.decide import GrantView, decide
from charter.core.policy.paths import InputPath
from charter.core.policy.result import PolicyFailure, PolicyOutcome, parse_outcome

_UNDEFINED: Final = '"<undefined>"'  # how the library spells a rule without a value
_TIMEOUT_SECONDS: Final = 5.0  # a thousand times the usual; longer means that something is broken
_MOST_PARTIAL: Final = 64  # policies for one key each; about a megabyte apiece
T = TypeVar("T")


def _refuse(name: str) -> Callable[..., object]:
    def refuse(*_: object) -> object:
        raise RuntimeError(f"{name} is not available to policies")

    return refuse


def build(assembly: Assembly, *, tests: bool = False, coverage: bool = False) -> library.Engine:
    """A library engine with this policy loaded; raises `PolicyRefusedError` naming the place."""
    modules = list(assembly.modules)  # as they stand where lines are counted
    if not coverage:
        modules = [ready(assembly.program, module) for module in modules]
    modules += assembly.tests if tests else ()
    return _loaded(assembly, modules, assembly.sources, coverage=coverage)


def _loaded(
    assembly: Assembly, modules: Iterable[Module], sources: str, *, coverage: bool = False
) -> library.Engine:
    engine = library.Engine()
    try:
        engine.set_gather_prints(True)  # else `print` in a policy writes facts to stderr
        engine.set_enable_coverage(coverage)
        for name, arguments in NONDETERMINISTIC.items():
            engine.add_extension(name, arguments, _refuse(name))
        for module in modules:
            add(engine, module)
        engine.set_rego_v0(False)
        engine.add_policy(SOURCES_FILE, sources)
        engine.add_data_json(assembly.data_json)
    except BaseException as error:  # noqa: BLE001  (panics derive from it)
        guarded(error)
        raise PolicyRefusedError([explain_error(error, show_reason=True) + "."]) from None
    return engine


def probe(engine: library.Engine) -> None:
    """Ask once with a harmless input: the library compiles, and so finds undefined names, then."""
    try:
        engine.set_input_json("{}")
        engine.eval_rule_as_json(ENTRYPOINT)
        engine.take_prints()
    except BaseException as error:  # noqa: BLE001
        guarded(error)
        raise PolicyRefusedError([explain_error(error, show_reason=True) + "."]) from None


class RegorusEngine:
    """One compiled bundle, for the thread that made it.

    Raises `PolicyRefusedError` when the bundle cannot decide. `notices` tells what works but should
    be changed.
    """

    name = library.NAME
    version = library.VERSION

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.digest = bundle.digest
        self._assembly = assemble(bundle)
        self.data: PolicyData = self._assembly.data
        self.notices = self._assembly.notices
        self._whole = build(self._assembly)
        probe(self._whole)
        self._asking: library.Engine | None = None
        self._left_out: dict[Key, frozenset[int]] = {}
        self._partial: OrderedDict[frozenset[int], library.Engine] = OrderedDict()
        self._of_key: dict[Key | None, library.Engine] = {}  # the same ones, at hand
        self.printed: tuple[str, ...] = ()

    @property
    def places(self) -> dict[str, tuple[str, int]]:
        """File and line of every rule that can speak, by its ids."""
        return {
            name: (rule.file, rule.line)
            for rule in reversed(self._assembly.speaking)
            for name in (rule.default_id, rule.id)
        }

    def evaluate(
        self, document_json: str, document: Mapping[str, Any] | None = None
    ) -> str | PolicyFailure:
        """The aggregator's answer on a decision document, as JSON text.

        `document` is what the text says, for callers that have it at hand. What the policy printed
        meanwhile stands in `printed` until the next evaluation.
        """
        self.printed = ()
        try:
            engine = self._engine_for(json.loads(document_json) if document is None else document)
            engine.set_input_json(document_json)
            answer: str = engine.eval_rule_as_json(ENTRYPOINT)
            self.printed = tuple(engine.take_prints())
        except BaseException as error:  # noqa: BLE001  (panics derive from it)
            guarded(error)
            place = explain_error(error, show_reason=False)
            self._start_over()
            return PolicyFailure("policy-engine-error", f"While evaluating, {place}.")
        if answer == _UNDEFINED:
            return PolicyFailure("policy-undefined", f"The policy gives no {ENTRYPOINT}.")
        return answer

    @cached_property
    def _index(self) -> RuleIndex:
        """Made with the first question: who only tests a bundle does not need it."""
        return RuleIndex(self._assembly)

    def _engine_for(self, document: object) -> library.Engine:
        """The engine with the rules that can speak for this document."""
        key = key_of(document) if isinstance(document, Mapping) else None
        known = self._of_key.get(key)
        if known is not None:
            return known
        if key is None or not self._index.foreseen(key):
            return self._whole
        left_out = self._left_out_for(key)
        if not left_out:
            return self._whole
        engine = self._partial.get(left_out)
        if engine is None:
            engine = _loaded(self._assembly, *self._index.remaining(left_out))
            self._partial[left_out] = engine
            if len(self._partial) > _MOST_PARTIAL:
                self._partial.popitem(last=False)
                self._of_key.clear()
        else:
            self._partial.move_to_end(left_out)
        self._of_key[key] = engine
        return engine

    def _left_out_for(self, key: Key) -> frozenset[int]:
        if key not in self._left_out:
            self._left_out[key] = self._ask_guards(key)
        return self._left_out[key]

    def _ask_guards(self, key: Key) -> frozenset[int]:
        if self._asking is None:
            self._asking = self._whole.clone()
            for file, text in self._index.guard_modules():
                self._asking.add_policy(file, text)
        return self._index.left_out(self._asking, key)

    def _start_over(self) -> None:
        """New engines: a panic may have left the old ones half done."""
        self._whole = build(self._assembly)
        self._asking = None
        self._partial.clear()
        self._of_key.clear()

    def relevant(self, action: str, subject_kind: str) -> frozenset[InputPath]:
        """The input paths that matter for such a request; `*` steps are open."""
        return self._relevant.of(action, subject_kind, self._speaking_for)

    @cached_property
    def _relevant(self) -> RelevantPaths:
        return RelevantPaths(self._assembly)

    def close(self) -> None:
        """End the library's engines here and now, on the thread that made them.

        Otherwise they end with the last reference to this object, and where that is part of a
        cycle, on whatever thread collects it: the library protests then and leaks them.
        """
        self._of_key.clear()
        self._partial.clear()
        self._asking = None
        del self._whole

    def speaking_about(self, action: str, subject_kind: str) -> tuple[Rule, ...]:
        """The rules that some request of this kind may hear; the rest can never speak to it."""
        found: dict[int, Rule] = {}
        for key in keys_of(action, subject_kind):
            found |= {id(rule): rule for rule in self._speaking_for(key)}
        return tuple(found.values())

    def _speaking_for(self, key: Key) -> tuple[Rule, ...]:
        """The rules that can speak for documents with this key."""
        if not self._index.foreseen(key):
            return self._assembly.speaking
        return self._index.speaking(self._left_out_for(key))

    def query(self, path: tuple[str, ...], document_json: str) -> tuple[bool, Any] | PolicyFailure:
        """Whether `data.<path>` is defined for the document, and its value."""
        reference = "data" + "".join(f"[{json.dumps(part)}]" for part in path)
        try:
            self._whole.set_input_json(document_json)
            answer = json.loads(self._whole.eval_query_as_json(reference))
            self._whole.take_prints()
        except BaseException as error:  # noqa: BLE001  (panics derive from it)
            guarded(error)
            place = explain_error(error, show_reason=False)
            self._start_over()
            return PolicyFailure("policy-engine-error", f"While evaluating, {place}.")
        values = [e["value"] for r in answer.get("result", []) for e in r["expressions"]]
        return (True, values[0]) if values else (False, None)

    def ask(self, document: Mapping[str, object]) -> PolicyOutcome | PolicyFailure:
        """What the rules say about `document`."""
        return _ask(self.evaluate, document)

    def decide(
        self,
        document: Mapping[str, object],
        invariants: Iterable[Violation] = (),
        grants: Sequence[GrantView] = (),
        known_obligations: AbstractSet[str] = frozenset(),
    ) -> Decision:
        """The whole decision on `document`; see `core.policy.decide`."""
        return decide(document, invariants, self.ask(document), grants, known_obligations)


def _ask(
    evaluate: Callable[[str, Mapping[str, Any]], str | PolicyFailure],
    document: Mapping[str, object],
) -> PolicyOutcome | PolicyFailure:
    try:
        text = canonical_json(document)
    except (TypeError, ValueError, RecursionError):
        return PolicyFailure("policy-input-invalid", "The decision document is not plain JSON.")
    answer = evaluate(text, document)
    return answer if isinstance(answer, PolicyFailure) else parse_outcome(answer)


class EngineThread:
    """A `RegorusEngine` on a thread of its own, to be asked from any thread.

    `swap` replaces the bundle; one that is refused leaves the bundle in force as it was. Close it,
    or use it as a context manager, to end the thread.
    """

    name = library.NAME
    version = library.VERSION

    def __init__(self, bundle: Bundle, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="charter-policy")
        self._engine: RegorusEngine | None = None
        self._view = threading.Lock()
        try:
            self.data: PolicyData
            self.digest: str
            self.notices: tuple[str, ...]
            self.bundle: Bundle
            self._executor.submit(self._load, bundle).result()
        except BaseException:
            self._executor.shutdown()
            raise

    def _load(self, bundle: Bundle) -> None:
        refusal: CharterError | None = None
        try:
            engine = RegorusEngine(bundle)
        except CharterError as error:
            # The frames of a failure hold engines, which have to end on this thread.
            refusal = error.with_traceback(None)
            refusal.__context__ = refusal.__cause__ = None
        if refusal is not None:
            raise refusal
        with self._view:
            self._engine, self.bundle, self.digest = engine, bundle, engine.digest
            self.data, self.notices = engine.data, engine.notices

    def swap(self, bundle: Bundle) -> None:
        """Decide by `bundle` from now on; does nothing when it is the one in force."""
        if bundle.digest != self.digest:
            self._executor.submit(self._load, bundle).result()

    def submit(self, work: Callable[[RegorusEngine], T]) -> Future[T]:
        """Run `work` with the engine on its thread; what it returns must not be the engine."""

        def run() -> T:
            if self._engine is None:  # _load sets it or the constructor raised
                raise AssertionError
            return work(self._engine)

        return self._executor.submit(run)

    def evaluate(
        self, document_json: str, document: Mapping[str, Any] | None = None
    ) -> str | PolicyFailure:
        """As `RegorusEngine.evaluate`; also fails when the thread is closed or does not answer."""
        try:
            return self.submit(lambda engine: engine.evaluate(document_json, document)).result(
                self._timeout_seconds
            )
        except FutureTimeoutError:
            return PolicyFailure("policy-timeout", "The policy engine did not answer in time.")
        except RuntimeError:
            return PolicyFailure("policy-engine-closed", "The policy engine has been closed.")

    def query(self, path: tuple[str, ...], document_json: str) -> tuple[bool, Any] | PolicyFailure:
        """As `RegorusEngine.query`, from any thread."""
        try:
            return self.submit(lambda engine: engine.query(path, document_json)).result(
                self._timeout_seconds
            )
        except FutureTimeoutError:
            return PolicyFailure("policy-timeout", "The policy engine did not answer in time.")
        except RuntimeError:
            return PolicyFailure("policy-engine-closed", "The policy engine has been closed.")

    def ask(self, document: Mapping[str, object]) -> PolicyOutcome | PolicyFailure:
        """What the rules say about `document`."""
        return _ask(self.evaluate, document)

    def decide(
        self,
        document: Mapping[str, object],
        invariants: Iterable[Violation] = (),
        grants: Sequence[GrantView] = (),
        known_obligations: AbstractSet[str] = frozenset(),
    ) -> Decision:
        """The whole decision on `document`; see `core.policy.decide`."""
        return decide(document, invariants, self.ask(document), grants, known_obligations)

    def close(self) -> None:
        """End the thread; the engine is dropped on it, as the library demands."""

        def drop() -> None:
            engine, self._engine = self._engine, None
            if engine is not None:
                engine.close()

        try:
            self._executor.submit(drop)
        except RuntimeError:
            return  # closed already
        self._executor.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
