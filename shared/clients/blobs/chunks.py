"""Chunks of one size, and the digests that storage checks them by."""

import base64
from collections.abc import Iterable, Iterator
from typing import Final

# Azure Storage handles a request with a SAS by the rules of the SAS's own version. Observed: F&O hands out
# sv=2014-02-14; before 2016-05-31 a blob can be put at once up to 64 MB, and a block may have 4 MiB.
# https://learn.microsoft.com/rest/api/storageservices/put-block#remarks
BLOCK: Final = 4 * 1024 * 1024  # bytes


def cut_chunks(pieces: Iterable[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """Return the same bytes in chunks of one size; only the last one may be smaller, and none is empty."""
    waiting: list[bytes] = []
    size_bytes = 0
    for piece in pieces:
        start = 0
        while size_bytes + len(piece) - start >= chunk_bytes:
            end = start + chunk_bytes - size_bytes
            chunk = b"".join((*waiting, piece[start:end]))
            waiting.clear()  # what is handed out is not kept here as well
            yield chunk
            start, size_bytes = end, 0
        if start < len(piece):
            waiting.append(piece[start:])
            size_bytes += len(piece) - start
    if waiting:
        yield b"".join(waiting)


def base64_text(digest: bytes) -> str:
    """Return a digest as headers carry it."""
    return base64.b64encode(digest).decode("ascii")
