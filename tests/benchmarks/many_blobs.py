"""An Azurite that holds as many run records as are asked for, without writing each of them.

Azurite takes 5 ms for a blob, so 100,000 would take a quarter of an hour. Instead the app's own store writes one,
Azurite is stopped, its row in Azurite's index is copied under the other names, and Azurite is started again.
Observed: Azurite 3 keeps its index in one JSON file of LokiJS, whose binary indices are lists of positions, sorted.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_INDEX: Final = "__azurite_db_blob__.json"
_BLOBS: Final = "$BLOBS_COLLECTION$"


def multiply(folder: Path, names: Mapping[str, Sequence[str]]) -> None:
    """Replace each container's one blob by copies of it under these names.

    folder: where an Azurite that has been stopped keeps its data. names: by container, each at least once.
    """
    file = folder / _INDEX
    index = json.loads(file.read_text("utf-8"))
    blobs: dict[str, Any] = next(each for each in index["collections"] if each["name"] == _BLOBS)
    patterns = {row["containerName"]: row for row in blobs["data"]}
    copies = [
        {**pattern, "name": name}
        for container, pattern in patterns.items()
        for name in names.get(container, [pattern["name"]])
    ]
    blobs["data"] = [{**row, "$loki": number} for number, row in enumerate(copies, 1)]
    blobs["maxId"] = len(copies)
    for name, binary_index in blobs["binaryIndices"].items():
        values = [row[name] for row in copies]
        binary_index["values"] = sorted(range(len(values)), key=values.__getitem__)
    file.write_text(json.dumps(index), "utf-8")
