"""What the simulated F&O says of itself to clients that others wrote, and how it refuses what it does not serve.

Everything here is sent as an HTTP client would send it: the app's own client is not asked.
"""

import json
import uuid
from typing import Final
from xml.etree import ElementTree

import pytest
import requests

from tests.contract.simulated import SimulatedFinanceOperations
from tests.packages import build_package

ACTIONS: Final = "data/DataManagementDefinitionGroups/Microsoft.Dynamics.DataEntities"
EDM: Final = "{http://docs.oasis-open.org/odata/ns/edm}"
ENUM: Final = "Microsoft.Dynamics.DataEntities.DMFExecutionSummaryStatus"


@pytest.fixture
def execution_id(fno: SimulatedFinanceOperations) -> str:
    """An import that is executing."""
    place = json.loads(_act(fno, "GetAzureWriteUrl", uniqueFileName=f"{uuid.uuid4()}.zip").json()["value"])["BlobUrl"]
    requests.put(place, data=build_package(), headers={"x-ms-blob-type": "BlockBlob"}, timeout=30).raise_for_status()
    execution_id = f"contract-{uuid.uuid4().hex}"
    answer = _act(
        fno,
        "ImportFromPackage",
        packageUrl=place,
        definitionGroupId=execution_id,
        executionId=execution_id,
        execute=True,
        overwrite=True,
        legalEntityId="USMF",
    )
    assert answer.json()["value"] == execution_id, answer.text
    return execution_id


def _schema(fno: SimulatedFinanceOperations) -> ElementTree.Element:
    answer = fno.call("GET", "data/$metadata")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/xml"
    (schema,) = ElementTree.fromstring(answer.content).iter(f"{EDM}Schema")
    assert schema.get("Namespace") == "Microsoft.Dynamics.DataEntities"
    return schema


def _act(fno: SimulatedFinanceOperations, action: str, **body: object) -> requests.Response:
    return fno.call("POST", f"{ACTIONS}.{action}", json=body)


@pytest.mark.parametrize(("as_string", "context"), [(False, ENUM), (True, "Edm.String")], ids=["enum", "as documented"])
def test_the_context_of_a_status_names_its_type(
    fno: SimulatedFinanceOperations, execution_id: str, as_string: bool, context: str
) -> None:
    fno.simulator.change(status_as_string=as_string)

    answer = _act(fno, "GetExecutionSummaryStatus", executionId=execution_id)

    assert answer.json()["@odata.context"] == f"{fno.simulator.url}/data/$metadata#{context}"
    assert answer.json()["value"] == "Executing"


def test_the_app_reads_a_status_under_either_context(fno: SimulatedFinanceOperations, execution_id: str) -> None:
    client = fno.client()
    by_enum = client.execution_status(execution_id)

    fno.simulator.change(status_as_string=True)

    assert client.execution_status(execution_id) == by_enum


def test_the_metadata_names_the_entity_set_and_every_action_with_its_parameters(
    fno: SimulatedFinanceOperations,
) -> None:
    schema = _schema(fno)

    sets = {each.get("Name"): each.get("EntityType") for each in schema.iter(f"{EDM}EntitySet")}
    assert sets["DataManagementDefinitionGroups"] == "Microsoft.Dynamics.DataEntities.DataManagementDefinitionGroup"
    actions = {
        str(action.get("Name")): [each.get("Name") for each in action.iter(f"{EDM}Parameter")]
        for action in schema.iter(f"{EDM}Action")
    }
    assert actions["ImportFromPackage"] == [
        "DataManagementDefinitionGroup",
        "packageUrl",
        "definitionGroupId",
        "execute",
        "overwrite",
        "legalEntityId",
        "executionId",
    ]
    assert {"GetAzureWriteUrl", "ExportToPackage", "GetExecutionSummaryStatus", "GetExecutionErrors"} <= actions.keys()


def test_every_action_of_the_metadata_is_there(fno: SimulatedFinanceOperations) -> None:
    actions = [str(each.get("Name")) for each in _schema(fno).iter(f"{EDM}Action")]

    statuses = {action: _act(fno, action, no_such_parameter=1).status_code for action in actions}

    assert set(statuses.values()) == {400}  # refused for their body, which is read only where there is such an action
    fno.simulator.forget_violations()


def test_the_metadata_declares_the_status_as_an_enum(fno: SimulatedFinanceOperations) -> None:
    schema = _schema(fno)

    (members,) = [
        [member.get("Name") for member in each]
        for each in schema.iter(f"{EDM}EnumType")
        if each.get("Name") == "DMFExecutionSummaryStatus"
    ]
    assert members == ["Unknown", "NotRun", "Executing", "Succeeded", "PartiallySucceeded", "Failed", "Canceled"]
    (returned,) = [
        each.find(f"{EDM}ReturnType")
        for each in schema.iter(f"{EDM}Action")
        if each.get("Name") == "GetExecutionSummaryStatus"
    ]
    assert returned is not None
    assert returned.get("Type") == ENUM


def test_the_metadata_is_for_those_who_are_let_in(fno: SimulatedFinanceOperations) -> None:
    fno.simulator.change(registered_apps=("another app",))

    assert fno.call("GET", "data/$metadata").status_code == 403


@pytest.mark.parametrize("action", ["ExportToPackagePreview", "GetMessageStatus", "ResetVersionToken"])
def test_an_action_that_is_not_served_is_refused_in_words_and_is_no_mistake_of_the_client(
    fno: SimulatedFinanceOperations, action: str
) -> None:
    answer = _act(fno, action)

    assert answer.status_code == 501
    assert f"does not serve {action}" in answer.json()["error"]["innererror"]["message"]


def test_an_action_that_fo_does_not_have_stays_unknown(fno: SimulatedFinanceOperations) -> None:
    assert _act(fno, "ImportPackage").status_code == 404
    fno.simulator.forget_violations()
