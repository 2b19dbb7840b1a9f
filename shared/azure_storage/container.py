"""The app's blob container: the few verbs that its stores need. The one module that calls the blob SDK for them.

The container is made at the first call. Every verb raises TryAgain and NeedsPerson for trouble with storage.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobLeaseClient, BlobProperties, ContainerClient

from shared.azure_storage.errors import BLOBS, call_storage, error_code, mapped
from shared.errors import LeaseTaken, RecordChanged

if TYPE_CHECKING:
    from azure.core.paging import ItemPaged


@dataclass(frozen=True, slots=True)
class Blob:
    """What a blob holds, in one version."""

    content: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class BlobRow:
    """What a listing tells of a blob."""

    name: str
    metadata: Mapping[str, str]
    etag: str
    last_modified: datetime  # by storage's clock


class BlobContainer:
    """One container."""

    def __init__(self, client: ContainerClient) -> None:
        self._client = client

    # -- one blob

    def create(self, name: str, content: bytes, metadata: Mapping[str, str] | None = None) -> str | None:
        """Write a new blob; return its ETag, or None if there is one of that name."""
        try:
            return self._upload(name, content, metadata, overwrite=False)
        except (ResourceExistsError, ResourceModifiedError):  # modified: it is there, and leased
            return None

    def write(self, name: str, content: bytes, metadata: Mapping[str, str] | None = None) -> str:
        """Write a blob, whatever is there; return its ETag."""
        return self._upload(name, content, metadata, overwrite=True)

    def replace(self, name: str, content: bytes, metadata: Mapping[str, str] | None = None, *, etag: str) -> str:
        """Replace the version with that ETag; return the new ETag. Raises RecordChanged if there is another version."""
        with _unchanged(name):
            return self._upload(
                name, content, metadata, overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified
            )

    def save(self, name: str, content: bytes, *, etag: str | None) -> str:
        """Replace the version with that ETag, or create the blob if the ETag is None; return the new ETag.

        Raises RecordChanged if there is another version.
        """
        if etag is not None:
            return self.replace(name, content, etag=etag)
        if created := self.create(name, content):
            return created
        raise _changed(name)

    def _upload(self, name: str, content: bytes, metadata: Mapping[str, str] | None, **options: Any) -> str:
        blob, named = self._client.get_blob_client(name), dict(metadata or {})
        written = self._call("write", name, lambda: blob.upload_blob(content, metadata=named, **options))
        return str(written["etag"])

    def read(self, name: str) -> Blob | None:
        """Return a blob; None if there is none of that name."""

        def read() -> Blob:
            download = self._client.download_blob(name)
            return Blob(download.readall(), str(download.properties.etag))

        try:
            return self._call("read", name, read)
        except ResourceNotFoundError:
            return None

    def delete(self, name: str) -> bool:
        """Delete a blob; return False if there is none of that name."""
        try:
            self._call("delete", name, lambda: self._client.delete_blob(name))
        except ResourceNotFoundError:
            return False
        return True

    def delete_version(self, name: str, etag: str) -> None:
        """Delete the version with that ETag. Raises RecordChanged if it is not there."""
        with _unchanged(name):
            self._call(
                "delete",
                name,
                lambda: self._client.delete_blob(name, etag=etag, match_condition=MatchConditions.IfNotModified),
            )

    # -- listings

    def list_rows(self, prefix: str) -> list[BlobRow]:
        """List the blobs whose names begin so, by name."""
        return self._call("list", prefix, lambda: [row for rows, _ in self._pages(prefix) for row in rows])

    def list_page(self, prefix: str, *, after: str = "", at_most: int) -> tuple[list[BlobRow], str]:
        """List some of them; return the rows and, as ``after`` of the next page, a token ("" after the last one)."""
        return self._call("list", prefix, lambda: next(self._pages(prefix, after, at_most), ([], "")))

    def list_names(self, prefix: str) -> list[str]:
        """List names alone: a sixth of the time that ``list`` takes."""

        def names() -> list[str]:
            found = self._client.list_blob_names(name_starts_with=prefix)
            return [name for page, _ in _pages_of(found) for name in page]

        return self._call("list", prefix, names)

    def _pages(self, prefix: str, after: str = "", at_most: int | None = None) -> Iterator[tuple[list[BlobRow], str]]:
        found = self._client.list_blobs(name_starts_with=prefix, include=["metadata"], results_per_page=at_most)
        for page, token in _pages_of(found, after):
            yield [_row(blob) for blob in page], token

    # -- leases

    def lease(self, name: str, duration_s: int) -> "BlobLease":
        """Lease a blob, which is made if it is missing. Raises LeaseTaken if somebody else has it."""
        blob = self._client.get_blob_client(name)

        def acquire() -> BlobLeaseClient:
            try:
                return blob.acquire_lease(lease_duration=duration_s)
            except HttpResponseError as error:
                if error.status_code == 409:
                    raise LeaseTaken(f"another worker holds {name}") from error
                raise

        try:
            return BlobLease(self._call("lease", name, acquire))
        except ResourceNotFoundError:
            self.create(name, b"")  # another worker may have done so
            return BlobLease(self._call("lease", name, acquire))

    # -- the container itself

    def _call[Result](self, verb: str, name: str, call: Callable[[], Result]) -> Result:
        operation = f"{verb} {name.partition('/')[0]}/"
        try:
            return call_storage(call, operation, BLOBS)
        except ResourceNotFoundError as error:
            if error_code(error) != "ContainerNotFound":
                raise
        with suppress(ResourceExistsError):  # another worker was quicker
            call_storage(self._client.create_container, "create the container", BLOBS)
        return call_storage(call, operation, BLOBS)


class BlobLease:
    """A lease that was acquired. Both verbs raise TryAgain and NeedsPerson, TryAgain also if it is lost."""

    def __init__(self, lease: BlobLeaseClient) -> None:
        self._lease = lease

    def renew(self) -> None:
        """Begin its time anew."""
        with mapped("renew a lease", BLOBS):
            self._lease.renew()

    def release(self) -> None:
        """Free it."""
        with mapped("release a lease", BLOBS):
            self._lease.release()


@contextmanager
def _unchanged(name: str) -> Iterator[None]:
    try:
        yield
    except (ResourceModifiedError, ResourceNotFoundError) as error:
        raise _changed(name) from error


def _changed(name: str) -> RecordChanged:
    return RecordChanged(f"{name} was written by another worker meanwhile")


def _row(blob: BlobProperties) -> BlobRow:
    return BlobRow(
        name=str(blob.name),
        metadata=blob.metadata or {},
        # Observed: a listing tells the ETag without the quotes that a condition needs.
        etag=f'"{str(blob.etag).strip('"')}"',
        last_modified=blob.last_modified,
    )


def _pages_of[Item](listing: "ItemPaged[Item]", after: str = "") -> Iterator[tuple[list[Item], str]]:
    """Yield a listing page by page, each with the token of the next ("" after the last one).

    Raises what a call of the SDK raises, and ValueError for an answer that is no listing.
    """
    pages = listing.by_page(after or None)
    try:
        for page in pages:
            # Observed: the SDK takes XML of any kind for a listing, one of something else for an empty one.
            if not getattr(pages, "service_endpoint", None):
                raise ValueError("the answer is XML, but no listing of blobs")
            yield list(page), str(getattr(pages, "continuation_token", None) or "")
    except AttributeError as error:
        raise ValueError("the answer is not a listing of blobs") from error  # observed: what the SDK raises without XML
