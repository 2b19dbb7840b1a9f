"""Who may call, and what the answers look like: envelopes, headers, refusals and the knobs that vary them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from local_cloud.faults import Fault, FaultPlan, status
from local_cloud.finance_operations import SERVICE, FinanceOperationsSimulator
from local_cloud.tokens import TokenDesk
from tests.packages import build_package
from tests.unit.local_cloud.finance_operations.conftest import APP_ID, TIMEOUT_S, Caller, HandClock, reason

ACTION = "/data/DataManagementDefinitionGroups/Microsoft.Dynamics.DataEntities."


def test_the_write_url_allows_reading_and_writing_one_blob_for_half_an_hour(caller: Caller) -> None:
    began = datetime.now(UTC)

    said = json.loads(caller.value("GetAzureWriteUrl", uniqueFileName="a name.zip"))

    assert set(said) == {"BlobId", "BlobUrl"}
    assert (said["BlobId"][0], said["BlobId"][-1], len(said["BlobId"])) == ("{", "}", 38)
    address = urlsplit(said["BlobUrl"])
    query = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert address.path.endswith("/dmf/a%20name.zip")
    assert (query["sp"], query["sr"], query["sv"]) == ("rw", "b", "2014-02-14")
    starts, expires = (datetime.fromisoformat(query[name]) for name in ("st", "se"))
    assert timedelta(minutes=29) < expires - began < timedelta(minutes=31)
    assert expires - starts == timedelta(minutes=35)


@pytest.mark.parametrize("version", ["2014-02-14", "2019-12-12", "2024-11-04"])
def test_the_storage_takes_a_write_url_of_any_age(
    caller: Caller, simulator: FinanceOperationsSimulator, version: str
) -> None:
    simulator.change(sas_version=version)

    url = caller.upload(b"content")

    assert f"sv={version}" in url
    assert caller.download(url) == b"content"


def test_a_write_url_can_come_as_an_object(caller: Caller, simulator: FinanceOperationsSimulator) -> None:
    simulator.change(write_url_as_object=True)

    assert caller.value("GetAzureWriteUrl", uniqueFileName="x")["BlobUrl"].startswith("http")


def test_values_can_be_nested(caller: Caller, simulator: FinanceOperationsSimulator) -> None:
    url = caller.upload(build_package())
    simulator.change(nested_values=True)

    assert caller.import_url(url).json()["value"] == {"value": "run-1"}
    assert caller.value("GetExecutionSummaryStatus", executionId="run-1") == {"value": "Executing"}


def test_every_answer_can_be_traced(caller: Caller) -> None:
    good, bad = caller.act("GetAzureWriteUrl", uniqueFileName="x"), caller.act("GetAzureWriteUrl")

    for answered in (good, bad):
        assert len(answered.headers["ms-dyn-aid"]) == 36
        assert answered.headers["OData-Version"] == "4.0"
        assert answered.headers["Content-Type"] == "application/json; odata.metadata=minimal"
    assert good.headers["ms-dyn-aid"] != bad.headers["ms-dyn-aid"]


def test_a_refusal_hides_its_reason_in_the_inner_error(caller: Caller) -> None:
    error = caller.import_package(b"no zip").json()["error"]

    assert error["code"] == ""
    assert error["message"] == "An error has occurred."
    assert error["innererror"]["type"] == "System.InvalidOperationException"
    assert error["innererror"]["message"].startswith(
        "Exception occurred while executing action ImportFromPackage on Entity DataManagementDefinitionGroup: Could not"
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "missing in the request payload. The missing parameters are: executionId."),
        ({"executionId": "x", "executionid": "x"}, "The parameter 'executionid' in the request payload is not a valid"),
        ({"executionId": 7}, "Cannot convert the literal '7' to the expected type 'Edm.String'"),
        ([], "not a JSON object"),
    ],
)
def test_parameters_must_be_exactly_those_that_are_declared(
    caller: Caller, simulator: FinanceOperationsSimulator, body: Any, said: str
) -> None:
    assert said in reason(caller.post(f"{ACTION}GetExecutionSummaryStatus", body))
    assert len(simulator.violations) == 1


def test_a_body_must_be_json_and_say_so(caller: Caller, simulator: FinanceOperationsSimulator) -> None:
    url = f"{simulator.url}{ACTION}GetExecutionSummaryStatus"
    for content, kind in ((b'{"executionId": "x"}', "text/plain"), (b"{", "application/json")):
        headers = caller.headers | {"Content-Type": kind}
        assert caller.session.post(url, data=content, headers=headers, timeout=TIMEOUT_S).status_code == 400
    assert len(simulator.violations) == 2


@pytest.mark.parametrize(
    "path",
    [
        f"{ACTION}GetAzureUrl",
        f"{ACTION}ImportPackage",
        "/data/DataManagementDefinitionGroups/GetAzureWriteUrl",
        "/data/LegalEntities/Microsoft.Dynamics.DataEntities.GetAzureWriteUrl",
        "/data/Nothing",
        "/elsewhere",
    ],
)
def test_an_unknown_route_is_refused_as_the_gateway_does(
    caller: Caller, simulator: FinanceOperationsSimulator, path: str
) -> None:
    answered = caller.post(path, {})

    assert answered.status_code == 404
    assert answered.json() == {
        "Message": f"No HTTP resource was found that matches the request URI '{simulator.url}{path}'."
        " No route data was found for this request."
    }
    assert simulator.violations == [f"POST {path}: no such route"]


def test_a_call_without_a_good_token_is_not_let_in(
    caller: Caller, simulator: FinanceOperationsSimulator, desk: TokenDesk
) -> None:
    caller.token = desk.issue("https://graph.microsoft.com", app_id=APP_ID)
    assert caller.act("InitializeDataManagement").status_code == 401
    caller.token = desk.issue(simulator.url, app_id=APP_ID, expires_s=-1)
    assert caller.act("InitializeDataManagement").status_code == 401
    assert simulator.violations == []

    assert caller.session.get(f"{simulator.url}/data/LegalEntities", timeout=TIMEOUT_S).status_code == 401
    assert simulator.violations == ["GET /data/LegalEntities: no Authorization header"]
    caller.token = desk.issue(f"{simulator.url}/", app_id=APP_ID)
    assert caller.act("InitializeDataManagement").status_code == 204


def test_the_client_id_must_be_registered_in_the_environment(
    caller: Caller, simulator: FinanceOperationsSimulator
) -> None:
    simulator.change(registered_apps=["another"])
    assert caller.act("InitializeDataManagement").status_code == 403
    simulator.change(registered_apps=[APP_ID])
    assert caller.act("InitializeDataManagement").status_code == 204


def test_planned_faults_hit_the_environment(caller: Caller, faults: FaultPlan) -> None:
    faults.add(Fault(SERVICE, "POST", "GetAzureWriteUrl", do=status(429, {"Retry-After": "7"})))

    throttled = caller.act("GetAzureWriteUrl", uniqueFileName="x")

    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "7")
    assert caller.act("GetAzureWriteUrl", uniqueFileName="x").status_code == 200


def test_knobs_can_be_turned_over_http(caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock) -> None:
    answered = caller.post("/_control/settings", {"seconds_per_execution": 5, "registered_apps": [APP_ID]})

    assert answered.json()["seconds_per_execution"] == 5
    assert caller.get("/_control/settings").json()["registered_apps"] == [APP_ID]
    caller.import_package()
    clock.pass_by(5)
    assert caller.status() == "Succeeded"


@pytest.mark.parametrize(
    "knobs",
    [
        {"colour": "red"},
        {"seconds_per_execution": "5"},
        {"never_ends": 1},
        {"outcome": "Succeeded"},
        {"legal_entities": "USMF"},
        {"legal_entities": None},
        [],
    ],
)
def test_a_knob_that_does_not_exist_or_does_not_turn_that_far_is_refused(
    caller: Caller, simulator: FinanceOperationsSimulator, knobs: Any
) -> None:
    before = (simulator.speed, simulator.behaviour)

    assert caller.post("/_control/settings", knobs).status_code == 400
    assert (simulator.speed, simulator.behaviour) == before


def test_what_happened_can_be_read_over_http(caller: Caller, clock: HandClock) -> None:
    caller.import_package()
    clock.pass_by(60)

    (execution,) = caller.get("/_control/executions").json()["executions"]
    (effect,) = caller.get("/_control/effects").json()["effects"]

    assert (execution["execution_id"], execution["status"]) == ("run-1", "Succeeded")
    assert (effect["execution_id"], effect["rows"]) == ("run-1", 1)
    assert caller.get("/_control/violations").json() == {"violations": []}
