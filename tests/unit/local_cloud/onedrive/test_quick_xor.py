"""quickXorHash against published pairs: graph_onedrive §3.10, and rclone's vectors (backend/onedrive/quickxorhash)."""

import base64
from pathlib import Path

import pytest

from local_cloud.onedrive.quick_xor import QuickXor, hashing_of

VECTORS = [
    ("", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ("Sg==", "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
    ("tbQ=", "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
    ("J9iPGCbfZSTNyw==", "J8DGIzBggm+UgQTNUgYAAAAAAAA="),
    ("2fuxhBJXtpWFe8dOfdGeHw==", "O9tHLAghgSvYohKFyMMxnNCHaHg="),
    ("T6LYJIfDh81JrAK309H2JMJTXis=", "zBTHrspn3mEcohlJdIUAbjGNaNg="),
    ("DWAAX5/CIfrmErgZa8ot6ZraeSbu", "LR2Z0PjuRYGKQB/mhQAuMrAGZbQ="),
    (
        "PfxMcUd0vIW6VbHG/uj/Y0W6qEoKmyBD0nYebEKazKaKG+UaDqBEcmQjbfQeVnVLuodMoPp7P7TR1htX5n2VnkHh22xDyoJ8C/ZQKiSNqQfX"
        "vh83judf4RVr9exJCud8Uvgip6aVZTaPrJHVjQhMCp/dEnGvqg0oN5OVkM2qqAXvA0teKUDhgNM71sDBVBCGXxNOR2bpbD1iM4dnuT0ey4L+"
        "loXEHTL0fqMeUcEi2asgImnlNakwenDzz0x57aBwyq3AspCFGB1ncX4yYCr/OaCcS5OKi/00WH+wNQU3",
        "QX/YEpG0gDsmhEpCdWhsxDzsfVE=",
    ),
]


@pytest.mark.parametrize(("content", "expected"), VECTORS)
def test_the_hash_of_a_published_content_is_the_published_one(content: str, expected: str) -> None:
    hashing = QuickXor()
    hashing.update(base64.b64decode(content))
    assert hashing.base64() == expected


@pytest.mark.parametrize("block", [1, 7, 159, 160, 161])
def test_the_hash_does_not_depend_on_how_the_content_is_cut(block: int) -> None:
    content, expected = base64.b64decode(VECTORS[-1][0]), VECTORS[-1][1]
    hashing = QuickXor()
    for start in range(0, len(content), block):
        hashing.update(content[start : start + block])
    assert hashing.base64() == expected


def test_a_file_that_is_hashed_can_be_hashed_on_when_it_grows(tmp_path: Path) -> None:
    content, expected = base64.b64decode(VECTORS[-1][0]), VECTORS[-1][1]
    (tmp_path / "beginning").write_bytes(content[:100])
    hashing = hashing_of(tmp_path / "beginning")
    hashing.update(content[100:])
    assert hashing.base64() == expected
