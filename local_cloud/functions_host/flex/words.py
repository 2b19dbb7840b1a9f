"""Which groups have instances, in words for people: how the host says it in its log, and how others find it there."""

import re
from collections.abc import Sequence
from typing import Final

from local_cloud.functions_host.flex.controller import Scaled
from local_cloud.functions_host.flex.instances import State

LINE: Final = "Instances: %s"
_LINE: Final = re.compile(r"^\[[^\]]+\] Instances: (.+)$")


def describe(groups: Sequence[Scaled]) -> str:
    """Return ``http 1, work 1 (+1 starting), keep_watch starting; none of start_exports``."""
    told, without = [], []
    for scaled in groups:
        name, states = scaled.group.name, [instance.state for instance in scaled.instances]
        serving, starting = states.count(State.SERVING), states.count(State.STARTING)
        if serving:
            told.append(f"{name} {serving}{f' (+{starting} starting)' if starting else ''}")
        elif starting:
            told.append(f"{name} starting" if starting == 1 else f"{name} {starting} starting")
        else:
            without.append(name)
    return "; ".join([*([", ".join(told)] if told else []), *([f"none of {', '.join(without)}"] if without else [])])


def instances_told(line: str) -> str:
    """Return which groups have instances, if a line of the host's log says so; "" for any other line."""
    said = _LINE.match(line)
    return said[1] if said else ""
