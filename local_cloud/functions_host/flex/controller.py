"""The scale controller: gives each group the instances that it is asked for, and stops those without work."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from local_cloud.functions_host.flex.demand import Demand, NoDemand
from local_cloud.functions_host.flex.groups import Group
from local_cloud.functions_host.flex.instance import Assignment
from local_cloud.functions_host.flex.instances import Instance, State
from local_cloud.functions_host.flex.journal import Journal
from local_cloud.functions_host.flex.options import FlexOptions

_LONGEST_PAUSE_S: Final = 30.0  # after instances that have ended before they served

log = logging.getLogger("Host.Scale")

type Assign = Callable[[Group, float], Assignment]  # (group, when it may serve) -> what an instance is told


class Scaled:
    """One group and its instances."""

    def __init__(
        self,
        group: Group,
        demand: Demand,
        options: FlexOptions,
        *,
        machine: Mapping[str, str],
        assign: Assign,
        journal: Journal,
        changed: Callable[[], None],
    ) -> None:
        """machine: the environment of a placeholder. changed: called whenever an instance has come, changed or gone."""
        self.group = group
        self.instances: list[Instance] = []
        self.wanted = 0
        self._demand = demand
        self._options = options
        self._always_ready = options.always_ready.get(group.name, 0)
        self._machine = machine
        self._assign = assign
        self._journal = journal
        self._notify = changed
        self._numbers = itertools.count(1)
        self._running: dict[Instance, asyncio.Task[None]] = {}
        self._called_for = 0  # calls by hand that wait for an instance
        self._lost = 0  # instances that have ended by themselves and are to be replaced
        self._pause_s = 0.0
        self._not_before = 0.0  # of the next instance, after one that has ended before it served
        self._look = asyncio.Event()
        self._change = asyncio.Event()  # set at the next change, and another one then
        self._stopping = False

    async def run(self) -> None:
        """Look and act until stopped."""
        while not self._stopping:
            self._look.clear()
            await self._adjust()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), self._options.look_every_s)

    def stop(self) -> None:
        """Look no more."""
        self._stopping = True
        self._look.set()

    def drain(self) -> None:
        """Be asked for no instance any more, and let those that there are end what runs."""
        self._demand, self._always_ready = NoDemand(), 0
        for instance in self._live():
            instance.drain()

    async def end(self, grace_s: float) -> bool:
        """Let all instances end, once it looks no more; say whether nothing had to be cut off for that."""
        for instance in self._live():
            instance.drain()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=grace_s)
        late = list(self.instances)
        for instance in late:
            instance.kill()
        was_cut_off = any(instance.is_busy for instance in late)
        await asyncio.gather(*self._running.values())
        return not was_cut_off

    async def an_instance(self, *, concurrency: int | None = None) -> Instance:
        """Return the instance that has least to do; wait for one if there is none, or each has its fill of requests."""
        while (found := self._least_busy(concurrency)) is None:
            change = self._change
            self._look.set()
            await change.wait()
        return found

    async def an_instance_by_hand(self) -> Instance:
        """Return an instance for a call by hand, which alone is reason enough for one."""
        self._called_for += 1
        try:
            return await self.an_instance()
        finally:
            self._called_for -= 1

    def status(self) -> Mapping[str, Any]:
        """How it is, for people and programs."""
        return {
            "group": self.group.name,
            "functions": [function.name for function in self.group.functions],
            "wanted": self.wanted,
            "always_ready": self._always_ready,
            "instances": [instance.status() for instance in self.instances],
        }

    def _least_busy(self, concurrency: int | None) -> Instance | None:
        serving = [each for each in self.instances if each.state is State.SERVING]
        free = [each for each in serving if concurrency is None or each.forwarding < concurrency]
        return min(free, key=lambda each: each.forwarding, default=None)

    async def _adjust(self) -> None:
        self.wanted = max(await self._demand.instances(self._live()), min(self._called_for, 1))
        live = self._live()
        lost, self._lost = self._lost, 0
        target = max(self.wanted, self._always_ready, len(live) + lost)
        target = min(target, max(self._options.max_instances, self._always_ready))
        if time.monotonic() >= self._not_before:
            for _ in range(target - len(live)):
                await self._ask()
        # Assumed: the one goes first that has had nothing to do for longest.
        idle = sorted((each for each in live if self._is_idle(each)), key=lambda each: each.idle_s, reverse=True)
        for instance in idle[: max(len(live) - max(self.wanted, self._always_ready), 0)]:
            instance.drain()

    def _live(self) -> list[Instance]:
        return [instance for instance in self.instances if instance.state is not State.STOPPING]

    def _is_idle(self, instance: Instance) -> bool:
        return instance.state is State.SERVING and not instance.is_busy and instance.idle_s >= self._options.idle_s

    async def _ask(self) -> None:
        if self._stopping:
            return
        name = f"{self.group.name}-{next(self._numbers)}"
        instance = Instance(self.group.name, name, self._journal, self._changed)
        await instance.start(self._machine, self._assign(self.group, instance.asked + self._options.wake_up_s))
        self.instances.append(instance)
        self._running[instance] = asyncio.create_task(self._run(instance), name=f"instance {name}")
        self._changed()

    async def _run(self, instance: Instance) -> None:
        code = await instance.run()
        was = instance.state
        self.instances.remove(instance)
        del self._running[instance]
        if was is not State.STOPPING:
            log.error("The instance %s has ended by itself (exit code %d); it is replaced", instance.name, code)
        if was is State.SERVING:
            # Assumed: replaced at once. The new one goes when it finds nothing to do.
            self._lost, self._pause_s = self._lost + 1, 0.0
        elif was is State.STARTING:
            self._pause_s = min(max(self._pause_s * 2, self._options.look_every_s), _LONGEST_PAUSE_S)
            self._not_before = time.monotonic() + self._pause_s
        self._look.set()
        self._changed()

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
        self._notify()
