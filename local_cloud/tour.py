"""The tour, shown live: what rules for imports do, scene by scene, in one app with one configuration.

Each scene puts files into OneDrive, waits for what is to be seen, and says what was seen. If the end of a scene does
not come, that is said, and the tour exits with 1.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from local_cloud.cloud import LocalCloud
from local_cloud.demo import LOOK_S, Screen, log_writer, own_folder, show_log
from local_cloud.finance_operations.knobs import Speed
from local_cloud.finance_operations.packages import EntityData, write_package
from local_cloud.functions_host.flex.options import FlexOptions

PATIENCE_S: Final = 120.0  # of one scene: what nothing else wakes, the minute's timer finds
DRAINED_S: Final = 4.0  # for so long it is seen that a file stays in Input
FUNCTION_KEY: Final = "demo"

CONFIGURATION: Final[dict[str, Any]] = {
    "imports": [
        {
            "name": "customers",
            "inputFolder": "Customers/Input",
            "company": {"from": "folder"},
            "companies": ["USMF", "DEMF"],
            "dataProject": "Customers {company}",
        },
        {
            "name": "invoices",
            "inputFolder": "Invoices/Input",
            "dataProject": "Invoices",
            "order": {"after": ["customers"]},
        },
        {"name": "ledger", "inputFolder": "Ledger/Input", "dataProject": "Ledger", "strictOrder": True},
    ]
}

type Record = dict[str, Any]


class SceneFailed(Exception):
    """What was to be seen did not come; the text says what."""


@dataclass(slots=True)
class Tour:
    """The cloud, and what a scene does in it and sees of it."""

    cloud: LocalCloud
    screen: Screen
    seen: list[dict[str, Any]] = field(default_factory=list)

    def put(self, path: str, content: bytes) -> None:
        """Copy a file into the drive; it shows up there whole."""
        there = self.cloud.folder / path
        there.parent.mkdir(parents=True, exist_ok=True)
        waiting = self.cloud.home / there.name
        waiting.write_bytes(content)
        waiting.replace(there)
        self.screen.progress(f"put      {path}")

    def act(self, verb: str, **parameters: str) -> None:
        """Do what a button of the pages does."""
        request = urllib.request.Request(
            f"{self.cloud.host_url}/api/actions/{verb}",
            data=json.dumps({"by": "the tour", **parameters}).encode(),
            headers={"Content-Type": "application/json", "x-functions-key": FUNCTION_KEY},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                said = json.loads(answer.read())["said"]
        except urllib.error.HTTPError as error:
            raise SceneFailed(f"the action {verb} was answered with HTTP {error.code}") from error
        self.screen.progress(f"{verb:<8} {said}")

    def run_of(self, name: str, *, number: int = 0) -> Record | None:
        """Return the run of a file, if it has one; of several with that name, the one that was opened then."""
        found = [run for run in self.cloud.runs() if run["file"]["name"] == name]
        found = list({run["run_id"]: run for run in found}.values())
        found.sort(key=lambda run: str(run["opened"]))
        return found[number] if number < len(found) else None

    def address_of(self, run: Record) -> str:
        """Return the address that the app gives a run in its list."""
        request = urllib.request.Request(
            f"{self.cloud.host_url}/api/runs.json?text={run['run_id']}", headers={"x-functions-key": FUNCTION_KEY}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            listed = json.loads(answer.read())
        return next(str(each["address"]) for each in _objects(listed) if each.get("run_id") == run["run_id"])

    def ended(self, name: str, where: str, *, number: int = 0) -> Record:
        """Wait until the run of a file has ended and the file is in a folder; say so, and return the run."""

        def look() -> Record | None:
            run = self.run_of(name, number=number)
            return run if run and run["ended"] else None

        run = self.wait(f"the end of {name}", look)
        found = str(run["file"]["folder"]).strip("/")
        text = f"{run['outcome']:<9} {name} is in {found}"
        self.screen.progress(text + (f": {run['reason']}" if run["reason"] else ""))
        if found != where:
            raise SceneFailed(f"{name} is in {found} and not in {where}")
        return run

    def wait[Seen](self, what: str, look: Callable[[], Seen | None]) -> Seen:
        """Look again until there is something to see. Raises SceneFailed if it does not come."""
        deadline = time.monotonic() + PATIENCE_S
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise SceneFailed(f"{what} did not come within {PATIENCE_S:.0f} seconds")
            time.sleep(LOOK_S)
        return seen


def run(*, as_json: bool, flex: FlexOptions | None = None) -> int:
    """Show the tour; return 0 only if every scene ended as it should."""
    screen = Screen(as_json=as_json)
    with own_folder() as home:
        screen.line("Starting")
        cloud = LocalCloud(
            home,
            app_settings={"INTEGRATIONS": json.dumps(CONFIGURATION), "POLL_FIRST_SECONDS": "1"},
            speed=Speed(seconds_per_execution=1.0, not_found_s=0.1, not_run_s=0.1),
            function_key=FUNCTION_KEY,
            say=screen.progress,
            on_log=log_writer(home / "host.log", screen),
            flex=flex,
        )
        with cloud:
            cloud.run_function("keep_watch")  # what the minute's timer does: make folders, subscribe to changes
            tour = Tour(cloud, screen)
            for scene in SCENES:  # also after one that failed
                _show(tour, scene)
            ok = all(each["ok"] for each in tour.seen)
        if not ok:
            show_log(home / "host.log", screen)
    screen.event("summary", ok=ok, scenes=tour.seen)
    screen.line(f"\n{'Every scene ended as it should.' if ok else 'Not every scene ended as it should.'}")
    return 0 if ok else 1


def _objects(content: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects in JSON."""
    if isinstance(content, dict):
        yield content
    for each in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _objects(each)


def _show(tour: Tour, scene: Callable[[Tour], None]) -> None:
    title = " ".join((scene.__doc__ or "").split())
    tour.screen.line(f"\n{title}\n")
    wrong = ""
    began = time.monotonic()
    try:
        scene(tour)
    except SceneFailed as failed:
        wrong = str(failed)
        tour.screen.line(f"  FAIL: {wrong}")
    seconds = round(time.monotonic() - began, 1)
    tour.seen.append({"scene": scene.__name__, "ok": not wrong, "seconds": seconds, "wrong": wrong})
    tour.screen.event("scene", scene=scene.__name__, title=title, ok=not wrong, seconds=seconds, wrong=wrong)


def _package(project: str, *rows: tuple[str, str]) -> bytes:
    columns = ("ID", "NAME")
    entity = EntityData(
        name=project,
        source_format="CSV",
        fields=columns,
        rows=tuple(dict(zip(columns, row, strict=True)) for row in rows),
    )
    return write_package(project, [entity])


INVOICE: Final = _package("Invoices", ("1", "Rent"))


def sub_folders_and_after(tour: Tour) -> None:
    """Companies by sub-folder: Input/USMF goes into USMF, and invoices wait until all customers are done."""
    tour.put("Invoices/Input/USMF_Invoices_1.zip", INVOICE)
    tour.put("Customers/Input/USMF/Customers_1.zip", _package("Customers", ("1", "Contoso")))
    tour.put("Customers/Input/DEMF/Customers_2.zip", _package("Customers", ("2", "Fabrikam")))
    tour.put("Customers/Input/Customers_3.zip", _package("Customers", ("3", "Nobody's")))
    customers = [
        tour.ended("Customers_1.zip", "Customers/Success/USMF"),
        tour.ended("Customers_2.zip", "Customers/Success/DEMF"),
    ]
    tour.ended("Customers_3.zip", "Customers/Error")
    invoice = tour.ended("USMF_Invoices_1.zip", "Invoices/Success")
    if [each["company"] for each in customers] != ["USMF", "DEMF"]:
        raise SceneFailed("a file went into another company")
    submitted = min(str(each["chosen"]) for each in invoice["submissions"])
    if submitted < max(str(each["ended"]) for each in customers):
        raise SceneFailed("the invoices did not wait for the customers")


def strict_order(tour: Tour) -> None:
    """Strict order: a file that fails stops its lane until a person has put it right; then it goes first."""
    tour.put("Ledger/Input/USMF_Ledger_1.zip", _package("Ledger", ("1", "#ERROR in this row")))
    tour.wait("a run of USMF_Ledger_1.zip", lambda: tour.run_of("USMF_Ledger_1.zip"))
    tour.put("Ledger/Input/USMF_Ledger_2.zip", _package("Ledger", ("2", "Second")))
    failed = tour.ended("USMF_Ledger_1.zip", "Ledger/Error")
    tour.put("Ledger/Input/USMF_Ledger_1.zip", _package("Ledger", ("1", "Put right")))
    mended = tour.wait("a run of the mended file", lambda: tour.run_of("USMF_Ledger_1.zip", number=1))
    second = tour.run_of("USMF_Ledger_2.zip")
    if mended["state"] != "found" or second is None or second["state"] != "found":
        raise SceneFailed("a file passed the one that had failed")
    tour.act("skip", run=tour.address_of(failed), why="the mended file is there")
    first = tour.ended("USMF_Ledger_1.zip", "Ledger/Success", number=1)
    last = tour.ended("USMF_Ledger_2.zip", "Ledger/Success")
    if str(first["ended"]) > str(last["ended"]):
        raise SceneFailed("the mended file did not go first")


def row_counts(tour: Tour) -> None:
    """Counts: what F&O did with each entity's rows is kept with the run."""
    name = "USMF_Invoices_2.zip"
    tour.put(f"Invoices/Input/{name}", _package("Invoices", ("1", "Rent of May"), ("2", "Power"), ("3", "Water")))
    run = tour.ended(name, "Invoices/Success")
    for each in run.get("counts", ()):
        tour.screen.progress(f"counts   {each['entity']}: {each['created']} created, {each['updated']} updated")
    if [(each["created"], each["updated"]) for each in run.get("counts", ())] != [(2, 1)]:
        raise SceneFailed(f"the counts are {run.get('counts')}")


def same_content_again(tour: Tour) -> None:
    """The same content again: it is imported, and a person is told which run had it first."""
    tour.put("Invoices/Input/USMF_Invoices_1_copy.zip", INVOICE)
    run = tour.ended("USMF_Invoices_1_copy.zip", "Invoices/Success")
    first = run.get("first_import") or {}
    tour.screen.progress(f"warning  the same content as {first.get('file_name', 'nothing')}")
    if first.get("file_name") != "USMF_Invoices_1.zip":
        raise SceneFailed("nobody was told that the content was imported before")


def drain(tour: Tour) -> None:
    """Drain, before an update of F&O: nothing new is begun until a person ends it."""
    tour.act("drain", why="an update of F&O")
    name = "USMF_Invoices_3.zip"
    tour.put(f"Invoices/Input/{name}", _package("Invoices", ("4", "Phone")))
    time.sleep(DRAINED_S)
    if not (tour.cloud.folder / "Invoices" / "Input" / name).is_file():
        raise SceneFailed(f"{name} was taken up during the drain")
    tour.screen.progress(f"waits    {name} is in Input after {DRAINED_S:.0f} seconds")
    tour.act("end-drain")
    tour.act("look-now")  # as a person would who does not want to wait for the timer
    tour.ended(name, "Invoices/Success")


SCENES: Final = (sub_folders_and_after, strict_order, row_counts, same_content_again, drain)
