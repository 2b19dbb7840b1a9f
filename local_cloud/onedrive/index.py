"""What is remembered about the files beside the files themselves: a small SQLite database outside the visible tree.

It makes ids, versions and deletions outlive a restart. What the rows mean is drive.py's business.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Index:
    """Rows by id. Not thread-safe: the drive calls it under its own lock."""

    def __init__(self, path: Path) -> None:
        """path: the database's file, made if it is not there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # A machine that loses power forgets at most some ids; waiting for the disk at each move is not worth that.
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("CREATE TABLE IF NOT EXISTS items (id TEXT PRIMARY KEY, row TEXT NOT NULL)")

    def close(self) -> None:
        self._database.close()

    def rows(self) -> Iterator[dict[str, object]]:
        for (row,) in self._database.execute("SELECT row FROM items"):
            yield json.loads(row)

    def write(self, rows: Iterable[tuple[str, dict[str, object]]]) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO items VALUES (?, ?)", ((key, json.dumps(row)) for key, row in rows)
        )

    @contextmanager
    def together(self) -> Iterator[None]:
        """All writes within are one transaction."""
        self._database.execute("BEGIN")
        try:
            yield
        finally:
            self._database.execute("COMMIT")
