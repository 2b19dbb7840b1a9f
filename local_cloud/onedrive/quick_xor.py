"""quickXorHash, the one content hash that OneDrive for Business gives.

https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash
"""

import base64
from pathlib import Path
from threading import Event
from typing import Final

WIDTH_BITS: Final = 160
SHIFT_BITS: Final = 11  # each byte of the content lies 11 bits further round the register than the one before
CYCLE: Final = WIDTH_BITS  # bytes after which the positions repeat, because 11 and 160 have no common divisor
BLOCK: Final = 4 * 1024 * 1024  # bytes


class QuickXor:
    """The hash of the bytes given so far.

    Bytes that are a multiple of CYCLE apart land on the same bits. So the content is first folded onto one cycle with
    XORs of big integers, which is fast, and the shifts are done once, at the end.
    """

    def __init__(self) -> None:
        self._folded = 0
        self._rest = b""
        self._length = 0

    def update(self, data: bytes) -> None:
        self._length += len(data)
        data = self._rest + data
        whole = len(data) - len(data) % CYCLE
        for start in range(0, whole, CYCLE):
            self._folded ^= int.from_bytes(data[start : start + CYCLE], "little")
        self._rest = data[whole:]

    def base64(self) -> str:
        """Return the hash as it stands in file.hashes.quickXorHash."""
        columns = (self._folded ^ int.from_bytes(self._rest, "little")).to_bytes(CYCLE, "little")
        register = 0
        for position, byte in enumerate(columns):
            shifted = byte << (position * SHIFT_BITS % WIDTH_BITS)
            register ^= (shifted & ((1 << WIDTH_BITS) - 1)) | (shifted >> WIDTH_BITS)
        register ^= self._length << (WIDTH_BITS - 64)  # the length takes the last eight bytes
        return base64.b64encode(register.to_bytes(WIDTH_BITS // 8, "little")).decode()


def hashing_of(path: Path, *, stop: Event | None = None) -> QuickXor:
    """Return the hash of a file, read in blocks, ready for more; of its beginning when `stop` is set on the way.

    Raises OSError.
    """
    hashing = QuickXor()
    with path.open("rb") as file:
        while (stop is None or not stop.is_set()) and (block := file.read(BLOCK)):
            hashing.update(block)
    return hashing
