"""Trouble that no file can cure fails no file: no answer of this suite, to any call, is taken for a file's fault."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from local_cloud.faults import Action
from shared.clients.blobs.read import open_blob, open_package, read_small
from shared.clients.fno.client import FinanceOperations
from shared.clients.graph.onedrive import OneDrive
from shared.clients.graph.upload import UploadSession
from shared.clients.http.client import Http
from shared.errors import AppError, FileRejected
from shared.secret import SecretUrl
from tests.flows.trouble import of_fo, of_graph, ran
from tests.hostile.answers import TABLES, AnswerTable, in_body
from tests.unit.clients.answering import Answer, AnsweringServer

LARGE: Final = 1024 * 1024  # bytes; a larger answer is tried with its own status only

# Parameters of tests with answers that are no answers themselves, and what they are.
NO_ANSWERS: Final = {"packed": "how one endless body comes", "url": "what is asked for"}


# What is known to be said of things that all files meet.
TROUBLE: AnswerTable[object] = AnswerTable(
    "trouble of all files",
    lambda body: in_body(body, status=400),
    {
        "a model state": of_fo("InvokeAction - Model state is invalid."),
        "a firewall's page": b"<html><title>Request Rejected</title></html>",
        "a firewall's words": b"The requested URL was rejected. Please consult with your administrator.",
        "a sign-in page": b"<!DOCTYPE html><html><body>Sign in to your account</body></html>",
        "an action that broke": ran("Object reference not set to an instance of an object."),
        "no data project": ran(
            "A data project must exist before importing a package consisting of a composite data entity."
        ),
        "a composite entity with overwrite": ran("A DataTable named 'X' already belongs to this DataSet."),
        "no overwrite": ran("The data project 'X' exists and overwrite has not been specified."),
        "a deadlock": ran("Deadlock, where one or more users have simultaneously locked the table."),
        "a lock of Excel files": ran("DMF2039: An Excel file lock could not be obtained."),
        "a service out of reach": ran("DMF042: The Data management service is unreachable."),
        "blob storage that says no": ran("The remote server returned an error: (403) Forbidden."),
        "a full transaction log": ran("DMF2035: The transaction log is full."),
        "a label that two entities have": ran("DMF1966: mismatch of mapped columns and the file."),
        "no right to an entity": ran("The user is not authorized to import the entity Currencies."),
        "a staging table that is missing": ran("The staging table of the entity Currencies does not exist."),
        "a required column": of_graph("invalidRequest", "List data validation failed."),
        "a required column, sent": of_graph("invalidRequest", "One of the provided arguments is not acceptable."),
        "a name, in words only": of_graph("invalidRequest", "The provided name cannot contain any illegal characters."),
        "a hold": of_graph("accessDenied", "it's possible that it's on hold"),
        "a library that wants check-out": of_graph("notAllowed", "The file must be checked out first."),
        "a full drive": of_graph("quotaLimitReached", "Insufficient Space Available"),
        "too large a file": of_graph("maxFileSizeExceeded", "Max file size exceeded."),
        "an archived site": of_graph("resourceLocked", "The resource you are attempting to access is locked."),
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """Every client that can say that a file is at fault, all of them before one server."""

    server: AnsweringServer
    fo: FinanceOperations
    drive: OneDrive
    plain: Http

    def answer_always(self, answer: Answer) -> None:
        self.server.handler = lambda _: answer

    @property
    def url(self) -> SecretUrl:
        return SecretUrl(f"{self.server.url}/x?tempauth=known")

    def upload(self) -> UploadSession:
        return UploadSession(self.plain, self.url, name="USMF_x.zip", size_bytes=5)

    def start(self) -> object:
        return self.fo.import_from_package(
            package_url=self.url, data_project="Assets", execution_id="x-1", legal_entity="USMF"
        )

    def export(self) -> object:
        ids = {"data_project": "Assets", "execution_id": "x-1", "legal_entity": "USMF"}
        return self.fo.export_to_package(package_name="x", **ids)

    def read_package(self) -> object:
        with open_package(self.url, 5, self.plain) as opened:
            return opened.file.read()

    def move(self) -> object:
        return self.drive.move("01FILE", to_folder_id="01TO", name="USMF_x.zip", etag='"{E},1"')


CALLS: Final[Mapping[str, Callable[[Clients], object]]] = {
    "ImportFromPackage": Clients.start,
    "ExportToPackage": Clients.export,
    "GetAzureWriteUrl": lambda them: them.fo.get_azure_write_url("x.zip"),
    "GetExecutionSummaryStatus": lambda them: them.fo.execution_status("x-1"),
    "GetExecutionErrors": lambda them: them.fo.execution_errors("x-1"),
    "job details": lambda them: them.fo.job_details("x-1"),
    "get drive": lambda them: them.drive.ask_drive_id(),
    "list files": lambda them: list(them.drive.list_files("01INPUT")),
    "ensure folder": lambda them: them.drive.ensure_folder("Input"),
    "get item": lambda them: them.drive.get("01FILE"),
    "move item": Clients.move,
    "delete item": lambda them: them.drive.delete("01FILE"),
    "upload file": lambda them: them.drive.upload_small("01TO", "USMF_x.zip.report.txt", b"x", replace=True),
    "create upload session": lambda them: them.drive.open_upload("01TO", "USMF_x.zip", 5),
    "upload chunk": lambda them: them.upload().put(0, b"12345"),
    "download a package": Clients.read_package,
    "download a small file": lambda them: read_small(them.url, them.plain, 100),
    "open a blob": lambda them: open_blob(them.url).close(),
}


@pytest.fixture(scope="module")
def clients(server: AnsweringServer, fo: FinanceOperations, drive: OneDrive, downloads: Http) -> Clients:
    return Clients(server=server, fo=fo, drive=drive, plain=downloads)


# Made when the other modules of the suite have been imported, so that theirs are here as well.
MODULES: Final = [
    importlib.import_module(f"tests.hostile.{path.stem}")
    for path in sorted(Path(__file__).parent.glob("test_*.py"))
    if path.stem != Path(__file__).stem
]
STATUSES: Final = (400, 403, 500)
ENTRIES: Final = [(table, name) for table in TABLES for name in table]


def shown(value: object) -> str:
    return value.title if isinstance(value, AnswerTable) else str(value)[:40]


@pytest.mark.quick(cases=30)
@pytest.mark.parametrize(("table", "name"), ENTRIES, ids=shown)
def test_an_answer_that_is_not_about_the_file_fails_no_file(
    table: AnswerTable[Any], name: str, clients: Clients
) -> None:
    blames_no_file(table.answer(name), clients)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        # CI takes one other status for each answer, in turn.
        pytest.param(number, status, marks=[] if number % len(STATUSES) == turn else [pytest.mark.extended])
        for number in range(len(ENTRIES))
        for turn, status in enumerate(STATUSES)
    ],
)
@pytest.mark.quick(cases=10)
def test_nor_does_it_with_another_status(number: int, status: int, clients: Clients) -> None:
    table, name = ENTRIES[number]
    own = table.answer(name)
    if len(own.body) <= LARGE and own.content_length is None:
        blames_no_file(replace(own, status=status), clients)


def blames_no_file(answer: Answer, clients: Clients) -> None:
    clients.answer_always(answer)
    blamed = {call: said for call in CALLS if (said := said_against_the_file(call, clients))}
    assert blamed == {}, f"answered with {answer.status}"


def said_against_the_file(call: str, clients: Clients) -> str:
    """Return why a call fails the file, "" if it does not."""
    try:
        CALLS[call](clients)
    except AppError as error:
        return str(error) if isinstance(error, FileRejected) else ""
    return ""


ABOUT_THE_FILE: Final[Mapping[str, tuple[str, Answer]]] = {
    "no package": ("ImportFromPackage", in_body(ran("Could not find file 'PackageHeader.xml'"), status=500)),
    "malware": ("move item", in_body(of_graph("malwareDetected", "The file is infected"), status=403)),
}


@pytest.mark.parametrize("name", ABOUT_THE_FILE)
def test_an_answer_that_is_about_the_file_fails_it(name: str, clients: Clients) -> None:
    call, answer = ABOUT_THE_FILE[name]
    clients.answer_always(answer)

    assert said_against_the_file(call, clients)


def test_every_answer_of_the_suite_stands_in_a_table_that_is_tried() -> None:
    used = [(where, names, values) for module in MODULES for where, names, values in answers_in(module)]

    assert [where for where, names, values in used if names not in NO_ANSWERS and values not in TABLES] == []
    assert {"no place to upload to", "refusals", "odd items", "what F&O goes on from"} <= {
        table.title for table in TABLES
    }


def answers_in(module: Any) -> Iterator[tuple[str, str, object]]:
    """Yield where a test of the module takes answers from: test, names of the parameters, their values."""
    for name, test in inspect.getmembers(module, inspect.isfunction):
        for mark in getattr(test, "pytestmark", []):
            if name.startswith("test_") and mark.name == "parametrize":
                names, values = mark.args
                if "answers" in inspect.signature(test).parameters or holds_answers(values):
                    yield f"{module.__name__}::{name}", names, values


def holds_answers(value: object) -> bool:
    match value:
        case Action() | Answer() | AnswerTable():
            return True
        case dict():
            return any(holds_answers(each) for each in value.values())
        case list() | tuple():
            return any(holds_answers(each) for each in value)
    return False
