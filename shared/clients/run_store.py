"""Where runs, leases and marks are kept: one blob container, written conditionally.

Open runs are ``open/<lane>/<order>``: the name follows from the file alone, so opening twice is one create-if-absent,
and it sorts by age, so the first row of a listing is the lane's head. Ended runs are
``ended/<yyyy>/<mm>/<dd>/<newest first>-<run id>``. Leases are ``locks/<name>``, marks ``watch/<name>``.
What a run means stands in ``domain/run.py``.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from shared.clients.storage import error_code, storage_error, storage_errors
from shared.domain.run import Run, State, run_from_json, run_to_json
from shared.errors import AppError, TryAgain
from shared.log import log

if TYPE_CHECKING:
    from azure.storage.blob import BlobLeaseClient, ContainerClient

CONTAINER: Final = "runs"
# Azure allows 15 to 60 seconds. https://learn.microsoft.com/rest/api/storageservices/lease-blob
# Short, because a lane stands still for so long after its worker was killed.
LEASE_S: Final = 30
RENEW_EVERY_S: Final = 10.0

_ORDER_TIME: Final = "%Y%m%dT%H%M%S%fZ"  # sorts as it runs
_ORDER_LENGTH: Final = len("20260123T010203123456Z")


class LeaseTaken(TryAgain):
    """Another worker holds this lease."""


class RecordChanged(TryAgain):
    """Another worker has written this record since it was read: it holds the lane now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """What a listing tells of an open run without reading it."""

    lane: str
    order: str
    due: datetime
    state: State


class Mark:
    """A small saved note with its version, so that two writers cannot overwrite each other unseen."""

    __slots__ = ("content", "etag")

    def __init__(self, content: dict[str, str], etag: str | None) -> None:
        self.content = content
        self.etag = etag  # None where there is no note yet


class RunStore:
    """Runs, leases and marks in one blob container, which is made at the first use."""

    def __init__(self, container: "ContainerClient") -> None:
        self._container = container

    # -- runs

    def create(self, run: Run) -> bool:
        """Save a new run; return False where its file has an open run already."""
        from azure.core.exceptions import ResourceExistsError

        try:
            self._in_container(
                lambda: self._container.upload_blob(
                    _open_name(run), run_to_json(run).encode(), overwrite=False, metadata=_metadata(run)
                )
            )
        except ResourceExistsError:
            return False
        return True

    def oldest(self, lane: str) -> Run | None:
        """Return the run at the head of a lane, or None. One listing of one row and one read, however many wait."""
        from azure.core.exceptions import ResourceNotFoundError

        def read_first() -> tuple[bytes, str] | None:
            page = next(
                self._container.list_blobs(name_starts_with=f"open/{lane}/", results_per_page=1).by_page(), iter(())
            )
            for blob in page:
                try:
                    download = self._container.download_blob(blob.name)
                except ResourceNotFoundError as error:
                    raise TryAgain(f"the head of lane {lane} ended while it was being read") from error
                return download.readall(), download.properties.etag
            return None

        first = self._in_container(read_first)
        return first and replace(run_from_json(first[0]), record_etag=first[1])

    def next_due(self, lane: str) -> datetime | None:
        """Return when the head of a lane is due, None where the lane is empty. One listing of one row."""
        rows = self._in_container(
            lambda: list(
                next(
                    self._container.list_blobs(
                        name_starts_with=f"open/{lane}/", include=["metadata"], results_per_page=1
                    ).by_page(),
                    iter(()),
                )
            )
        )
        return datetime.fromisoformat(rows[0].metadata["due"]) if rows else None

    def save(self, run: Run) -> Run:
        """Write a run back; return it with its new version. Raises RecordChanged where another worker wrote it."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        try:
            written = self._in_container(
                lambda: self._container.get_blob_client(_open_name(run)).upload_blob(
                    run_to_json(run).encode(),
                    overwrite=True,
                    metadata=_metadata(run),
                    etag=run.record_etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise RecordChanged(f"run {run.run_id} was written by another worker meanwhile") from error
        return replace(run, record_etag=str(written["etag"]))

    def end(self, run: Run) -> None:
        """Move a run from open to ended. Doing it twice leaves one ended record. Raises RecordChanged as save does."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        self._in_container(
            lambda: self._container.upload_blob(
                _ended_name(run.opened, run.run_id), run_to_json(run).encode(), overwrite=True
            )
        )
        try:
            self._in_container(
                lambda: self._container.delete_blob(
                    _open_name(run), etag=run.record_etag, match_condition=MatchConditions.IfNotModified
                )
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise RecordChanged(f"run {run.run_id} was ended by another worker meanwhile") from error

    def open_runs(self) -> Iterator[OpenRun]:
        """List all open runs, lane by lane, oldest first in each, without reading their records."""
        rows = self._in_container(
            lambda: list(self._container.list_blobs(name_starts_with="open/", include=["metadata"]))
        )
        for row in rows:
            _, lane, order = row.name.split("/", 2)
            yield OpenRun(
                lane=lane,
                order=order,
                due=datetime.fromisoformat(row.metadata["due"]),
                state=State(row.metadata["state"]),
            )

    def ended_runs(self, day: datetime) -> Iterator[Run]:
        """Read the runs that were opened on that day (UTC) and have ended, newest first."""
        for row in self._in_container(lambda: list(self._container.list_blobs(name_starts_with=_ended_folder(day)))):
            yield run_from_json(self._container.download_blob(row.name).readall())

    def ended_run(self, opened: datetime, run_id: str) -> Run | None:
        """Return an ended run, or None where it has not ended."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            record = self._in_container(lambda: self._container.download_blob(_ended_name(opened, run_id)).readall())
        except ResourceNotFoundError:
            return None
        return run_from_json(record)

    # -- leases

    @contextmanager
    def lease(self, name: str) -> Iterator[None]:
        """Hold a lease while the block runs; it is renewed meanwhile. Raises LeaseTaken where another worker has it.

        A lease keeps workers out of each other's way; it is no proof. What must not happen twice is guarded by
        conditional writes, because a worker that is stopped for a minute loses its lease without noticing.
        """
        lease = self._acquire(f"locks/{name}")
        try:
            with _renewed(lease, name):
                yield
        finally:
            self._release(lease, name)

    def _acquire(self, blob_name: str) -> "BlobLeaseClient":
        from azure.core.exceptions import (
            HttpResponseError,
            ResourceExistsError,
            ResourceModifiedError,
            ResourceNotFoundError,
        )

        blob = self._container.get_blob_client(blob_name)
        for _ in range(2):
            try:
                return blob.acquire_lease(lease_duration=LEASE_S)
            except ResourceNotFoundError:
                # The first lease of this name: make the blob that is leased. Another worker may have done so.
                try:
                    self._in_container(lambda: blob.upload_blob(b"", overwrite=False))
                except (ResourceExistsError, ResourceModifiedError):
                    continue
            except storage_errors() as error:
                if isinstance(error, HttpResponseError) and error.status_code == 409:
                    raise LeaseTaken(f"another worker holds {blob_name}") from error
                raise _explained(error, f"lease {blob_name}") from error
        raise LeaseTaken(f"another worker holds {blob_name}")

    def _release(self, lease: "BlobLeaseClient", name: str) -> None:
        from azure.core.exceptions import AzureError

        try:
            lease.release()
        except AzureError as error:
            # It runs out by itself within a minute.
            log.warning("lease.release_failed", lease=name, reason=str(_explained(error, "release")))

    # -- marks

    def read_mark(self, name: str) -> Mark:
        """Return the note of that name; an empty one where there is none yet."""
        from azure.core.exceptions import ResourceNotFoundError

        def read() -> Mark:
            try:
                download = self._container.download_blob(f"watch/{name}")
            except ResourceNotFoundError as error:
                if error_code(error) == "ContainerNotFound":
                    raise
                return Mark({}, None)
            return Mark(json.loads(download.readall()), download.properties.etag)

        return self._in_container(read)

    def write_mark(self, name: str, mark: Mark) -> None:
        """Save a note that was read before. Raises RecordChanged where another worker has written it since."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError

        blob = self._container.get_blob_client(f"watch/{name}")
        content = json.dumps(mark.content).encode()
        try:
            if mark.etag is None:
                written = self._in_container(lambda: blob.upload_blob(content, overwrite=False))
            else:
                written = self._in_container(
                    lambda: blob.upload_blob(
                        content, overwrite=True, etag=mark.etag, match_condition=MatchConditions.IfNotModified
                    )
                )
        except (ResourceExistsError, ResourceModifiedError) as error:
            raise RecordChanged(f"the note {name} was written by another worker meanwhile") from error
        mark.etag = str(written["etag"])

    # -- the container itself

    def _in_container[Result](self, call: Callable[[], Result]) -> Result:
        """Make a call to storage; on the very first one of a new app, make the container and call again.

        Raises TryAgain or NeedsPerson; conditional failures pass through for the verb that asked for the condition.
        """
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

        try:
            try:
                return call()
            except ResourceNotFoundError as error:
                if error_code(error) != "ContainerNotFound":
                    raise
            with suppress(ResourceExistsError):  # another worker was quicker
                self._container.create_container()
            return call()
        except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
            raise
        except storage_errors() as error:
            raise _explained(error, "run records") from error


@contextmanager
def _renewed(lease: "BlobLeaseClient", name: str) -> Iterator[None]:
    """Renew a lease in the background while the block runs."""
    from azure.core.exceptions import AzureError

    done = threading.Event()
    context = copy_context()  # so that the log knows the invocation: Azure drops lines of threads that it does not know

    def renew() -> None:
        while not done.wait(RENEW_EVERY_S):
            try:
                lease.renew()
            except AzureError as error:
                log.warning("lease.lost", lease=name, reason=str(_explained(error, "renew")))
                return

    thread = threading.Thread(target=context.run, args=(renew,), name=f"renew {name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _open_name(run: Run) -> str:
    return f"open/{run.lane}/{run.order}"


def _ended_name(opened: datetime, run_id: str) -> str:
    # The time of opening, not of ending: ending twice after a crash then writes the same record.
    newest_first = 10**13 - int(opened.timestamp() * 1000)
    return f"{_ended_folder(opened)}{newest_first:013d}-{run_id}"


def _ended_folder(day: datetime) -> str:
    return f"ended/{day.astimezone(UTC):%Y/%m/%d}/"


def _metadata(run: Run) -> dict[str, str]:
    return {"due": run.due.astimezone(UTC).isoformat(), "state": run.state.value}


def order_of(when: datetime, key: str) -> str:
    """Return a run's place in its lane: sorts by time, then by key, and is safe in a blob's name."""
    # Observed: glibc writes the year 1, which stands for "unknown", with one digit.
    moment = f"{when.astimezone(UTC):{_ORDER_TIME}}".zfill(_ORDER_LENGTH)
    return f"{moment}-{quote(key, safe='')}"


def moment_of(order: str) -> datetime:
    """Return the moment that a place in a lane was made from."""
    return datetime.strptime(order.partition("-")[0], _ORDER_TIME).replace(tzinfo=UTC)


def key_of(order: str) -> str:
    """Return the key that a place in a lane was made from."""
    return unquote(order.partition("-")[2])


def _explained(error: Exception, operation: str) -> AppError:
    return storage_error(error, service="blob storage", operation=operation, role="Storage Blob Data Owner")
