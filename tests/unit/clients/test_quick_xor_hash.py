"""The checksum must be the one that OneDrive computes, however a file is cut into pieces."""

import base64
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clients.blobs.quick_xor_hash import Content, QuickXorHash, is_same_content


def bit_by_bit(data: bytes) -> str:
    """Microsoft's definition, taken literally: rotate every byte by 11 bits more than the one before, then the length.

    https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash
    """
    bits = [0] * 160
    for index, byte in enumerate(data):
        for bit in range(8):
            bits[(index * 11 + bit) % 160] ^= byte >> bit & 1
    for bit in range(64):
        bits[96 + bit] ^= len(data) >> bit & 1
    value = sum(bit << place for place, bit in enumerate(bits))
    return base64.b64encode(value.to_bytes(20, "little")).decode()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # Published with rclone's implementation, and confirmed against OneDrive by its users.
        (b"", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        (b"\x4a", "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
        (b"\xb5\xb4", "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
        (b"\xd2\x96\x4f", "0rDEEwAAAAAAAAAAAwAAAAAAAAA="),
    ],
)
def test_the_hash_is_the_one_that_onedrive_shows(data: bytes, expected: str) -> None:
    assert QuickXorHash(data).base64() == expected


@pytest.mark.parametrize("size", [19, 20, 159, 160, 161, 10_239, 10_240, 10_241, 40_001])
def test_the_hash_follows_the_definition_at_the_edges_of_its_folds(size: int) -> None:
    data = random.Random(size).randbytes(size)

    assert QuickXorHash(data).base64() == bit_by_bit(data)


@given(st.binary(max_size=700))
def test_the_hash_follows_the_definition_for_any_content(data: bytes) -> None:
    assert QuickXorHash(data).base64() == bit_by_bit(data)


@given(st.integers(0, 50_000), st.lists(st.integers(0, 50_000), max_size=8))
def test_how_a_file_is_cut_into_pieces_does_not_matter(size: int, cuts: list[int]) -> None:
    data = random.Random(size).randbytes(size)
    edges = [0, *sorted(min(cut, size) for cut in cuts), size]

    pieces = QuickXorHash()
    for start, end in pairwise(edges):
        pieces.update(data[start:end])

    assert pieces.digest() == QuickXorHash(data).digest()


def test_the_hash_can_be_read_before_the_end_and_hashing_goes_on() -> None:
    pieces = QuickXorHash(b"first ")
    pieces.digest()
    pieces.update(b"second")

    assert pieces.base64() == QuickXorHash(b"first second").base64()
    assert pieces.size_bytes == 12


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ((5, "a"), (5, "a"), True),
        ((5, "a"), (5, "b"), False),
        ((5, "a"), (6, "a"), True),  # a library tells a wrong size
        *(((5, unknown), (5, "a"), True) for unknown in ("", None)),
        *(((5, unknown), (6, "a"), False) for unknown in ("", None)),
        *(((5, unknown), (6, unknown), False) for unknown in ("", None)),
    ],
)
def test_two_files_are_the_same_by_their_hashes_and_by_their_sizes_only_without_them(
    one: Content, other: Content, is_same: bool
) -> None:
    assert is_same_content(one, other) is is_same_content(other, one) is is_same
