"""The companies of F&O environments, each list remembered by the process for an hour."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.clients.http.context import allowed_s
from shared.locks import WAIT_S, CallLocks

if TYPE_CHECKING:
    from shared.clients.fno.client import FinanceOperations

REMEMBERED_FOR: Final = timedelta(hours=1)


class KnownCompanies:
    """Ids of companies by environment. All methods may be called by several threads at once."""

    def __init__(self, environment: "Callable[[str], FinanceOperations]", clock: Callable[[], datetime]) -> None:
        """environment: returns the client of an environment by its address."""
        self._environment = environment
        self._now = clock
        self._lists: dict[str, tuple[frozenset[str], datetime]] = {}
        self._locks = CallLocks()

    def has(self, environment_url: str, company: str, *, denied_after: timedelta = timedelta()) -> bool:
        """Return whether an environment has a company, in whatever case.

        denied_after: one that is not in a list which is older than this is asked for once more: it may be new.
        Raises what ``FinanceOperations.companies`` raises; TryAgain if another thread asks and gets no answer.
        """
        wanted, began = company.upper(), self._now()
        listed, asked = self._lists.get(environment_url, (frozenset[str](), datetime.min.replace(tzinfo=began.tzinfo)))
        if wanted in listed and began - asked < REMEMBERED_FOR:
            return True
        if listed and began - asked < denied_after:
            return False
        what = f"list the companies of {environment_url}"
        with self._locks.of(environment_url).held(what, wait_s=allowed_s(WAIT_S)):
            again = self._lists.get(environment_url)
            if again is None or again[1] <= began:  # else another thread has asked meanwhile
                self._lists[environment_url] = self._environment(environment_url).companies(), self._now()
            return wanted in self._lists[environment_url][0]

    def remembered(self, environment_url: str) -> tuple[str, ...]:
        """Return what was listed last, in order; nobody is asked."""
        return tuple(sorted(self._lists.get(environment_url, (frozenset[str](),))[0]))
