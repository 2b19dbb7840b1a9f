"""What happened, for those who measure: a line of JSON for each start and stop of an instance and each invocation.

``{"event": "instance.asked" | "instance.started" | "instance.stopped", "group", "instance", "pid", "at"}`` and
``{"event": "invocation", "group", "instance", "function", "began", "ended", "ok"}``, with seconds since 1970.
"""

import json
from pathlib import Path


class Journal:
    """Appends to a file; without one it keeps nothing."""

    def __init__(self, file: Path | None) -> None:
        self._file = file.open("a", encoding="utf-8", buffering=1) if file else None

    def instance(self, event: str, *, group: str, instance: str, pid: int, at: float) -> None:
        """Note that an instance was asked, started or stopped."""
        self._write({"event": f"instance.{event}", "group": group, "instance": instance, "pid": pid, "at": at})

    def invocation(self, *, group: str, instance: str, function: str, began: float, ended: float, ok: bool) -> None:
        """Note an invocation that is over; one whose instance was killed has failed then."""
        times = {"began": began, "ended": ended, "ok": ok}
        self._write({"event": "invocation", "group": group, "instance": instance, "function": function, **times})

    def close(self) -> None:
        """Write no more."""
        if self._file:
            self._file.close()
            self._file = None

    def _write(self, line: dict[str, object]) -> None:
        if self._file:
            self._file.write(f"{json.dumps(line)}\n")
