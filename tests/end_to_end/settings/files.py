"""Cases of the settings that say which files an import takes, from which sub-folder, and when."""

from collections.abc import Callable
from typing import Any

from tests.end_to_end.settings.case import SettingCase, whole_run
from tests.end_to_end.stage import Stage
from tests.packages import build_package


def _case(
    setting: str,
    value: str,
    flow: dict[str, Any],
    path: str,
    missing: Callable[[Stage], str] | None = None,
    **ended: str,
) -> SettingCase:
    """Return a case of one import and one file; path: below Input; ended: what is saved of its run then."""
    folder = f"{setting}-{value}".replace(".", "-").replace(" ", "-")
    flow = {"name": folder, "inputFolder": f"{folder}/Input", "company": "USMF", "dataProject": folder, **flow}
    return SettingCase(
        setting=setting,
        value=value,
        imports=(flow,),
        files={f"{folder}/Input/{path}": build_package(data_project=folder, entity=folder)},
        missing=missing or whole_run(path.rpartition("/")[2], **ended),
    )


def _stays(path: str, settled_by: str) -> Callable[[Stage], str]:
    """Return what is missing until another file's run has ended and this one lies where it was put."""
    settled, (folder, _, name) = whole_run(settled_by), path.rpartition("/")

    def missing(stage: Stage) -> str:
        return settled(stage) or ("" if name in stage.files(folder) else f"{path} was taken")

    return missing


def _moved_by_the_timer(folder: str, name: str) -> Callable[[Stage], str]:
    """Return what is missing until the minute's timer, which is off on this stage, has moved a file to a folder."""

    def missing(stage: Stage) -> str:
        stage.run_function("keep_watch")
        return "" if name in stage.files(folder) else f"{name} in {folder}"

    return missing


BY_FOLDER = {"from": "folder"}
OF_FO = {"from": "LegalEntities"}
_SHARED = "files-shared/Input"

CASES = (
    _case("company", "folder", {"company": BY_FOLDER}, "DEMF/in-its-folder.zip", company="DEMF"),
    _case(
        "company",
        "folder of none",
        {"company": BY_FOLDER, "companies": ["USMF"]},
        "directly.zip",
        company="",
        outcome="Rejected",
    ),
    _case(
        "companies", "LegalEntities", {"company": {"from": "name"}, "companies": OF_FO}, "usmf_e1.zip", company="USMF"
    ),
    _case(
        "companies",
        "LegalEntities without it",
        {"company": {"from": "name"}, "companies": OF_FO},
        "zzzz_e2.zip",
        company="",
        outcome="Rejected",
    ),
    SettingCase(
        setting="files",
        value="include and exclude in a shared folder",
        imports=(
            {
                "name": "files-first",
                "inputFolder": _SHARED,
                "company": "USMF",
                "dataProject": "files-first",
                "files": {"include": ["shared*"], "exclude": ["*second*", "*none*"]},
            },
            {
                "name": "files-second",
                "inputFolder": _SHARED,
                "company": "USMF",
                "dataProject": "files-second",
                "files": {"include": ["*second*"]},
            },
        ),
        files={
            f"{_SHARED}/{name}": build_package(data_project=name, entity=name)
            for name in ("shared-none.zip", "shared-first.zip", "shared-second.zip")
        },
        missing=lambda stage: (
            whole_run("shared-first.zip", data_project="files-first")(stage)
            or whole_run("shared-second.zip", data_project="files-second")(stage)
            or _stays(f"{_SHARED}/shared-none.zip", "shared-first.zip")(stage)
        ),
    ),
    SettingCase(
        setting="unmatchedFolder",
        value="a folder",
        imports=(
            {
                "name": "unmatched",
                "inputFolder": "unmatched/Input",
                "company": "USMF",
                "files": {"include": ["taken*"]},
                "unmatchedFolder": "unmatched/Others",
            },
        ),
        files={"unmatched/Input/other.zip": build_package(data_project="unmatched", entity="unmatched")},
        missing=_moved_by_the_timer("unmatched/Others", "other.zip"),
        takes_s=300,
    ),
    _case("files", "minimumAgeSeconds", {"files": {"minimumAgeSeconds": 3}}, "aged.zip"),
)
