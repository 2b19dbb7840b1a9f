"""Cases of the settings that say what F&O does with a file, where it is filed, and what its sender hears."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.end_to_end.settings.case import SettingCase, whole_run
from tests.end_to_end.stage import Stage
from tests.packages import Rows, build_package

GOOD: Rows = (("A", "Alpha"),)
PARTIAL: Rows = (("A", "Alpha"), ("B", "#ERROR here"))
PARTLY = {"outcome": "PartiallySucceeded"}


def _case(
    setting: str,
    value: str,
    flow: dict[str, Any],
    missing: Callable[[Stage, str, str], str],
    rows: Rows = GOOD,
    **ended: str,
) -> SettingCase:
    """Return a case of one import and one file. missing: what is not as it is to be once the run has ended.

    It gets the stage, the folder of the flow's folders, and the file's name.
    """
    folder = f"{setting}-{value}".replace(".", "-").replace(" ", "-").replace("/", "-")
    name = f"USMF_{folder}.zip"
    run_missing = whole_run(name, **ended)
    return SettingCase(
        setting=setting,
        value=value,
        imports=({"name": folder, "inputFolder": f"{folder}/Input", **flow},),
        files={f"{folder}/Input/{name}": build_package(data_project=folder, entity=folder, rows=rows)},
        missing=lambda stage: run_missing(stage) or missing(stage, folder, name),
    )


def _filed(folder_pattern: str, ending: str = "") -> Callable[[Stage, str, str], str]:
    def missing(stage: Stage, folder: str, name: str) -> str:
        path = f"{folder}/{datetime.now(UTC):{folder_pattern}}"
        return "" if f"{name}{ending}" in stage.files(path) else f"{name}{ending} in {path}"

    return missing


def _imported(count: int) -> Callable[[Stage, str, str], str]:
    def missing(stage: Stage, folder: str, _name: str) -> str:
        found = len(stage.imports_of(folder))
        return "" if found == count else f"{found} imports instead of {count}"

    return missing


def _nothing_new(value: str, flow: dict[str, Any], *, is_warned: bool) -> SettingCase:
    """Return a case of two files, of which the second has no row that F&O does not have as it is."""
    setting = "counts.warnIfZeroRows"
    folder = f"{setting}-{value}".replace(".", "-")
    names = [f"USMF_{folder}_{number}.zip" for number in (1, 2)]

    def missing(stage: Stage) -> str:
        if waiting := whole_run(names[1])(stage):
            return waiting
        warning = (stage.record(names[1]) or {}).get("warning", "")
        return "" if ("0 rows" in warning) is is_warned else f"the warning is {warning!r}"

    return SettingCase(
        setting=setting,
        value=value,
        imports=({"name": folder, "inputFolder": f"{folder}/Input", **flow},),
        files={
            f"{folder}/Input/{name}": build_package(data_project=folder, entity=folder, replace={"Note": name.encode()})
            for name in names
        },
        missing=missing,
    )


def _result(stage: Stage, folder: str, name: str) -> str:
    if missing := _filed("Success", ".result.json")(stage, folder, name):
        return missing
    result = json.loads((stage.folder / folder / "Success" / f"{name}.result.json").read_text("utf-8"))
    return "" if (result["outcome"], result["counts"][0]["created"]) == ("Succeeded", 1) else str(result)


def _no_result(stage: Stage, folder: str, name: str) -> str:
    return "" if stage.files(f"{folder}/Success") == [name] else "only the file"


def _waits(stage: Stage, folder: str, name: str) -> str:
    record = stage.record(name)
    if not record or "notBetween" not in (record.get("waits") or {}).get("what", ""):
        return "the wait"
    return "" if stage.files(f"{folder}/Input") == [name] else "the file in Input"


def _is_told(name: str, words: str) -> Callable[[Stage], str]:
    """Return what is missing until the run of a file has a problem that people are told of in these words."""

    def missing(stage: Stage) -> str:
        problem = (stage.record(name) or {}).get("trouble")  # as a problem is called in a record
        return "" if words in str(problem) else f"the problem is {problem}"

    return missing


def _sent(sent: dict[str, Any] | None) -> Callable[[Stage, str, str], str]:
    """Return what is missing until a file is imported. sent: to ImportFromPackageAsync; None: by the usual action."""

    def missing(stage: Stage, folder: str, name: str) -> str:
        pinned = (stage.record(name) or {})["arguments"].get("asynchronous")
        if pinned != sent:
            return f"{pinned} instead of {sent}"
        return _imported(1)(stage, folder, name)

    return missing


_AT_FIRST: dict[str, Any] = {"fail_on_error": True, "run_async_without_batch": False, "threshold_to_run_in_batch": 0}
_ASYNC: dict[str, Any] = {
    "name": "ImportFromPackageAsync",
    "failOnError": False,
    "runAsyncWithoutBatch": True,
    "thresholdToRunInBatch": 7,
}
_AS_GIVEN: dict[str, Any] = {"fail_on_error": False, "run_async_without_batch": True, "threshold_to_run_in_batch": 7}

# All times of the week but one minute a day, which is neither now nor soon.
_FAR = (datetime.now(UTC).hour + 12) % 24
_NEVER_NOW = [{"hours": f"{_FAR:02}:01-{_FAR:02}:00"}]
_ALWAYS_NOW = [{"hours": f"{_FAR:02}:00-{_FAR:02}:01"}]
_TOKYO = datetime.now(UTC).hour + 9  # all the year
_NOW_IN_TOKYO = [{"hours": f"{(_TOKYO - 1) % 24:02}:00-{(_TOKYO + 2) % 24:02}:00"}]
_IN_TOKYO = _case(
    "notBetween.timeZone", "Asia/Tokyo", {"notBetween": [{**_NOW_IN_TOKYO[0], "timeZone": "Asia/Tokyo"}]}, _waits
)
_WAITING = _case("notBetween", "now", {"notBetween": _NEVER_NOW}, _waits)

CASES = (
    _case("execute", "true", {"execute": True}, _imported(1)),
    _case("execute", "false", {"execute": False}, _imported(0)),
    _case("filing.partiallySucceeded", "error", {}, _filed("Error"), PARTIAL, **PARTLY),
    _case(
        "filing.partiallySucceeded",
        "success",
        {"filing": {"partiallySucceeded": "success"}},
        _filed("Success"),
        PARTIAL,
        **PARTLY,
    ),
    _case(
        "filing.partiallySucceeded",
        "folder",
        {"filing": {"partiallySucceeded": "folder"}},
        _filed("Partial"),
        PARTIAL,
        **PARTLY,
    ),
    _case("filing.dateFolders", "none", {"filing": {"dateFolders": "none"}}, _filed("Success")),
    _case("filing.dateFolders", "year/month", {"filing": {"dateFolders": "year/month"}}, _filed("Success/%Y/%m")),
    _case(
        "filing.dateFolders",
        "year/month/day",
        {"filing": {"dateFolders": "year/month/day"}},
        _filed("Success/%Y/%m/%d"),
    ),
    _nothing_new("true", {"counts": {"warnIfZeroRows": True}}, is_warned=True),
    _nothing_new("false", {}, is_warned=False),
    _case("resultFile", "true", {"resultFile": True}, _result),
    _case("resultFile", "false", {}, _no_result),
    SettingCase(
        setting="stuckAfterMinutes",
        value="1",
        imports=(
            {"name": "stuck-first", "inputFolder": "stuck-first/Input", "notBetween": _NEVER_NOW},
            {
                "name": "stuck-second",
                "inputFolder": "stuck-second/Input",
                "order": {"after": ["stuck-first"]},
                "stuckAfterMinutes": 1,
            },
        ),
        files={
            "stuck-first/Input/USMF_stuck-first.zip": build_package(data_project="stuck-first", entity="stuck-first"),
            "stuck-second/Input/USMF_stuck.zip": build_package(data_project="stuck-second", entity="stuck-second"),
        },
        missing=_is_told("USMF_stuck.zip", "the import stuck-first"),
        takes_s=60,
    ),
    _case("notBetween", "not now", {"notBetween": _ALWAYS_NOW}, _imported(1)),
    _case("notBetween.timeZone", "UTC", {"notBetween": _NOW_IN_TOKYO}, _imported(1)),
    SettingCase(
        setting="notBetween.timeZone",
        value="Asia/Tokyo",
        imports=_IN_TOKYO.imports,
        files=_IN_TOKYO.files,
        missing=lambda stage: _waits(
            stage, "notBetween-timeZone-Asia-Tokyo", "USMF_notBetween-timeZone-Asia-Tokyo.zip"
        ),
    ),
    SettingCase(
        setting="notBetween",
        value="now",
        imports=_WAITING.imports,
        files=_WAITING.files,
        missing=lambda stage: _waits(stage, "notBetween-now", "USMF_notBetween-now.zip"),
    ),
    _case("action", "ImportFromPackage", {"action": "ImportFromPackage"}, _sent(None)),
    _case("action", "ImportFromPackageAsync", {"action": "ImportFromPackageAsync"}, _sent(_AT_FIRST)),
    _case("action", "with arguments", {"action": _ASYNC}, _sent(_AS_GIVEN)),
)
