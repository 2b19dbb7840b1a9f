"""Who shares instances: all HTTP functions one group, every other function a group of its own.

https://learn.microsoft.com/azure/azure-functions/event-driven-scaling#per-function-scaling
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from local_cloud.functions_host.bindings import Function, HttpTrigger

HTTP: Final = "http"  # Azure's name of the group; others are called function:<name> there


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Functions that share instances."""

    name: str
    functions: tuple[Function, ...]
    is_disabled: bool = False  # nothing triggers it; it can be run by hand


def scale_groups(functions: Sequence[Function], disabled: Collection[str]) -> list[Group]:
    """Return the groups of an app, that of HTTP first. disabled: the names of functions."""
    over_http = tuple(each for each in functions if isinstance(each.trigger, HttpTrigger))
    alone = [
        Group(name=each.name, functions=(each,), is_disabled=each.name in disabled)
        for each in functions
        if each not in over_http
    ]
    return [Group(name=HTTP, functions=over_http), *alone] if over_http else alone
