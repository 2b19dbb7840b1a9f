"""Pieces of work that must not wait for each other: each by itself in a thread, all within a time limit.

What does not end in time is left behind: it goes on by itself, and is not begun a second time in this process until it
has ended. The caller gets an error in its place, like that of any piece that failed.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

from shared.errors import AppError, TryAgain
from shared.log import log

# Pieces of one kind that are done at the same time, unless the caller says otherwise. They mostly wait for a service.
AT_ONCE: Final = 8


def map_concurrently[Item, Result](act: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return what comes of each item; those that wait for a service wait together. Raises the first error."""
    if len(items) < 2:
        return [act(item) for item in items]
    with ThreadPoolExecutor(min(AT_ONCE, len(items)), thread_name_prefix="concurrent") as pool:
        # The context carries log keys into the threads.
        return [each.result() for each in [pool.submit(copy_context().run, act, item) for item in items]]


class NotInTime(TryAgain):
    """A piece of work was not done within its time limit."""


class Overran(NotInTime):
    """A piece of work has not ended in time and still goes on, left to itself."""


class StillRunning(Overran):
    """A piece of work was left behind by an earlier call and has not ended yet, so it was not begun again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt[Result]:
    """How one piece of work ended: with a result, or with an error."""

    result: Result | None = None
    error: Exception | None = None


def attempted[Result](name: str, act: Callable[[], Result]) -> Attempt[Result]:
    """Return how a piece of work ended, whatever it raised. A bug is logged with its traceback."""
    try:
        return Attempt(result=act())
    except AppError as error:
        return Attempt(error=error)
    except Exception as error:  # noqa: BLE001  # the edge of a duty: a bug in one must not take the others with it
        log.error("duty.broke", duty=name, exc_info=True)
        return Attempt(error=error)


def gravest(attempts: Mapping[str, Attempt[Any]]) -> Exception | None:
    """Return the error that matters most: a bug, then what a person must mend, what hangs, and what passes by itself.

    Of several that matter as much it is the first in the order of the work; None: all went well.
    """
    return min((attempt.error for attempt in attempts.values() if attempt.error), key=_rank, default=None)


def sum_results(attempts: Mapping[str, Attempt[int]]) -> int:
    """Return the sum of the results. Raises the gravest error, once all were tried."""
    if error := gravest(attempts):
        raise error
    return sum(attempt.result or 0 for attempt in attempts.values())


def _rank(error: Exception) -> int:
    match error:
        case Overran():
            return 2
        case TryAgain():
            return 3
        case AppError():
            return 1
        case _:
            return 0


class Duties:
    """What this process does side by side. All methods may be called by several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left_behind: dict[tuple[object, str], float] = {}  # since when, by who has begun it and its name

    def attempt_all[Result](
        self,
        work: Mapping[str, Callable[[], Result]],
        *,
        limit_s: float | None,
        begin_within_s: float | None = None,
        at_once: int = AT_ONCE,
    ) -> dict[str, Attempt[Result]]:
        """Do each piece of work by itself; return how each ended, in the order of the work.

        work: by name. A name says what is done and to what: a piece of the same name that was left behind by an earlier
        call is not begun anew while it goes on.
        limit_s: seconds for all of it together; None waits for the end of each.
        begin_within_s: seconds after which no further piece is begun; None: limit_s.
        at_once: threads; what comes later in the work waits for a free one.
        """
        if not work:
            return {}
        crew = _Crew(self, work, limit_s, begin_within_s)
        return crew.work(min(at_once, len(work)))

    def leave_behind(self, crew: object, begun: Mapping[str, float], ended: Collection[str]) -> None:
        """Note what a crew does not wait for any more; begun: since when, by name. Called by the crew."""
        with self._lock:
            for name in begun.keys() - set(ended):
                self._left_behind[crew, name] = begun[name]

    def ends(self, crew: object, name: str) -> bool:
        """Note that a piece of work has ended; return whether it was left behind. Called by the crew."""
        with self._lock:
            return self._left_behind.pop((crew, name), None) is not None

    def behind_since(self, name: str) -> float | None:
        """Return since when a piece of work of that name goes on, left behind; None if none does."""
        with self._lock:
            return min((since for (_, each), since in self._left_behind.items() if each == name), default=None)


class _Crew[Result]:
    """The threads of one call. They are daemons: a piece that hangs keeps no process from ending."""

    def __init__(
        self,
        duties: Duties,
        work: Mapping[str, Callable[[], Result]],
        limit_s: float | None,
        begin_within_s: float | None,
    ) -> None:
        now = time.monotonic()
        self._duties = duties
        self._work = work
        self._limit_s = limit_s
        self._deadline = math.inf if limit_s is None else now + limit_s
        self._begin_by = self._deadline if begin_within_s is None else now + begin_within_s
        self._left = deque(work)  # names of what nobody has taken yet; several threads may take from a deque
        self._begun: dict[str, float] = {}
        self._ended: dict[str, Attempt[Result]] = {}
        self._gone: SimpleQueue[None] = SimpleQueue()  # an entry for each thread that is done
        self._is_over = False

    def work(self, threads: int) -> dict[str, Attempt[Result]]:
        """Return how each piece ended, once all have, or none is left to be begun, or the time is over."""
        for number in range(threads):
            # The context carries log keys, the invocation that Azure's log asks for, and the limits of calls.
            run = copy_context().run
            threading.Thread(target=run, args=(self._take_all,), name=f"duties {number}", daemon=True).start()
        with suppress(Empty):
            for _ in range(threads):
                wait_s = self._deadline - time.monotonic()
                self._gone.get(wait_s > 0, None if wait_s == math.inf else wait_s)
        self._is_over = True
        begun, ended = dict(self._begun), dict(self._ended)
        self._duties.leave_behind(self, begun, ended)
        for name in begun.keys() & self._ended.keys():  # one may have ended just before it was noted
            self._duties.ends(self, name)
        errors = self._not_in_time([name for name in self._work if name not in ended], begun)
        return {name: ended.get(name) or Attempt(error=errors[name]) for name in self._work}

    def _not_in_time(self, names: list[str], begun: Collection[str]) -> dict[str, NotInTime]:
        """Return the errors of what has not ended, or was not begun."""
        errors: dict[str, NotInTime] = {}
        for name in names:
            if name in begun:
                log.error("duty.overran", duty=name, limit_s=self._limit_s)
                errors[name] = Overran(f"'{name}' has not ended within {self._limit_s or 0:.0f} seconds")
            else:
                errors[name] = NotInTime(f"'{name}' was not started: the tasks before it took too long")
        if left := [name for name in names if name not in begun]:
            log.warning("duty.not_begun", duties=len(left), first=left[0])
        return errors

    def _take_all(self) -> None:
        try:
            while not self._is_over and time.monotonic() <= self._begin_by:
                try:
                    name = self._left.popleft()
                except IndexError:
                    return
                self._do(name)
        finally:
            self._gone.put(None)

    def _do(self, name: str) -> None:
        since = self._duties.behind_since(name) if self._limit_s is not None else None
        if since is not None:
            for_s = round(time.monotonic() - since)
            log.error("duty.still_running", duty=name, for_s=for_s)
            text = f"'{name}' started {for_s} seconds ago and has not ended, so it was not started again"
            self._ended[name] = Attempt(error=StillRunning(text))
            return
        self._begun[name] = began = time.monotonic()
        attempt: Attempt[Result] = Attempt(error=NotInTime(f"'{name}' has ended its thread"))
        try:
            attempt = attempted(name, self._work[name])
        finally:
            self._ended[name] = attempt
            if self._duties.ends(self, name):
                log.info("duty.ended_late", duty=name, took_s=round(time.monotonic() - began, 1))
