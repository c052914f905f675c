"""Group commit: many small writers at one moment share one transaction.

A commit costs a write to disk, whatever it holds. Where hundreds of answers a second each need a
stored record first, the first thread that arrives leads: it takes everything that waits, runs one
transaction for all of it, and hands each waiting thread its own result. While it commits, the next
group gathers. Nobody waits for a timer: a lone writer commits at once.

Promised: a result is given only after the commit that holds it. When a group's transaction fails,
its members are tried again one by one, so that one bad member fails alone; only when the database
itself is away all of them fail at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

from charter.core.kernel.errors import UnavailableError

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGEST_GROUP: Final = 64  # a longer transaction would make its first member wait for nothing


class GroupCommit(Generic[Item, Result]):
    """Runs `work` for groups of items; safe to share between threads.

    `work` takes the items of one group, does everything in one transaction and answers with one
    result each, in their order.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._work = work
        self._gather = threading.Lock()
        self._lead = threading.Lock()
        self._waiting: list[tuple[Item, Future[Result]]] = []

    def submit(self, item: Item) -> Result:
        """The result for `item`, after its commit; raises what `work` raised for it."""
        future: Future[Result] = Future()
        with self._gather:
            self._waiting.append((item, future))
        while not future.done():
            # Whoever gets the lock leads the next group; the others find their result when they
            # come to it.
            with self._lead:
                if not future.done():
                    self._carry_out(self._take())
        return future.result()

    def _take(self) -> list[tuple[Item, Future[Result]]]:
        with self._gather:
            group = self._waiting[:LARGEST_GROUP]
            del self._waiting[:LARGEST_GROUP]
        return group

    def _carry_out(self, group: list[tuple[Item, Future[Result]]]) -> None:
        try:
            results = self._work([item for item, _ in group])
        except BaseException as error:
            alone = len(group) == 1 or isinstance(error, UnavailableError)
            for member in group:
                if alone or not isinstance(error, Exception):
                    member[1].set_exception(error)
                else:
                    self._carry_out([member])
            if not isinstance(error, Exception):
                raise  # the process is being ended
        else:
            for (_, future), result in zip(group, results, strict=True):
                future.set_result(result)
