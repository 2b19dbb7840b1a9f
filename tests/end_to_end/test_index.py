"""What Azure finds in the app: its functions and their bindings, held against a snapshot.

A binding that changes by accident (a queue's name, a schedule, an auth level) changes what runs in Azure. Where the
change is meant, renew the snapshot and commit it: ``python -m tests.end_to_end.test_index``
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from local_cloud.cloud import ROOT
from tests.function_index import index_app

SNAPSHOT: Final = Path(__file__).resolve().parents[1] / "snapshots" / "bindings.json"


def test_the_functions_and_bindings_are_those_of_the_snapshot() -> None:
    found = _sorted(index_app(ROOT))

    expected = json.loads(SNAPSHOT.read_text(encoding="utf-8"))

    assert found == expected, "if this change is meant: python -m tests.end_to_end.test_index, and commit the snapshot"


def _sorted(index: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {name: sorted(bindings, key=lambda binding: str(binding["name"])) for name, bindings in index.items()}


def renew() -> None:
    """Write what Azure finds now as the snapshot."""
    SNAPSHOT.parent.mkdir(exist_ok=True)
    text = json.dumps(_sorted(index_app(ROOT)), indent=2, sort_keys=True)
    SNAPSHOT.write_text(text + "\n", encoding="utf-8", newline="\n")
    sys.stdout.write(f"written: {SNAPSHOT}\n")


if __name__ == "__main__":
    renew()
