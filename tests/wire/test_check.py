"""The check can fail: each kind of wrong call and of wrong answer is seen, and right ones pass."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from local_cloud import wire_tap
from local_cloud.faults import Fault, FaultPlan, status
from local_cloud.onedrive import OneDriveSimulator
from local_cloud.tokens import TokenDesk
from shared.clients.http.client import USER_AGENT
from tests.wire import tap
from tests.wire.check import endpoints_for, named, wrong_with_answer, wrong_with_request
from tests.wire.endpoints import Request
from tests.wire.tap import Wire

ROOT = Path(__file__).resolve().parents[2]
ITEM = "/v1.0/drives/b!abc/items/01FILE"
ACTIONS = "/data/DataManagementDefinitionGroups/Microsoft.Dynamics.DataEntities."
JSON = {"authorization": "Bearer t", "content-type": "application/json"}
SUBSCRIPTION = {
    "changeType": "updated",
    "notificationUrl": "https://app.azurewebsites.net/api/notify?code=k",
    "resource": "/drives/b!abc/root",
    "expirationDateTime": "2026-10-20T11:00:00Z",
    "clientState": "s",
    "latestSupportedTlsVersion": "v1_2",
}
MAIL = {
    "message": {
        "subject": "s",
        "body": {"contentType": "Text", "content": "t"},
        "toRecipients": [{"emailAddress": {"address": "ops@contoso.com"}}],
    },
    "saveToSentItems": False,
}
IMPORT = {
    "packageUrl": "https://account.blob.core.windows.net/dmf/x.zip?sig=s",
    "definitionGroupId": "Customers",
    "executionId": "id-1",
    "execute": True,
    "overwrite": True,
    "legalEntityId": "USMF",
}


def a_request(
    method: str, target: str, *, headers: Mapping[str, str] | None = None, body: object = None, add: Any = None
) -> Request:
    return Request(method=method, target=target, headers={**(headers or {}), **(add or {})}, body=body)


def chunk(first: int, last: int, size: int, *, length: int | None = None) -> Request:
    headers = {
        "content-range": f"bytes {first}-{last}/{size}",
        "content-length": str(last - first + 1 if length is None else length),
        "content-type": "application/octet-stream",
    }
    return a_request("PUT", "/upload?tempauth=x", headers=headers)


BEARER = {"authorization": "Bearer t"}
RIGHT: dict[str, Request] = {
    "get drive": a_request("GET", "/v1.0/me/drive", headers=BEARER),
    "list children": a_request("GET", f"{ITEM}/children?$top=200&$skiptoken=a%2bB%3D~", headers=BEARER),
    "get item": a_request("GET", "/v1.0/users/ann@contoso.com/drive/items/01FILE", headers=BEARER),
    "get item by path": a_request("GET", "/v1.0/drives/b!abc/root:/Inbound/In%23put", headers=BEARER),
    "create folder": a_request(
        "POST",
        f"{ITEM}/children",
        headers=JSON,
        body={"name": "Input", "folder": {}, "@microsoft.graph.conflictBehavior": "fail"},
    ),
    "move item": a_request(
        "PATCH",
        ITEM,
        headers={**JSON, "if-match": '"{A},1"'},
        body={"parentReference": {"id": "01TO"}, "name": "a.zip"},
    ),
    "delete item": a_request("DELETE", ITEM, headers={**BEARER, "content-length": "0"}),
    "upload file": a_request(
        "PUT",
        f"{ITEM}:/a%20b.csv:/content?@microsoft.graph.conflictBehavior=replace",
        headers={**BEARER, "content-type": "application/octet-stream", "content-length": "3"},
    ),
    "create upload session": a_request(
        "POST",
        f"{ITEM}:/a%20b.zip:/createUploadSession",
        headers=JSON,
        body={"item": {"@microsoft.graph.conflictBehavior": "fail", "name": "a b.zip", "fileSize": 5}},
    ),
    "upload chunk": chunk(0, 327679, 1_000_000),
    "get upload session": a_request("GET", "/upload?tempauth=x"),
    "cancel upload session": a_request("DELETE", "/upload?tempauth=x"),
    "download": a_request("GET", "/download?tempauth=x", headers={"range": "bytes=0-99"}),
    "create subscription": a_request("POST", "/v1.0/subscriptions", headers=JSON, body=SUBSCRIPTION),
    "renew subscription": a_request(
        "PATCH", "/v1.0/subscriptions/7f10", headers=JSON, body={"expirationDateTime": "2026-10-20T11:00:00Z"}
    ),
    "delete subscription": a_request("DELETE", "/v1.0/subscriptions/7f10", headers=BEARER),
    "list subscriptions": a_request("GET", "/v1.0/subscriptions", headers=BEARER),
    "send mail": a_request("POST", "/v1.0/users/ops@contoso.com/sendMail", headers=JSON, body=MAIL),
    "GetAzureWriteUrl": a_request("POST", f"{ACTIONS}GetAzureWriteUrl", headers=JSON, body={"uniqueFileName": "x"}),
    "ImportFromPackage": a_request("POST", f"/namespaces/AXSF{ACTIONS}ImportFromPackage", headers=JSON, body=IMPORT),
    "ExportToPackage": a_request(
        "POST",
        f"{ACTIONS}ExportToPackage",
        headers=JSON,
        body={
            "definitionGroupId": "Out",
            "packageName": "out",
            "executionId": "id-2",
            "reExecute": False,
            "legalEntityId": "USMF",
        },
    ),
    "DataManagementExecutionJobDetails": a_request(
        "GET",
        "/data/DataManagementExecutionJobDetails?$filter=JobId%20eq%20%27id-1%27&$select=EntityName,StagingStatus",
        headers=BEARER,
    ),
}


def complaints(operation: str, request: Request) -> list[str]:
    return wrong_with_request(request, named(operation))[1]


@pytest.mark.parametrize("operation", RIGHT)
def test_a_call_as_the_reference_describes_it_is_right(operation: str) -> None:
    assert complaints(operation, RIGHT[operation]) == []


def but(operation: str, **changes: Any) -> tuple[str, Request]:
    """Return a right call with something changed: header=..., without=a header, body=..., more=a field, target=..."""
    request = RIGHT[operation]
    headers = {**request.headers, **changes.get("header", {})}
    headers.pop(changes.get("without", ""), None)
    body = changes.get("body", request.body)
    if "more" in changes:
        assert isinstance(body, dict)
        body = {**body, **changes["more"]}
    if "less" in changes:
        assert isinstance(body, dict)
        body = {name: value for name, value in body.items() if name != changes["less"]}
    request = replace(request, headers=headers, body=body, target=changes.get("target", request.target))
    return operation, replace(request, method=changes.get("method", request.method))


WRONG: dict[str, tuple[tuple[str, Request], str]] = {
    "an endpoint that there is not": (but("get item", target="/v1.0/drives/b!abc/things/1"), "is not GET"),
    "a version that is not ours": (but("get item", target="/beta/drives/b!abc/items/01"), "is not GET"),
    "another method": (but("move item", method="PUT"), "is not PATCH"),
    "a name that is not encoded": (
        but("upload file", target=f"{ITEM}:/a/b.csv:/content?@microsoft.graph.conflictBehavior=fail"),
        "is not PUT",
    ),
    "an unknown query option": (but("list children", target=f"{ITEM}/children?$filter=x"), "$filter is not known"),
    "a wrong query option": (but("list children", target=f"{ITEM}/children?$top=all"), "not digits"),
    "a missing query option": (
        but("DataManagementExecutionJobDetails", target="/data/DataManagementExecutionJobDetails"),
        "$filter is missing",
    ),
    "a condition on something else": (
        but("DataManagementExecutionJobDetails", target="/data/DataManagementExecutionJobDetails?$filter=X%20eq%201"),
        "is not JobId eq",
    ),
    "a column that there is not": (
        but(
            "DataManagementExecutionJobDetails",
            target="/data/DataManagementExecutionJobDetails?$filter=JobId%20eq%20%27a%27&$select=Rows",
        ),
        "names Rows",
    ),
    "no token": (but("get item", without="authorization"), "Authorization is missing"),
    "a token of another kind": (but("get item", header={"authorization": "Basic x"}), "not 'Bearer'"),
    "a token on a download": (but("download", header=BEARER), "must not see one"),
    "a token on an upload": (but("upload chunk", header=BEARER), "must not see one"),
    "an unknown header": (but("get item", header={"x-debug": "1"}), "x-debug is not known"),
    "the id header of another service": (
        but("GetAzureWriteUrl", header={"client-request-id": "1"}),
        "client-request-id is not known",
    ),
    "an eTag without its quotes": (but("move item", header={"if-match": "{A},1"}), "if-match is"),
    "JSON that is not called so": (but("move item", header={"content-type": "text/plain"}), "content-type is"),
    "JSON that is not called anything": (but("move item", without="content-type"), "content-type is missing"),
    "an unknown field": (but("create subscription", more={"secret": "x"}), "secret is not known"),
    "an unknown field deep inside": (
        but("move item", body={"parentReference": {"id": "1", "folder": "x"}}),
        "parentReference.folder is not known",
    ),
    "a missing field": (but("create subscription", less="notificationUrl"), "notificationUrl is missing"),
    "a wrong type": (but("ImportFromPackage", more={"overwrite": "true"}), "not true or false"),
    "a wrong type in a list": (
        but("send mail", body={"message": {**MAIL["message"], "toRecipients": ["ops@contoso.com"]}}),  # type: ignore[dict-item]  # a mapping
        "toRecipients[0] is",
    ),
    "a word that is none of those": (
        but("create folder", more={"@microsoft.graph.conflictBehavior": "overwrite"}),
        'not "fail" or "replace" or "rename"',
    ),
    "a time without its offset": (
        but("renew subscription", body={"expirationDateTime": "2026-10-20T11:00:00"}),
        "not date, time and offset",
    ),
    "a text that is too long": (but("create subscription", more={"clientState": "x" * 129}), "at most 128"),
    "a company that is too long": (but("ImportFromPackage", more={"legalEntityId": "CONTOSO"}), "1 to 4 characters"),
    "a kind of change that drives do not have": (
        but("create subscription", more={"changeType": "created"}),
        '"updated"',
    ),
    "a file that is watched": (but("create subscription", more={"resource": "/drives/b!abc/items"}), "is no folder"),
    "a move to the alias of the root": (
        but("move item", body={"parentReference": {"id": "root"}}),
        'the alias "root"',
    ),
    "an upload under two names": (
        but("create upload session", body={"item": {"name": "other.zip"}}),
        "the path names 'a b.zip'",
    ),
    "an export that is repeated under a new id": (
        but("ExportToPackage", more={"reExecute": True}),
        "reExecute is true",
    ),
    "no body": (but("move item", body=None, header={"content-length": "0"}), "the body is missing"),
    "a body where none is due": (but("delete item", header={"content-length": "2"}), "none is due"),
    "a chunk without its range": (but("upload chunk", without="content-range"), "content-range is missing"),
    "a chunk without its length": (but("upload chunk", without="content-length"), "content-length is missing"),
    "a chunk of another length": (("upload chunk", chunk(0, 327679, 1_000_000, length=5)), "is not that of"),
    "a chunk that is no multiple": (("upload chunk", chunk(0, 99, 1_000_000)), "no multiple of 320 KiB"),
    "a chunk that is too large": (
        ("upload chunk", chunk(0, 60 * 1024 * 1024 - 1, 100 * 1024 * 1024)),
        "not smaller than 60 MiB",
    ),
    "a chunk beyond the end": (("upload chunk", chunk(0, 327680, 327680)), "no part of the file"),
    "a range that is no range": (but("download", header={"range": "0-99"}), "range is"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_call_that_the_reference_does_not_know_is_wrong(what: str) -> None:
    (operation, request), complaint = WRONG[what]

    assert complaint in "; ".join(complaints(operation, request))


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        (
            {"grant_type": "client_credentials", "client_id": "a", "scope": "https://graph.microsoft.com/.default"},
            "neither",
        ),
        (
            {
                "grant_type": "client_credentials",
                "client_id": "a",
                "scope": "https://graph.microsoft.com/.default",
                "client_assertion": "x",
            },
            "go together",
        ),
        (
            {
                "grant_type": "client_credentials",
                "client_id": "a",
                "scope": "Files.ReadWrite.All",
                "client_secret": "s",
            },
            "not one .default scope",
        ),
        ({"grant_type": "refresh_token", "client_id": "a"}, "refresh_token is missing"),
    ],
)
def test_a_wrong_form_for_a_token_is_seen(form: dict[str, str], complaint: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    request = a_request("POST", "/contoso.com/oauth2/v2.0/token", headers=headers, body=form)

    _, wrong = wrong_with_request(request, endpoints_for("entra", "POST", request.path))

    assert complaint in "; ".join(wrong)


def test_a_request_for_a_managed_identity_without_its_secret_is_seen() -> None:
    target = "/msi/token?api-version=2019-08-01&resource=https://graph.microsoft.com"

    _, wrong = wrong_with_request(a_request("GET", target), endpoints_for("entra", "GET", "/msi/token"))

    assert wrong == ["the header X-IDENTITY-HEADER is missing"]


# Answers

ANSWER_TYPE = "application/json; charset=utf-8"
ERROR = {"error": {"code": "itemNotFound", "message": "no"}}


@pytest.mark.parametrize(
    ("operation", "code", "body"),
    [
        ("get item", 200, {"id": "1", "name": "a", "size": 1, "file": {"hashes": {"quickXorHash": "x"}}}),
        ("get item", 404, ERROR),
        ("delete item", 204, None),
        ("create folder", 201, None),  # observed
        ("ExportToPackage", 200, {"@odata.context": "https://x.y/data/$metadata#Edm.String", "value": "id"}),
        ("ExportToPackage", 200, {"@odata.context": "https://x.y/data/$metadata#Edm.String", "value": {"value": "id"}}),
        ("ExportToPackage", 404, {"Message": "No HTTP resource was found"}),
        ("ExportToPackage", 401, None),
    ],
)
def test_an_answer_as_the_reference_describes_it_is_right(operation: str, code: int, body: object) -> None:
    text = None if body is None else json.dumps(body)

    assert wrong_with_answer(code, ANSWER_TYPE, text, named(operation))[1] == []


@pytest.mark.parametrize(
    ("operation", "code", "body", "complaint"),
    [
        ("get item", 201, {"id": "1"}, "201 is not documented for get item"),
        ("get item", 409, ERROR, "409 is not documented for get item"),
        ("move item", 202, None, "202 is not documented for move item"),
        ("get item", 200, {"name": "a"}, "id is missing"),
        ("get item", 200, {"id": "1", "hash": "x"}, "hash is not known"),
        ("get item", 200, {"id": "1", "size": "5"}, "size is '5', not whole number"),
        ("get item", 200, None, "200 has no JSON body"),
        ("list children", 200, {"value": [{"id": "1"}, {"id": 2}]}, "value[1].id is 2"),
        ("delete item", 204, {"id": "1"}, "204 has a body"),
        ("get item", 404, {"message": "no"}, "error is missing"),
        ("GetExecutionSummaryStatus", 200, {"@odata.context": "https://x.y/", "value": "Done"}, "value is 'Done'"),
        ("GetExecutionSummaryStatus", 400, {"errors": []}, "is not known"),
        ("list subscriptions", 200, {"value": [{"clientState": "s"}]}, "clientState is 's', not null"),
    ],
)
def test_an_answer_that_the_reference_does_not_know_is_wrong(
    operation: str, code: int, body: object, complaint: str
) -> None:
    text = None if body is None else json.dumps(body)

    assert complaint in "; ".join(wrong_with_answer(code, ANSWER_TYPE, text, named(operation))[1])


# The taps


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """What is seen during this test, judged apart from the run's own."""
    wire = Wire()
    monkeypatch.setattr(wire_tap, "listeners", [wire.judge_exchange])
    monkeypatch.setattr(tap, "WIRE", wire)
    return wire


@pytest.fixture
def faults() -> FaultPlan:
    return FaultPlan()


@pytest.fixture
def onedrive(tmp_path: Path, faults: FaultPlan) -> Iterator[OneDriveSimulator]:
    with OneDriveSimulator(tmp_path / "drive", TokenDesk(), faults) as onedrive:
        yield onedrive


def ask(onedrive: OneDriveSimulator, path: str, *, agent: str = USER_AGENT) -> None:
    requests.get(f"{onedrive.graph_url}{path}", headers={"User-Agent": agent, "Accept": "*/*"}, timeout=60)


def test_a_wrong_call_of_the_app_is_seen_where_it_comes_in(wire: Wire, onedrive: OneDriveSimulator) -> None:
    ask(onedrive, "/v1.0/me/drive?$top=5")

    [found] = wire.take_violations()
    assert "graph: GET /v1.0/me/drive?$top=5" in found
    assert "the query option $top is not known" in found
    assert "the header Authorization is missing" in found
    assert wire.take_violations() == []


def test_what_workers_have_seen_is_put_together(wire: Wire, onedrive: OneDriveSimulator) -> None:
    ask(onedrive, "/v1.0/me/drive?$top=5")
    of_all = Wire()

    for _ in range(2):
        of_all.merge(wire.as_json())

    assert of_all.seen() == wire.seen()
    assert of_all.answered == 2 * wire.answered
    assert sum(of_all.arrived.values()) == 2 * sum(wire.arrived.values()) > 0
    assert of_all.take_violations() == 2 * wire.take_violations() != []


def test_what_others_ask_of_a_simulator_is_their_own_business(wire: Wire, onedrive: OneDriveSimulator) -> None:
    ask(onedrive, "/v1.0/me/drive?$top=5", agent="rclone/1.75")

    assert wire.take_violations() == []
    assert wire.answered == 1


def test_a_call_that_a_planned_fault_answers_is_seen_and_its_answer_is_not_judged(
    wire: Wire, onedrive: OneDriveSimulator, faults: FaultPlan
) -> None:
    faults.add(Fault("graph", "GET", "drive", do=status(418)))

    ask(onedrive, "/v1.0/me/drive")

    [found] = wire.take_violations()
    assert "the header Authorization is missing" in found
    assert "418 is not documented" not in found
    assert wire.answered == 0


def test_a_wrong_answer_of_a_simulator_is_seen(
    wire: Wire, onedrive: OneDriveSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local_cloud.onedrive.shapes.Shapes.drive", lambda _self, **_options: {"id": "b!x"})
    api = onedrive._api
    assert api is not None
    token = api._desk.issue(onedrive.graph_url, app_id="app")

    requests.get(
        f"{onedrive.graph_url}/v1.0/drives/{onedrive.drive_id}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )

    [found] = wire.take_violations()
    assert "the simulator's answer: driveType is missing" in found


def test_a_test_fails_whose_client_sends_what_the_reference_does_not_know(tmp_path: Path) -> None:
    test = tmp_path / "test_wrong.py"
    test.write_text(
        "from shared.clients.http.client import Http\n"
        "from shared.clients.graph.subscriptions import Subscriptions\n"
        "from shared.errors import AppError\n"
        "def test_it():\n"
        "    http = Http(service='Microsoft Graph', token=None, request_id_header='request-id')\n"
        "    try:\n"
        "        Subscriptions('http://127.0.0.1:9/v1.0', http).list()\n"
        "    except AppError:\n"
        "        pass\n"
        "    http.close()\n",
        "utf-8",
    )

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.wire.tap", "-p", "no:cacheprovider", str(test)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1, ended.stdout
    assert "operation 'list subscriptions': GET /v1.0/subscriptions" in ended.stdout
    assert "the header Authorization is missing" in ended.stdout
    assert "1 passed, 1 error" in ended.stdout
