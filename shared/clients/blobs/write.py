"""Bytes into blobs, with blocks small enough for the oldest SAS that F&O hands out.

Nothing here waits: what fails is tried again by the worker, with a new URL.
"""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.http.context import record_call
from shared.clients.http.errors import retry_after_s
from shared.clients.http.links import require_private_way
from shared.errors import AppError, DataDamaged, NeedsPerson, NotFound, RemoteCall, TryAgain
from shared.secret import SecretUrl

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.core.pipeline.transport import HttpTransport
    from azure.storage.blob import BlobClient
from shared.clients.blobs.chunks import BLOCK, base64_text, cut_chunks
from shared.clients.blobs.errors import REQUEST_ID_HEADER, SERVICE, expired

# Up to this size a package is put at once, in one call instead of two. urllib3 sends the content of that call in the
# seconds to connect or gives up, so it must be small enough for a slow line. Observed with urllib3 2.8.
_AT_ONCE: Final = 1024 * 1024  # bytes


# Blocks on their way at the same time. With one being filled: 20 MiB.
_IN_FLIGHT: Final = 4


# The oldest version that azure-storage-blob 12.31 speaks: everything used here is older than that, and neither Azurite
# nor an on-premises storage has to know the newest one.
_API_VERSION: Final = "2019-02-02"


# Seconds to connect, and until an answer to a whole block comes.
_BLOB_TIMEOUTS: Final[Mapping[str, Any]] = {"connection_timeout": 10, "read_timeout": 60}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """What has arrived in a blob."""

    size_bytes: int
    quick_xor_hash: str  # base64
    sha256: str = ""  # hexadecimal


def stream_to_blob(chunks: Iterable[bytes], blob_url: SecretUrl) -> Transferred:
    """Write chunks of any size into a blob, which is there as a whole or not at all; existing content is replaced.

    Raises SasExpired, NeedsPerson, TryAgain, and whatever the chunks raise.
    """
    checksum, sha256 = QuickXorHash(), hashlib.sha256()
    blocks = cut_chunks(_hashed(chunks, checksum, sha256), BLOCK)
    with _writing(blob_url) as blob:
        first = next(blocks, b"")
        if len(first) <= _AT_ONCE:  # shorter than a block, so it is all there is
            _put(blob, blob_url, first)
        else:
            _put_blocks(blob, blob_url, chain((first,), blocks))
    return Transferred(size_bytes=checksum.size_bytes, quick_xor_hash=checksum.base64(), sha256=sha256.hexdigest())


def empty_blob(blob_url: SecretUrl) -> None:
    """Replace a blob's content with nothing, so that whoever reads it from now on finds no package.

    Raises SasExpired, NeedsPerson, TryAgain.
    """
    with _writing(blob_url) as blob:
        _put(blob, blob_url, b"")


def _hashed(chunks: Iterable[bytes], *digests: "QuickXorHash | hashlib._Hash") -> Iterator[bytes]:
    for chunk in chunks:
        for digest in digests:
            digest.update(chunk)
        yield chunk


@cache
def _transport() -> "HttpTransport[Any, Any]":
    """Return what carries all blobs of this process: a connection of its own for each would cost as much as a blob."""
    from shared.azure_storage.transport import sdk_transport

    transport: HttpTransport[Any, Any] = sdk_transport(**_BLOB_TIMEOUTS)
    return transport


@contextmanager
def _writing(url: SecretUrl) -> "Iterator[BlobClient]":
    # Imported where a package is moved: an HTTP call that starts a cold host does not need it.
    from azure.storage.blob import BlobClient, LinearRetry

    raw = url.reveal()
    address, _, query = raw.partition("?")
    require_private_way(raw)
    try:
        # The SDK decodes the query, and a bare plus would become a space; a SAS has no spaces.
        blob = BlobClient.from_blob_url(
            f"{address}?{query.replace('+', '%2B')}",
            api_version=_API_VERSION,
            # One retry after a quarter of a second for a connection that broke. The rest is the worker's.
            retry_policy=LinearRetry(backoff=0.25, retry_total=1, random_jitter_range=0),  # type: ignore[arg-type]  # seconds may be a fraction
            transport=_transport(),
            permit_redirects=False,
        )
    except ValueError as error:
        raise NeedsPerson(f"{url} is not the address of a blob") from error
    yield blob


def _put(blob: "BlobClient", url: SecretUrl, content: bytes) -> None:
    _call_sdk("Put Blob", url, lambda: blob.upload_blob(content, overwrite=True, headers=_md5_of(content)))


def _put_blocks(blob: "BlobClient", url: SecretUrl, blocks: Iterator[bytes]) -> None:
    from azure.storage.blob import BlobBlock

    names: list[str] = []
    in_flight: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="blocks") as pool:
        try:
            for block in blocks:
                if len(in_flight) == _IN_FLIGHT:
                    in_flight.popleft().result()
                names.append(f"{len(names):08d}")  # all names must have one length
                # The context carries this run's record of calls and log keys into the worker.
                in_flight.append(pool.submit(copy_context().run, _put_block, blob, url, names[-1], block))
            while in_flight:
                in_flight.popleft().result()
        finally:
            for future in in_flight:
                future.cancel()
    _call_sdk("Put Block List", url, lambda: blob.commit_block_list([BlobBlock(block_id=name) for name in names]))


def _put_block(blob: "BlobClient", url: SecretUrl, name: str, block: bytes) -> None:
    # As a file it is sent piece by piece, each with a timeout of its own: see _AT_ONCE.
    body, headers = io.BytesIO(block), _md5_of(block)
    _call_sdk("Put Block", url, lambda: blob.stage_block(name, body, length=len(block), headers=headers))


def _md5_of(content: bytes) -> dict[str, str]:
    """Return the header with which storage takes the content only as it is; every version knows it.

    The SDK's own validate_content reads by 4 KiB and holds up the other threads.
    https://learn.microsoft.com/rest/api/storageservices/put-block#request-headers
    """
    return {"Content-MD5": base64_text(hashlib.md5(content, usedforsecurity=False).digest())}


def _call_sdk(operation: str, url: SecretUrl, act: Callable[[], Mapping[str, Any]]) -> None:
    """Make one call of the SDK: record it for the run's history, and raise what its failure means."""
    from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError

    began = datetime.now(UTC)
    status: int | None = None
    request_id = ""
    try:
        answer = act()
        status, request_id = HTTPStatus.CREATED, str(answer.get("request_id") or "")
    except HttpResponseError as error:
        refused = _to_app_error(operation, url, error)
        if refused.call:
            status, request_id = refused.call.status, refused.call.request_id
        raise refused from error
    except AzureError as error:
        what = "is unreachable" if isinstance(error, ServiceRequestError) else "did not answer"
        cause = type(error.inner_exception or error).__name__
        call = RemoteCall(service=SERVICE, operation=operation)
        raise TryAgain(f"The blob storage of {url} {what} ({cause})", call=call) from error
    finally:
        record_call(service=SERVICE, operation=operation, status=status, request_id=request_id, began=began)


def _to_app_error(operation: str, url: SecretUrl, error: "HttpResponseError") -> AppError:
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    call = RemoteCall(
        service=SERVICE,
        operation=operation,
        status=error.status_code,
        code=headers.get("x-ms-error-code", ""),
        request_id=headers.get(REQUEST_ID_HEADER, ""),
    )
    words = call.code or (error.reason or "no reason given")
    match error.status_code:
        case 400 if call.code == "Md5Mismatch":
            return DataDamaged(f"The content that arrived at {url} does not match the MD5 of what was sent", call=call)
        case 401 | 403:
            return expired(url, call)
        case 404:
            return NotFound(f"The container of {url} does not exist: {words}", call=call)
        case 409 | 412:
            return TryAgain(f"{url} is in use by someone else: {words}. A new name is needed", call=call)
        case 408 | 429 | 500 | 502 | 503 | 504:
            wait_s = retry_after_s(headers, now=datetime.now(UTC))
            return TryAgain(f"Blob storage cannot write {url} now: {words}", retry_after_s=wait_s, call=call)
        case _:
            return NeedsPerson(f"Blob storage refuses to write {url}: {words}", call=call)
