"""A soak in the Flex shape: one functions host, whose instances are killed and replaced."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from local_cloud.cloud import LocalCloud
from local_cloud.functions_host.flex.options import FlexOptions
from local_cloud.processes import ChildProcess
from tests.soak.scene import Log

# Instances come and go often, and those of a group are several now and then.
FLEX: Final = FlexOptions(wake_up_s=1.0, idle_s=10.0, max_instances=3)
_OF_INSTANCE: Final = re.compile(r"\S+-(\d+)  \[")
_ENDED: Final = re.compile(r"The instance (\S+) has ended by itself")


class Instances:
    """Stands where the hosts stand in the other shape."""

    killed = "instances killed"

    def __init__(self, cloud: LocalCloud, log: Log) -> None:
        self._cloud = cloud
        self._log = log
        self._host: ChildProcess | None = None
        self._killed: set[str] = set()
        self._ended: list[str] = []
        self._died: list[str] = []

    def start(self, host: int) -> None:  # there is one host, which replaces its instances itself
        if self._host is None:
            self._host = self._cloud.new_host(self._cloud.host_port, self._take)

    def kill(self, host: int) -> None:
        """End an instance that is at work at once; any other if none is. host: which of them."""
        found = [instance for group in self._groups() for instance in group["instances"]]
        at_work = [instance for instance in found if instance["executing"]]
        if among := at_work or found:
            name = among[host % len(among)]["instance"]
            self._killed.add(name)
            with suppress(OSError):  # it has ended meanwhile
                self._cloud.kill_instance(name)

    def stop(self) -> None:
        if self._host is None:
            return
        if self._host.exit_code is not None:
            self._died.append(f"the host, with exit code {self._host.exit_code}")
        self._host.stop()
        self._host = None

    def run(self, function: str) -> None:
        with suppress(OSError):  # the machine is overloaded: a tick may be lost too
            self._cloud.run_function(function)

    @property
    def a_url(self) -> str:
        """Where the host listens; "" if it does not run."""
        return self._cloud.host_url if self._host else ""

    @property
    def kills(self) -> int:
        return len(self._killed)

    @property
    def died(self) -> Sequence[str]:
        """What has ended without being killed."""
        return [*self._died, *(name for name in self._ended if name not in self._killed)]

    def _groups(self) -> Sequence[dict[str, Any]]:
        with suppress(OSError):  # the machine is overloaded
            return self._cloud.instances()
        return []

    def _take(self, line: str) -> None:
        if ended := _ENDED.search(line):
            self._ended.append(ended[1])
        instance = _OF_INSTANCE.match(line)
        self._log.take(int(instance[1]) if instance else 0, line)
