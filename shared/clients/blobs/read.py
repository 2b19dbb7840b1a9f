"""Bytes from pre-authenticated URLs, in bounded memory and never believed without counting them.

The URL alone decides what may be done, so no token passes through here; ``graph/`` and ``fno/`` hand URLs out. Nothing
here waits: what fails is tried again by the worker, with a new URL. Above 400 lines because a package is read in two
ways, from OneDrive by ranges and from a blob in chunks, with the same distrust of what servers say of their answers.
"""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Buffer, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import copy_context
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import BinaryIO, Final, Self

from shared.clients.blobs.chunks import BLOCK, base64_text, cut_chunks
from shared.clients.blobs.errors import MALWARE, REQUEST_ID_HEADER, SERVICE, expired
from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.http.client import BODY_ERRORS, Http, Response
from shared.clients.http.errors import Refusal
from shared.errors import AppError, DataDamaged, FileRejected, NeedsPerson, NotFound, Refused, TryAgain
from shared.secret import SecretUrl

_SCANNED: Final = "x-virus-infected"  # a header of SharePoint's: what its virus scanner has against the file


_PIECE: Final = 1024 * 1024  # bytes read from a connection at a time


# Packages up to this size are read once and kept; larger ones are looked into by ranges before they are streamed.
IN_MEMORY: Final = 8 * 1024 * 1024  # bytes


_RANGE: Final = 512 * 1024  # bytes asked for at a time when a package is looked into


_RANGES_KEPT: Final = 8


# Bytes of a blob that are asked for with its size: all of a small package. Those of a larger one wait in memory until
# there is room for it, so they are few.
_FIRST: Final = 512 * 1024


_LONGEST_COUNT: Final = 15  # digits of a number of bytes; more is no size of a file


def read_chunks(url: SecretUrl, http: Http, size_bytes: int) -> Iterator[bytes]:
    """Stream a file of which the size is known, in pieces of up to 1 MiB. The call is made at the first piece.

    Raises DataDamaged (another size, or the connection ended before the end), SasExpired, NotFound, FileRejected
    (malware), Refused, NeedsPerson, TryAgain.
    """
    with closing(_get(url, http, ok=(HTTPStatus.OK,))) as answer:
        yield from _body(answer, size_bytes)


def read_small(url: SecretUrl, http: Http, limit_bytes: int) -> bytes:
    """Return a whole file of at most limit_bytes.

    Raises NeedsPerson (it is larger: it can be had from where it lies), and what ``read_chunks`` raises.
    """
    content = _read_at_once(url, http, None, limit_bytes)
    if content is None:
        raise NeedsPerson(f"{url} has more than {limit_bytes:,} bytes, so it is not copied")
    return content


class OpenPackage:
    """A package that can be looked into and then streamed."""

    def __init__(self, file: BinaryIO, chunks: Callable[[], Iterator[bytes]]) -> None:
        self.file = file  # seekable; raises what read_chunks raises
        self._chunks = chunks

    def chunks(self) -> Iterator[bytes]:
        """Stream the whole package from its beginning; raises what ``read_chunks`` raises."""
        return self._chunks()


@contextmanager
def open_package(url: SecretUrl, size_bytes: int, http: Http, *, quick_xor_hash: str = "") -> Iterator[OpenPackage]:
    """Open a package; a small one is fetched once, of a large one only what is read.

    size_bytes, quick_xor_hash (base64, "" for none): as OneDrive tells them. The size may be wrong; then the bytes that
    have this hash are the package, and no others are handed out. Without a hash the size decides.
    Observed: https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/9776

    Raises what ``read_chunks`` raises, here and while the package is read.
    """
    content: bytes | None = None
    if size_bytes <= IN_MEMORY:
        content = _read_at_once(url, http, None if quick_xor_hash else size_bytes, IN_MEMORY)
    if content is not None:
        if len(content) != size_bytes:
            _require_hash((content,), quick_xor_hash, size_bytes, url)
        yield OpenPackage(io.BytesIO(content), lambda: iter((content,)))
        return
    with _RangedFile(url, http, size_bytes) as ranged:
        if quick_xor_hash and ranged.find_size() != size_bytes:
            _require_hash(ranged.chunks(), quick_xor_hash, size_bytes, url)
        with io.BufferedReader(ranged, _PIECE // 16) as file:
            yield OpenPackage(file, ranged.chunks)


def _read_at_once(url: SecretUrl, http: Http, size_bytes: int | None, limit_bytes: int) -> bytes | None:
    """Return a whole file of this size (None: of any size); None if it has more than limit_bytes."""
    content = bytearray()
    with closing(_get(url, http, ok=(HTTPStatus.OK,))) as answer:
        for piece in _body(answer, _announced(answer) if size_bytes is None else size_bytes):
            content += piece
            if len(content) > limit_bytes:
                return None
    return bytes(content)


def _require_hash(chunks: Iterable[bytes], quick_xor_hash: str, told_bytes: int, url: SecretUrl) -> None:
    """Raise DataDamaged unless bytes of which OneDrive tells another number have the hash that it tells."""
    checksum = QuickXorHash()
    for chunk in chunks:
        checksum.update(chunk)
    if checksum.base64() != quick_xor_hash:
        raise DataDamaged(
            f"{url} returned {checksum.size_bytes:,} bytes with the quickXorHash {checksum.base64()}, but OneDrive "
            f"reports {told_bytes:,} bytes with {quick_xor_hash}"
        )


class _RangedFile(io.RawIOBase):
    """A remote file that is fetched where it is read.

    A server that ignores ranges sends all that stands before as well, each time: the price of keeping nothing on disk.
    """

    def __init__(self, url: SecretUrl, http: Http, size_bytes: int) -> None:
        self._url, self._http, self._size_bytes = url, http, size_bytes
        self._position = 0
        self._ranges: OrderedDict[int, bytes] = OrderedDict()  # by number, the longest unused first

    def chunks(self) -> Iterator[bytes]:
        return read_chunks(self._url, self._http, self._size_bytes)

    def find_size(self) -> int:
        """Return how many bytes the server has, whatever was told, and go by that from now on.

        It is asked for the range in which the file should end, which whoever reads a zip reads first.
        """
        number = max(self._size_bytes - 1, 0) // _RANGE
        start = number * _RANGE
        with closing(_get_range(self._url, self._http, start, start + _RANGE)) as answer:
            match answer.status:
                case HTTPStatus.OK:
                    size_bytes = _announced(answer)
                case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    size_bytes = _count(answer.headers.get("Content-Range", "").removeprefix("bytes */"))
                case _:
                    size_bytes = _total_of(answer, start)
                    self._ranges[number] = b"".join(_body(answer, min(start + _RANGE, size_bytes) - start))
        self._size_bytes = self._size_bytes if size_bytes is None else size_bytes
        return self._size_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        target = memoryview(buffer).cast("B")
        found = self._read_at(self._position, len(target))
        target[: len(found)] = found
        self._position += len(found)
        return len(found)

    def _read_at(self, position: int, wanted: int) -> bytes:
        """Return some of the bytes there, none at the end of the file."""
        if position >= self._size_bytes:
            return b""
        number, inside = divmod(position, _RANGE)
        if number not in self._ranges:
            self._fetch(number)
        self._ranges.move_to_end(number)
        return self._ranges[number][inside : inside + wanted]

    def _fetch(self, number: int) -> None:
        start = number * _RANGE
        end = min(start + _RANGE, self._size_bytes)
        with closing(_get_range(self._url, self._http, start, end)) as answer:
            is_whole = answer.status == HTTPStatus.OK
            total = _announced(answer) if is_whole else _total_of(answer, start)
            if total not in (None, self._size_bytes):
                raise DataDamaged(f"{self._url} has {total:,} bytes instead of {self._size_bytes:,}")
            self._ranges[number] = (
                _part(_body(answer, self._size_bytes), start, end) if is_whole else b"".join(_body(answer, end - start))
            )
        if len(self._ranges) > _RANGES_KEPT:
            self._ranges.popitem(last=False)


class RemoteFile:
    """A blob that can be read any number of times; a context manager that ends its connections."""

    def __init__(self, url: SecretUrl, http: Http) -> None:
        self._url, self._http = url, http
        self._first = b""
        with closing(_get_range(url, http, 0, _FIRST)) as answer:
            self._knows_ranges = answer.status != HTTPStatus.OK
            self._etag = answer.headers.get("ETag", "")
            # Of the whole blob, where its writer gave one or put it at once. Versions before 2016-05-31 tell it of no
            # range. https://learn.microsoft.com/rest/api/storageservices/get-blob#response-headers
            self._md5 = answer.headers.get("x-ms-blob-content-md5", "")
            size_bytes = _total_of(answer, 0) if self._knows_ranges else _announced(answer)
            if size_bytes is None:
                raise DataDamaged(f"{url} does not say how many bytes it has")
            self.size_bytes = size_bytes
            if self._knows_ranges and size_bytes:
                self._first = b"".join(_body(answer, min(_FIRST, size_bytes)))

    def chunks(self, chunk_bytes: int = BLOCK) -> Iterator[bytes]:
        """Return the content from its beginning in chunks of this size; only the last one may be smaller.

        While the reader is busy with a chunk, the next one is fetched. The last one is handed out only where the size,
        and the MD5 where there is one, is that of the blob.
        Raises DataDamaged, SasExpired, ItemChanged, NotFound, NeedsPerson, TryAgain.
        """
        pieces = self._ranges(chunk_bytes) if self._knows_ranges else self._whole()
        digest, size_bytes = hashlib.md5(usedforsecurity=False), 0
        for chunk in cut_chunks(pieces, chunk_bytes):
            size_bytes += len(chunk)
            if self._md5:
                digest.update(chunk)
                if size_bytes == self.size_bytes and base64_text(digest.digest()) != self._md5:
                    raise DataDamaged(f"The content of {self._url} does not match its MD5 in blob storage")
            yield chunk

    def _whole(self) -> Iterator[bytes]:
        with closing(_get(self._url, self._http, ok=(HTTPStatus.OK,), headers=_if_match(self._etag))) as answer:
            yield from _body(answer, self.size_bytes)

    def _ranges(self, chunk_bytes: int) -> Iterator[bytes]:
        """Yield the ranges between multiples of chunk_bytes; while one is read, the next one is on its way."""
        yield self._first
        with ThreadPoolExecutor(1, thread_name_prefix="ranges") as pool:
            ahead: Future[bytes] | None = None
            start = len(self._first)
            while start < self.size_bytes:
                end = min((start // chunk_bytes + 1) * chunk_bytes, self.size_bytes)
                following = pool.submit(copy_context().run, self._range, start, end)
                if ahead:
                    yield ahead.result()
                ahead, start = following, end
            if ahead:
                yield ahead.result()

    def _range(self, start: int, end: int) -> bytes:
        with closing(_get_range(self._url, self._http, start, end, etag=self._etag)) as answer:
            if answer.status != HTTPStatus.PARTIAL_CONTENT or _total_of(answer, start) != self.size_bytes:
                raise DataDamaged(f"{self._url} is no longer the file of {self.size_bytes:,} bytes that it was")
            return b"".join(_body(answer, end - start))

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_blob(url: SecretUrl) -> RemoteFile:
    """Open a blob for reading; its size is known afterwards.

    Raises SasExpired, NotFound (F&O keeps packages for 7 days), DataDamaged, NeedsPerson, TryAgain.
    """
    http = Http(
        service=SERVICE,
        token=None,
        map_error=_map_error,
        request_id_header=REQUEST_ID_HEADER,
        client_request_id_header="x-ms-client-request-id",
    )
    try:
        return RemoteFile(url, http)
    except BaseException:
        http.close()
        raise


def _get(url: SecretUrl, http: Http, *, ok: tuple[int, ...], headers: Mapping[str, str] | None = None) -> Response:
    """Make a GET of which the body is not read yet. Raises what ``read_chunks`` raises."""
    map_error = partial(_map_download_error, url=url)
    return http.call(
        "GET", url, operation="download", idempotent=True, headers=headers, stream=True, ok=ok, map_error=map_error
    )


def _map_download_error(refusal: Refusal, *, url: SecretUrl) -> AppError | None:
    """Return what a refusal to hand out a file means; None if the rules of the service say it all."""
    call = refusal.call
    if refusal.has_code(*MALWARE):
        return FileRejected(
            "OneDrive found malware in the file. Have the system that created the file checked", call=call
        )
    match refusal.status:
        case 401 | 403 if _SCANNED not in refusal.headers:
            # No sign-in is involved: the URL has run out, or was never good.
            return expired(url, call)
        case 400 | 403 if call.service != SERVICE:
            # Observed: malware is also answered with an empty 400. Nothing tells it from another one, and the header is
            # sent as well if the scanner ran out of time.
            # https://github.com/OneDrive/onedrive-api-docs/issues/928
            # https://learn.microsoft.com/openspecs/sharepoint_protocols/ms-wsshp/1c302d04-b76f-44e9-800d-c974250de84d
            return Refused(
                f"{call.service} does not return {url}: {refusal.reason}. It may have found malware in the file: "
                "open it in the browser. If every file is refused, check the state of the drive and its policies",
                call=call,
            )
        case _:
            return None


def _get_range(url: SecretUrl, http: Http, start: int, end: int, *, etag: str = "") -> Response:
    """Ask for the bytes from start up to, not including, end; answered with 206, 200 and the whole file, or 416.

    etag: of the only content that is wanted.
    """
    return _get(url, http, ok=(200, 206, 416), headers={"Range": f"bytes={start}-{end - 1}", **_if_match(etag)})


def _if_match(etag: str) -> Mapping[str, str]:
    return {"If-Match": etag} if etag else {}


def _total_of(answer: Response, start: int) -> int:
    """Return the size of the whole file from the answer to a range that begins at start.

    Raises DataDamaged where the answer is about another range.
    """
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start == 0:
        return 0
    given, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    size_bytes = _count(total)
    if not given.startswith(f"{start}-") or size_bytes is None:
        raise DataDamaged(f"Bytes from {start:,} on were requested, but another range was returned")
    return size_bytes


def _announced(answer: Response) -> int | None:
    """Return the size of the body as its head says, None where it does not (chunked)."""
    return _count(answer.headers.get("Content-Length", ""))


def _count(text: str) -> int | None:
    """Return a number of bytes, None for what is none; "²" is a digit to str.isdigit, and no number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_COUNT else None


def _body(answer: Response, size_bytes: int | None) -> Iterator[bytes]:
    """Stream a body. Raises DataDamaged unless it has the expected size (None: unless it ends as HTTP says)."""
    received = 0
    expected = "an unknown number of" if size_bytes is None else f"{size_bytes:,}"
    try:
        for piece in answer.chunks(_PIECE):
            received += len(piece)
            if size_bytes is not None and received > size_bytes:
                raise DataDamaged(f"More than the expected {expected} bytes were received")
            yield piece
    except BODY_ERRORS as error:
        raise DataDamaged(f"The connection ended before {expected} bytes were received") from error
    if size_bytes is not None and received != size_bytes:
        raise DataDamaged(f"Only {received:,} of {expected} bytes were received")


def _part(pieces: Iterable[bytes], start: int, end: int) -> bytes:
    """Return the bytes from start up to, not including, end; what follows is not read."""
    position, part = 0, bytearray()
    for piece in pieces:
        part += piece[max(start - position, 0) : max(end - position, 0)]
        position += len(piece)
        if position >= end:
            break
    return bytes(part)


def _map_error(refusal: Refusal) -> AppError | None:
    """Return what a refusal to read a blob means; None where the general rules say it all."""
    call, code = refusal.call, refusal.headers.get("x-ms-error-code", "no reason given")
    match refusal.status:
        case 404 | 410:
            return NotFound(
                f"The package is no longer in blob storage: {code}. F&O keeps packages for 7 days", call=call
            )
        case 409:
            return TryAgain(f"Blob storage cannot return the package now: {code}", call=call)
        case _:
            return None
