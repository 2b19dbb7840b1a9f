"""The whole cloud of one test or of several, and what a person could see of it: folders, F&O, run records, the log.

Nothing here reaches into the app: what a test learns of it, it learns from outside.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from local_cloud.cloud import LocalCloud
from local_cloud.finance_operations.store import Effect
from local_cloud.functions_host.flex.options import FlexOptions

# Seconds that a package may take from Input to its end; far more than it takes, because build machines stall.
PATIENCE_S: Final = 90.0
LOOK_S: Final = 0.1
LOG_SHOWN: Final = 60  # lines of the functions host's log in the message of a test that failed

# The minute's timer is off, so that what happens was set off by a notification, or by a test that runs it by hand.
NO_MINUTE_TIMER: Final = {"AzureWebJobs.keep_watch.Disabled": "true"}

# host.json lets an idle queue rest for 2 s, which every step of every file would wait for. As an app setting:
# https://learn.microsoft.com/azure/azure-functions/functions-host-json#override-hostjson-values
PROMPT_QUEUES: Final = {"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.250"}

# The platform's part of a wake-up, and the time until an instance goes, which tests need not wait for.
QUICK_FLEX: Final = FlexOptions(wake_up_s=0.0, idle_s=5.0, look_every_s=0.25)

type Record = dict[str, Any]


class Stage(LocalCloud):
    """A local cloud with what tests look at; takes what LocalCloud takes, but for on_log."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.log: list[str] = []  # every line that the functions host has printed
        super().__init__(home, on_log=self.log.append, **{"function_key": "the-function-key", **options})

    def wait_for[T](self, look: Callable[[], T | None], what: str, *, within_s: float = PATIENCE_S) -> T:
        """Look again until there is something to see, and return it; fails with the host's log when there never is."""
        deadline = time.monotonic() + within_s
        while not (seen := look()):
            if time.monotonic() > deadline:
                log = "\n".join(self.log[-LOG_SHOWN:])
                raise AssertionError(f"{what}: not within {within_s:g} s. The host's log ends with:\n{log}")
            time.sleep(LOOK_S)
        return seen

    # -- what a person does

    def put(self, name: str, content: bytes, folder: str = "Input", *, age_s: float = 0.0) -> Path:
        """Copy a file into a folder of the drive; it shows up there whole, as in OneDrive."""
        there = self.folder / folder / name
        (self.home / name).write_bytes(content)
        os.utime(self.home / name, (time.time() - age_s,) * 2)
        return (self.home / name).replace(there)

    # -- what can be seen

    def files(self, folder: str) -> list[str]:
        """Return the names of the files in a folder of the drive."""
        place = self.folder / folder
        return sorted(file.name for file in place.iterdir() if file.is_file()) if place.is_dir() else []

    def record(self, file_name: str) -> Record | None:
        """Return the run of the file with that name, if it has one."""
        return next((record for record in self.runs() if record["file"]["name"] == file_name), None)

    def ended(self, file_name: str, *, within_s: float = PATIENCE_S) -> Record:
        """Wait until the run of that file has ended, and return it."""

        def look() -> Record | None:
            record = self.record(file_name)
            return record if record and record["ended"] else None

        return self.wait_for(look, f"the end of {file_name}", within_s=within_s)

    def imports_of(self, entity: str) -> list[Effect]:
        """Return what has taken effect in F&O of an entity, in order."""
        return [effect for effect in self.finance_operations.effects if effect.entity == entity]

    def assert_clients_kept_the_rules(self) -> None:
        """Fail where the app has called a service in a way that the real one would not take."""
        assert self.onedrive.violations == []
        assert self.finance_operations.violations == []


def processes_with(marker: str) -> list[str]:
    """Return the command lines of processes whose environment holds this text (Linux)."""
    found: list[str] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if marker.encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue  # it has ended, or is another user's
    return found
