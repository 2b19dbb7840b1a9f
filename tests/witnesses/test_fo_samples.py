"""What others have seen F&O answer, held against what the simulated F&O answers to the same request.

The samples in tests/samples/fo were written down for the app's client, each with where it was seen. Compared is the
shape: status, headers, envelope, names and kinds of values; ids, addresses and texts differ from run to run.
"""

import asyncio
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from aiohttp import web

from local_cloud.faults import FaultPlan
from local_cloud.finance_operations import Behaviour, FinanceOperationsSimulator, Speed
from local_cloud.finance_operations.executions import Status
from local_cloud.server import Server, answer
from local_cloud.tokens import TokenDesk
from tests.closed_port import closed_port
from tests.fo_samples import FoSample, fo_samples
from tests.packages import Entity, build_package
from tests.witnesses.clients import SAMPLES as CLIENT
from tests.witnesses.conftest import APP_ID

pytestmark = pytest.mark.witness(CLIENT.name)

DOCUMENTED = Behaviour(status_as_string=True)  # as the published answers are

TIMEOUT_S: Final = 60  # costs nothing when all is well
EXECUTION_ID: Final = "usmf-20260105T081500-4f3c2a1b"  # of every sample
ENTITY: Final = "Fixed asset major type"
ACTION_PATH: Final = "/data/DataManagementDefinitionGroups/Microsoft.Dynamics.DataEntities."


@dataclass(slots=True)
class Stage:
    """A simulated F&O, what is to be asked of it, and how others are asked before."""

    simulator: FinanceOperationsSimulator
    session: requests.Session
    method: str
    path: str
    body: dict[str, Any]
    faults: FaultPlan
    closing: ExitStack
    expects_violation: bool = False

    def act(self, action: str, **parameters: Any) -> requests.Response:
        return self.session.post(f"{self.simulator.url}{ACTION_PATH}{action}", json=parameters, timeout=TIMEOUT_S)

    def uploaded(self, package: bytes) -> str:
        said = json.loads(self.act("GetAzureWriteUrl", uniqueFileName=f"{uuid.uuid4()}.zip").json()["value"])
        headers = {"x-ms-blob-type": "BlockBlob"}
        assert requests.put(said["BlobUrl"], data=package, headers=headers, timeout=TIMEOUT_S).status_code == 201
        return str(said["BlobUrl"])

    def imported(self, package: bytes | None = None, **other: Any) -> None:
        """Have imported, under the sample's execution id, what is still executing."""
        defaults = {
            "definitionGroupId": "Asset-Major-Types",
            "executionId": EXECUTION_ID,
            "execute": True,
            "overwrite": True,
            "legalEntityId": "USMF",
        }
        url = self.uploaded(package or build_package())
        answered = self.act("ImportFromPackage", packageUrl=url, **defaults | other)
        assert answered.status_code == 200, answered.text

    def ended(self, package: bytes | None = None, outcome: Status | None = None, **other: Any) -> None:
        """Have imported what has ended by now."""
        self.imported(package, **other)
        self.end(outcome, str(other.get("executionId", EXECUTION_ID)))

    def end(self, outcome: Status | None = None, execution_id: str = EXECUTION_ID) -> None:
        assert self.simulator.end_now(execution_id, outcome)

    def exported(self) -> None:
        self.ended(executionId="before", definitionGroupId="Customers-Out")
        body = {"packageName": "x", "executionId": EXECUTION_ID, "reExecute": False, "legalEntityId": "USMF"}
        assert self.act("ExportToPackage", definitionGroupId="Customers-Out", **body).status_code == 200

    def ask(self) -> requests.Response:
        body = self.body if self.method == "POST" else None
        return self.session.request(self.method, f"{self.simulator.url}{self.path}", json=body, timeout=TIMEOUT_S)


type Situation = Callable[[Stage], None]


def nothing(_stage: Stage) -> None:
    """The environment is as new."""


def with_package(package: bytes, *, also: Situation = nothing, **body: Any) -> Situation:
    """Return: the sample's request is about this package."""

    def prepare(stage: Stage) -> None:
        also(stage)
        stage.body |= {"packageUrl": stage.uploaded(package), **body}

    return prepare


def knobs(also: Situation = nothing, **turned: Any) -> Situation:
    """Return: the simulator behaves so."""

    def prepare(stage: Stage) -> None:
        also(stage)  # first, because it reads answers itself
        stage.simulator.change(**turned)

    return prepare


def imported_where(**turned: Any) -> Situation:
    """Return: an import has been submitted to an environment that behaves so."""

    def prepare(stage: Stage) -> None:
        stage.simulator.change(**turned)
        stage.imported()

    return prepare


def two_entities(stage: Stage) -> None:
    stage.imported(build_package(entities=[Entity(name=ENTITY), Entity(name="Customers V3")]))


def end_as(outcome: Status) -> Situation:
    return lambda stage: stage.ended(outcome=outcome)


def with_failed_rows(stage: Stage) -> None:
    stage.ended(build_package(rows=[("A", "Alpha"), ("B", "#ERROR"), ("C", "#ERROR")]))


def with_failed_staging(stage: Stage) -> None:
    stage.ended(build_package(rows=[("A", "Alpha"), ("B", "x" * 1000)]))


def with_error_keys(stage: Stage) -> None:
    with_failed_rows(stage)
    stage.act("GenerateImportTargetErrorKeysFile", executionId=EXECUTION_ID, entityName=ENTITY)


def ready_to_export(stage: Stage) -> None:
    stage.ended(executionId="before", definitionGroupId="Customers-Out")


def re_executed(stage: Stage) -> None:
    ready_to_export(stage)
    stage.body |= {"reExecute": True}


def export_of_what_runs(stage: Stage) -> None:
    stage.imported(executionId="before", definitionGroupId="Customers-Out")


def package_ready(stage: Stage) -> None:
    stage.exported()
    stage.end()


def old_platform(stage: Stage) -> None:
    """There is no such action: the wiki's name of one serves for it."""
    stage.path = f"{ACTION_PATH}GetAzureUrl"
    stage.expects_violation = True


def import_meanwhile(stage: Stage) -> None:
    """Another import is reading its package while this one is asked for."""
    reading, over = threading.Event(), threading.Event()

    async def be_slow(_request: web.Request) -> web.Response:
        reading.set()
        await asyncio.to_thread(over.wait, TIMEOUT_S)
        return answer(404)

    app = web.Application()
    app.router.add_get("/package.zip", be_slow)
    slow = stage.closing.enter_context(Server(app))
    stage.body |= {"packageUrl": stage.uploaded(build_package())}
    other = stage.body | {"packageUrl": f"{slow.url}/package.zip", "definitionGroupId": "Other", "executionId": "other"}
    thread = threading.Thread(target=stage.act, args=("ImportFromPackage",), kwargs=other)
    thread.start()
    stage.closing.callback(thread.join)
    stage.closing.callback(over.set)
    assert reading.wait(TIMEOUT_S)


def key_of_another_blob(stage: Stage) -> None:
    """The SAS does not open the blob, as one that has expired does not."""
    one, other = stage.uploaded(build_package()), stage.uploaded(build_package())
    stage.body |= {"packageUrl": f"{one.partition('?')[0]}?{other.partition('?')[2]}"}


def key_of_a_storage_that_is_down(stage: Stage) -> None:
    """Nobody listens where the package lies."""
    with closed_port() as port:
        stage.body |= {"packageUrl": f"http://127.0.0.1:{port}/account/dmf/package.zip?sig=key"}


GOOD: Final = build_package()
NOT_UNICODE: Final = build_package(
    entities=[Entity(name="Currencies", source_format="CSV-Unicode", content=b"MAJORTYPEID,DESCRIPTION\r\n")]
)

# How each case comes about: by sample and name.
SITUATIONS: Final[Mapping[str, Mapping[str, Situation]]] = {
    "DataManagementExecutionJobDetails": {"two entities": two_entities, "unknown id": nothing},
    "ExportToPackage": {
        "started": ready_to_export,
        "started, nested": knobs(ready_to_export, nested_values=True),
        "refused": re_executed,
        "project is running": export_of_what_runs,
    },
    "GenerateImportTargetErrorKeysFile": {"errors": with_failed_rows, "none": end_as(Status.SUCCEEDED)},
    "GetAzureWriteUrl": {
        "json in a string": nothing,
        "object": knobs(write_url_as_object=True),
        "json in a nested string": knobs(nested_values=True),
        "no such action": old_platform,
        "refused": lambda stage: stage.body.update(uniqueFileName=""),
    },
    "GetExecutionErrors": {
        "none": end_as(Status.SUCCEEDED),
        "two rows": with_failed_rows,
        "broken json": knobs(with_failed_rows, malformed_errors=True),
        "not found": nothing,
    },
    "GetExecutionSummaryPageUrl": {"page": Stage.imported},
    "GetExecutionSummaryStatus": {
        "Unknown": imported_where(unknown_s=3600.0),
        "NotRun": imported_where(not_run_s=3600.0),
        "Executing": Stage.imported,
        "Succeeded": end_as(Status.SUCCEEDED),
        "PartiallySucceeded": with_failed_rows,
        "Failed": end_as(Status.FAILED),
        "Canceled": end_as(Status.CANCELED),
        "nested": knobs(Stage.imported, nested_values=True),
        "not found": nothing,
    },
    "GetExportedPackageUrl": {
        "ready": package_ready,
        "ready, nested": knobs(package_ready, nested_values=True),
        "not ready": Stage.exported,
    },
    "GetImportStagingErrorFileUrl": {"ready": with_failed_staging, "none": end_as(Status.SUCCEEDED)},
    "GetImportTargetErrorKeysFileUrl": {"ready": with_error_keys, "not ready": with_failed_rows},
    "ImportFromPackage": {
        "started": with_package(GOOD),
        "started, nested": knobs(with_package(GOOD), nested_values=True),
        "project exists": with_package(GOOD, also=lambda stage: stage.ended(executionId="before"), overwrite=False),
        "no package header": with_package(build_package(replace={"PackageHeader.xml": None})),
        "folder in the zip": with_package(build_package(folder="Package/")),
        "unknown entity": knobs(with_package(build_package(entity="Currencies2")), entities=(ENTITY,)),
        "wrong company": with_package(GOOD, legalEntityId="XXXX"),
        "xml format": with_package(build_package(replace={"Manifest.xml": b"<Data"})),
        "not unicode": with_package(NOT_UNICODE),
        "deadlock": import_meanwhile,
        "project is running": with_package(GOOD, also=lambda stage: stage.imported(executionId="before")),
        "id exists": with_package(GOOD, also=Stage.ended),
        "package url expired": key_of_another_blob,
        "package storage unreachable": key_of_a_storage_that_is_down,
        "composite needs project": knobs(with_package(GOOD), composite_entities=(ENTITY,)),
        "excel lock": knobs(with_package(GOOD), refuse_starts="DMF2039: An Excel file lock could not be obtained."),
    },
}

# Cases that the simulator does not bring about, and why.
BY_FAULT_PLAN: Final = "comes from what stands before F&O: tests use the fault plan for it"
MADE_UP: Final = "nobody has seen it: it holds the client's tolerance"
ON_PREMISES: Final = "the simulated environment is a cloud one"
ONE_OF_MANY: Final = "one more refusal of parallel imports, of which the simulator has the best documented"
NOT_BROUGHT_ABOUT: Final[Mapping[str, Mapping[str, str]]] = {
    "ExportToPackage": {"no id": "only what Microsoft's Logic App guards against; nobody has seen it"},
    "GetAzureWriteUrl": {"no url": MADE_UP},
    "GetExecutionSummaryStatus": {
        "number": MADE_UP,
        "new word": MADE_UP,
        "not found, on-premises": ON_PREMISES,
        "not told why": MADE_UP,
        "throttled": BY_FAULT_PLAN,
    },
    "GetExportedPackageUrl": {"null": MADE_UP},
    "ImportFromPackage": {
        "no id": MADE_UP,
        "not told why": MADE_UP,
        "not json": BY_FAULT_PLAN,
        "model state": BY_FAULT_PLAN,
        "bare server error, on-premises": ON_PREMISES,
        "record already exists": ONE_OF_MANY,
        "cannot edit a record": ONE_OF_MANY,
        "record has never been selected": ONE_OF_MANY,
        "box api": ONE_OF_MANY,
        "deadlock, on-premises": ON_PREMISES,
        "project exists, on-premises": ON_PREMISES,
        "database timeout": MADE_UP,
        "gateway error": BY_FAULT_PLAN,
        "server error without words": MADE_UP,
        "unavailable": BY_FAULT_PLAN,
        "throttled": BY_FAULT_PLAN,
        "throttled, no time given": BY_FAULT_PLAN,
        "not mapped": BY_FAULT_PLAN,
        "redirect to sign-in": BY_FAULT_PLAN,
    },
}

# Words of F&O that others have quoted, so that they are the same here.
QUOTED: Final = frozenset(
    {
        ("ExportToPackage", "refused"),
        ("ImportFromPackage", "project exists"),
        ("ImportFromPackage", "no package header"),
        ("ImportFromPackage", "composite needs project"),
        ("ImportFromPackage", "unknown entity"),
        ("ImportFromPackage", "not unicode"),
    }
)


REPLAYED: Final = [each for each in fo_samples() if each.name in SITUATIONS[each.action]]


@pytest.fixture
def stage(azurite_connection: str) -> Iterator[Stage]:
    desk, faults = TokenDesk(), FaultPlan()
    speed = Speed(seconds_per_execution=3600)  # a test ends an execution when it wants to
    with (
        FinanceOperationsSimulator(azurite_connection, desk, faults, speed=speed, behaviour=DOCUMENTED) as simulator,
        requests.Session() as session,
        ExitStack() as closing,
    ):
        session.headers["Authorization"] = f"Bearer {desk.issue(simulator.audience, app_id=APP_ID)}"
        stage = Stage(simulator, session, "", "", {}, faults, closing)
        yield stage
        assert bool(simulator.violations) is stage.expects_violation


@pytest.mark.parametrize("sample", REPLAYED, ids=lambda sample: f"{sample.action}: {sample.name}")
def test_the_simulator_answers_as_others_have_seen_fno_answer(stage: Stage, sample: FoSample) -> None:
    stage.method, stage.path = sample.request["method"], sample.request["path"]
    stage.body = dict(sample.request["body"] or {})
    SITUATIONS[sample.action][sample.name](stage)

    answered = stage.ask()

    assert answered.status_code == sample.answer["status"], answered.text
    assert headers_of(answered.headers) >= headers_of(sample.answer["headers"])
    assert shape(answered.json()) == shape(sample.answer["body"])
    if sample.name in list(Status):
        assert answered.json()["value"] == sample.answer["body"]["value"]
    if (sample.action, sample.name) in QUOTED:
        assert words(answered.json()) == words(sample.answer["body"])


def test_every_sample_is_replayed_or_says_why_it_is_not() -> None:
    known = {(each.action, each.name) for each in fo_samples()}
    replayed = {(action, name) for action, cases in SITUATIONS.items() for name in cases}
    excused = {(action, name) for action, cases in NOT_BROUGHT_ABOUT.items() for name in cases}

    assert replayed | excused == known
    assert replayed & excused == set()


def headers_of(headers: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return what of an answer's headers can be compared: names, and values where they say something of the format."""
    found: set[tuple[str, str]] = set()
    for name, value in headers.items():
        match name.lower():
            case "content-type":
                kind, *parameters = (part.strip() for part in value.split(";"))
                found.add(("content-type", kind))
                found |= {("content-type", each) for each in parameters if each.startswith("odata.metadata")}
            case "odata-version":
                found.add(("odata-version", value))
            case "ms-dyn-aid":
                found.add(("ms-dyn-aid", "guid" if re.fullmatch(r"[0-9a-f-]{36}", value) else value))
    return found


def shape(value: object) -> object:
    """Return what stays the same of an answer from run to run."""
    match value:
        case {"@odata.context": str(context), **rest}:
            fragment = context.partition("$metadata")[2].partition("(")[0]
            return {"@odata.context": fragment, **{name: shape(each) for name, each in rest.items()}}
        case dict():
            return {name: shape(each) for name, each in value.items()}
        case list():
            return merged([shape(each) for each in value])
        case str():
            return shape_of_text(value)
    return type(value).__name__


def merged(shapes: list[object]) -> object:
    """Return the shapes of a list's members as one: some records have less to show than others of their set."""
    one: dict[str, object] = {}
    for each in shapes:
        if not isinstance(each, dict):
            return [each]
        one |= {name: part for name, part in each.items() if part != "nothing" or name not in one}
    return [one] if one else []


def shape_of_text(text: str) -> object:
    if text == EXECUTION_ID:
        return text
    if text.startswith("http"):
        query = parse_qs(urlsplit(text).query)
        return ("address with a key", *sorted(query.keys() - {"st"})) if "sig" in query else "address"
    if text[:1] in ("{", "["):
        try:
            return ("json", shape(json.loads(text)))
        except ValueError:
            return ("not quite json", sorted(set(re.findall(r'"(RecordId|Field|ErrorMessage)":"', text))))
    return "text" if text else "nothing"


def words(body: Any) -> str:
    """Return a refusal's words, without the names that F&O makes up."""
    message = body["error"]["innererror"]["message"]
    return re.sub(r"\\TEMP\\[\w-]+\\", r"\\TEMP\\…\\", message)
