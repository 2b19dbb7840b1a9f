"""Cases of the settings that say in which order files are taken up.

All files of a case are there at once, and each import has a data project of its own, but where the case says otherwise.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.end_to_end.settings.case import SettingCase, whole_run
from tests.end_to_end.stage import Record, Stage
from tests.packages import build_package


def _one_by_one(*names: str, least_s: float = 0.0) -> Callable[[Stage], str]:
    """Return what is missing until these files have ended, each begun so long after the one before at least."""

    def missing(stage: Stage) -> str:
        records = [record for name in names if (record := stage.record(name)) and record["ended"]]
        if len(records) < len(names):
            return f"the end of all of {names}"
        for before, after in pairwise(records):
            waited = _prepared(after) - datetime.fromisoformat(before["ended"])
            if waited.total_seconds() < least_s:
                return f"{waited} between {before['file']['name']} and {after['file']['name']}"
        return ""

    return missing


def _prepared(record: Record) -> datetime:
    """Return when the step after the claim began: a claim that waited began long before."""
    return datetime.fromisoformat(next(step["began"] for step in record["steps"] if step["step"] == "prepare"))


def _stopped(ended: str, waiting: str) -> Callable[[Stage], str]:
    """Return what is missing until one file has ended, and its lane is stopped with the other one in Input."""

    def missing(stage: Stage) -> str:
        first, second = stage.record(ended), stage.record(waiting)
        if not first or not first["ended"] or not second:
            return f"the end of {ended}, and the run of {waiting}"
        return "" if second["state"] == "found" else f"{waiting} is {second['state']}"

    return missing


def _case(
    setting: str,
    value: str,
    flow: Mapping[str, Any],
    files: Mapping[str, float],
    missing: Callable[[Stage], str],
    *,
    broken: str = "",
) -> SettingCase:
    """Return a case of one import. files: how old each is, in seconds, by name; broken: the one that is no package."""
    folder = f"{setting}-{value}".replace(".", "-")
    package = build_package(data_project=f"{folder} manifest", entity=folder)
    return SettingCase(
        setting=setting,
        value=value,
        imports=({"name": folder, "inputFolder": f"{folder}/Input", **flow},),
        files={f"{folder}/Input/{name}": b"no package" if name == broken else package for name in files},
        ages_s={f"{folder}/Input/{name}": age_s for name, age_s in files.items()},
        missing=missing,
    )


def _after_a_failed_one(*, waits: bool) -> SettingCase:
    """Return the case of two imports of which one goes first, and has a file that fails."""
    value = str(waits).lower()
    first, second = f"order-success-{value}-first", f"order-success-{value}-second"
    order = {"after": [first], "afterSuccess": waits}
    failed, other = f"USMF_{first}.zip", f"USMF_{second}.zip"
    ended = whole_run(other)

    def missing(stage: Stage) -> str:
        if not waits:
            return ended(stage)
        record = stage.record(other)
        holder = ((record or {}).get("waits") or {}).get("holder", "")
        return "" if holder.startswith(f"{failed} did not succeed") else f"a run of {other} that waits for {failed}"

    return SettingCase(
        setting="order.afterSuccess",
        value=value,
        imports=(
            {"name": first, "inputFolder": f"{first}/Input"},
            {"name": second, "inputFolder": f"{second}/Input", "order": order},
        ),
        files={
            f"{first}/Input/{failed}": b"no package",
            f"{second}/Input/{other}": build_package(data_project=f"{second} manifest", entity=second),
        },
        missing=missing,
    )


def _one_after_the_other() -> SettingCase:
    """Return the case of two imports of which one goes first; without that they would go side by side."""
    first, second = "order-after-first", "order-after-second"
    flows = (
        {"name": second, "inputFolder": f"{second}/Input", "order": {"after": [first]}},
        {"name": first, "inputFolder": f"{first}/Input"},
    )
    paths = {f"{first}/Input/USMF_after_1.zip": first, f"{second}/Input/USMF_after_2.zip": second}
    return SettingCase(
        setting="order.after",
        value="another import",
        imports=flows,
        files={path: build_package(data_project=f"{name} manifest", entity=name) for path, name in paths.items()},
        missing=_one_by_one("USMF_after_1.zip", "USMF_after_2.zip"),
    )


CASES = (
    _case(
        "order.by",
        "arrival",
        {"order": {"by": "arrival"}},
        {"USMF_arrived_b.zip": 60, "USMF_arrived_a.zip": 10},
        _one_by_one("USMF_arrived_b.zip", "USMF_arrived_a.zip"),
    ),
    _case(
        "order.by",
        "name",
        {"order": {"by": "name"}},
        {"USMF_named_A.zip": 10, "USMF_named_b.zip": 60},
        _one_by_one("USMF_named_A.zip", "USMF_named_b.zip"),
    ),
    _case(
        "order.pauseSeconds",
        "3",
        {"order": {"pauseSeconds": 3}},
        {"USMF_paused_1.zip": 60, "USMF_paused_2.zip": 10},
        _one_by_one("USMF_paused_1.zip", "USMF_paused_2.zip", least_s=3.0),
    ),
    _one_after_the_other(),
    _after_a_failed_one(waits=True),
    _after_a_failed_one(waits=False),
    _case(
        "strictOrder",
        "true",
        {"strictOrder": True},
        {"USMF_strict_1.zip": 60, "USMF_strict_2.zip": 10},
        _stopped("USMF_strict_1.zip", "USMF_strict_2.zip"),
        broken="USMF_strict_1.zip",
    ),
    _case(
        "strictOrder",
        "false",
        {"strictOrder": False},
        {"USMF_loose_1.zip": 60, "USMF_loose_2.zip": 10},
        whole_run("USMF_loose_2.zip"),
        broken="USMF_loose_1.zip",
    ),
)
