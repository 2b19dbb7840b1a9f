"""The round trip, shown live: packages travel from OneDrive into F&O, and an export of them comes back.

Everything is real but the clouds: the app runs in the local functions host on Microsoft's Python runtime, over Azurite.
"""

import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local_cloud.cloud import LocalCloud
from local_cloud.finance_operations.knobs import Speed
from local_cloud.finance_operations.packages import EntityData, Package, PackageBroken, read_package, write_package
from local_cloud.functions_host.flex.options import FlexOptions
from local_cloud.functions_host.flex.words import instances_told

# Seconds that one package may take before the demo gives it up.
PATIENCE_S: Final = 180.0
LOOK_S: Final = 0.2

_ENTITY: Final = "Fixed asset major type"
_PROJECT: Final = "Asset-Major-Types"


@dataclass(slots=True)
class Travelling:
    """One package on its way, as far as it was seen."""

    file: str
    expected: str  # the folder where it ought to end
    began: float = field(default_factory=time.monotonic)
    state: str = ""
    where: str = ""
    outcome: str = ""
    reason: str = ""
    company: str = ""
    data_project: str = ""
    ended: bool = False
    seconds: float = 0.0

    @property
    def is_as_expected(self) -> bool:
        """Whether it ended where it should."""
        return self.ended and self.where.strip("/") == self.expected


class Screen:
    """Says what happens: lines for a person, or one JSON object a line for a program."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._began = time.monotonic()

    def progress(self, text: str) -> None:
        """Say what is being done."""
        if self._as_json:
            self.event("progress", text=text)
        else:
            self._print(f"  {time.monotonic() - self._began:5.1f} s  {text}")

    def event(self, name: str, **content: object) -> None:
        """Write one JSON object; nothing for a person."""
        if self._as_json:
            self._print(json.dumps({"event": name, **content}, ensure_ascii=False))

    def moved(self, package: Travelling) -> None:
        """Say that a package is in another state."""
        self.event(
            "state",
            file=package.file,
            state=package.state,
            seconds=round(package.seconds, 2),
            where=package.where,
            outcome=package.outcome,
        )
        if not self._as_json:
            outcome = f"  {package.outcome}" if package.outcome else ""
            self._print(f"  {package.seconds:5.1f} s  {package.file:<34} {package.state:<11} {package.where}{outcome}")

    def instances(self, told: str) -> None:
        """Say which scale groups have instances."""
        self.event("instances", text=told)
        self.line(f"           Instances: {told}")

    def line(self, text: str = "") -> None:
        """Write a line for a person; nothing for a program."""
        if not self._as_json:
            self._print(text)

    def _print(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def run(packages: Sequence[Path], *, as_json: bool, flex: FlexOptions | None = None) -> int:
    """Run the demo; return 0 only if every package ended where it should and the export arrived.

    flex: run the app as Azure Flex Consumption does, and tell which scale groups have instances.
    """
    screen = Screen(as_json=as_json)
    with own_folder() as home:
        files = [(file, "Success") for file in packages] or list(_default_set(home / "packages"))
        export = next(filter(None, (_exported(file) for file, folder in files if folder == "Success")), None)
        screen.line("Starting")
        cloud = LocalCloud(
            home,
            app_settings=_export_settings(export),
            speed=Speed(seconds_per_execution=2.0, not_found_s=0.3, not_run_s=0.3),
            function_key="demo",
            say=screen.progress,
            on_log=log_writer(home / "host.log", screen),
            flex=flex,
        )
        with cloud:
            cloud.run_function("keep_watch")  # what the minute's timer does: subscribe to changes, look
            screen.line(f"\n{copying(len(files), cloud.folder / 'Input')}\n")
            travelling = _travel(cloud, files, screen)
            delivered = _come_back(cloud, export, screen) if _any_succeeded(travelling) else None
            summary = _summary(cloud, travelling, delivered)
        if not summary["ok"]:
            show_log(home / "host.log", screen)
    _show_summary(summary, screen)
    return 0 if summary["ok"] else 1


def copying(count: int, folder: Path) -> str:
    """Return what is said while packages are copied."""
    return f"Copying {'1 package' if count == 1 else f'{count} packages'} into {folder}"


def _travel(cloud: LocalCloud, files: Sequence[tuple[Path, str]], screen: Screen) -> list[Travelling]:
    travelling = {file.name: Travelling(file=file.name, expected=folder) for file, folder in files}
    for file, _ in files:
        cloud.put_into_input(file)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and not all(package.ended for package in travelling.values()):
        for record in cloud.runs():
            package = travelling.get(record["file"]["name"])
            if package and record["flow"] == "import":
                _follow(package, record, screen)
        time.sleep(LOOK_S)
    return list(travelling.values())


def _follow(package: Travelling, record: dict[str, Any], screen: Screen) -> None:
    state = str(record["state"])
    package.company, package.data_project = record["company"], record["data_project"]
    package.outcome, package.reason = record["outcome"] or "", record["reason"]
    package.where = str(record["file"]["folder"])
    package.ended = record["ended"] is not None
    if state != package.state:
        package.state = state
        package.seconds = time.monotonic() - package.began
        screen.moved(package)


def _any_succeeded(travelling: Sequence[Travelling]) -> bool:
    return any(package.outcome == "Succeeded" for package in travelling)


def _come_back(cloud: LocalCloud, export: tuple[str, str] | None, screen: Screen) -> Travelling | None:
    """Run the export of what was imported, until its zip is in the Output folder; None where there is none."""
    if export is None:
        return None
    screen.line("\nExporting what was imported\n")
    cloud.run_function("start_exports")
    package = Travelling(file="", expected="Output")
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and not package.ended:
        for record in cloud.runs():
            if record["flow"] == "export":
                package.file = record["file"]["name"]
                _follow(package, record, screen)
        time.sleep(LOOK_S)
    return package


def _summary(cloud: LocalCloud, travelling: Sequence[Travelling], delivered: Travelling | None) -> dict[str, Any]:
    rows_in_fo, rows_in_export = _rows(cloud, delivered)
    packages = [
        {
            "file": package.file,
            "expected": package.expected,
            "where": package.where,
            "outcome": package.outcome,
            "company": package.company,
            "data_project": package.data_project,
            "seconds": round(package.seconds, 2),
            "reason": package.reason,
            "ok": package.is_as_expected,
        }
        for package in travelling
    ]
    arrived = delivered is not None and delivered.is_as_expected and rows_in_export == rows_in_fo
    is_due = any(package.expected == "Success" for package in travelling)
    return {
        "ok": all(package.is_as_expected for package in travelling) and (arrived or not is_due),
        "packages": packages,
        "export": delivered
        and {
            "file": delivered.file,
            "seconds": round(delivered.seconds, 2),
            "rows_in_fo": rows_in_fo,
            "rows_in_export": rows_in_export,
            "ok": arrived,
        },
        "reports": sorted(file.name for file in (cloud.folder / "Error").iterdir() if file.suffix != ".zip"),
        "imports_in_fo": len(cloud.finance_operations.effects),
    }


def _rows(cloud: LocalCloud, delivered: Travelling | None) -> tuple[int, int]:
    """Return how many rows F&O holds of the exported entities, and how many the exported package holds."""
    if delivered is None or not delivered.ended:
        return 0, 0
    file = cloud.folder / "Output" / delivered.file
    if not file.is_file():
        return 0, 0
    with file.open("rb") as content:
        package = read_package(content)
    in_fo = sum(len(cloud.finance_operations.rows(entity.name, delivered.company)) for entity in package.entities)
    return in_fo, sum(len(entity.rows) for entity in package.entities)


def _show_summary(summary: dict[str, Any], screen: Screen) -> None:
    screen.event("summary", **summary)
    screen.line("\nSummary\n")
    for package in summary["packages"]:
        mark = "ok  " if package["ok"] else "FAIL"
        screen.line(f"  {mark} {package['file']:<34} {package['where']:<9} {package['outcome']}")
        if package["reason"]:
            screen.line(f"       {package['reason']}")
    export = summary["export"]
    if export:
        mark = "ok  " if export["ok"] else "FAIL"
        screen.line(
            f"  {mark} {export['file']:<34} /Output   {export['rows_in_export']} rows, F&O holds {export['rows_in_fo']}"
        )
    if summary["reports"]:
        screen.line(f"\n  Beside the failed files in Error: {', '.join(summary['reports'])}")
    screen.line(f"\n{'All ended where they should.' if summary['ok'] else 'Not everything ended where it should.'}")


def _exported(file: Path) -> tuple[str, str] | None:
    """Return data project and company of a package that can be exported again after its import."""
    try:
        with file.open("rb") as content:
            package: Package = read_package(content)
    except (PackageBroken, zipfile.BadZipFile, OSError):
        return None
    return package.data_project, file.name.partition("_")[0].upper()


def _export_settings(export: tuple[str, str] | None) -> dict[str, str]:
    return {"EXPORT_DATA_PROJECT": export[0], "EXPORT_COMPANY": export[1]} if export else {}


def _default_set(folder: Path) -> Iterator[tuple[Path, str]]:
    """Write one good package, one whose rows partly fail and one that is no package; where each ought to end."""
    folder.mkdir(parents=True, exist_ok=True)
    good = [(f"TYPE{number}", f"Major type {number}") for number in range(1, 8)]
    partly = [("TYPE8", "Major type 8"), ("TYPE9", "#ERROR in this row"), ("", "A row without its key")]
    for name, rows, ends in (
        ("USMF_MajorTypes_001.zip", good, "Success"),
        ("USMF_MajorTypes_002.zip", partly, "Error"),
    ):
        (folder / name).write_bytes(write_package(_PROJECT, [_entity_data(rows)]))
        yield folder / name, ends
    (folder / "USMF_Holiday_003.zip").write_bytes(b"This is no zip at all.")
    yield folder / "USMF_Holiday_003.zip", "Error"


def _entity_data(rows: Sequence[tuple[str, str]]) -> EntityData:
    columns = ("MAJORTYPEID", "DESCRIPTION")
    return EntityData(
        name=_ENTITY,
        source_format="EXCEL",
        fields=columns,
        rows=tuple(dict(zip(columns, row, strict=True)) for row in rows),
    )


@contextmanager
def own_folder() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="onedrive-fo-demo-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def log_writer(file: Path, screen: Screen) -> Callable[[str], None]:
    def write(line: str) -> None:
        with file.open("a", encoding="utf-8") as log:
            log.write(line + os.linesep)
        if told := instances_told(line):
            screen.instances(told)

    return write


def show_log(file: Path, screen: Screen) -> None:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    for line in lines[-60:]:
        screen.event("log", line=line)
        screen.line(f"    {line}")
