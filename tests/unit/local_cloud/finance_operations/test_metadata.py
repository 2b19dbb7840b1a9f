"""What the simulated F&O says of itself to clients that others wrote, and how it refuses what it does not serve."""

from typing import Final
from xml.etree import ElementTree

import pytest

from local_cloud.finance_operations import FinanceOperationsSimulator
from tests.unit.local_cloud.finance_operations.conftest import Caller

EDM: Final = "{http://docs.oasis-open.org/odata/ns/edm}"
ENUM: Final = "Microsoft.Dynamics.DataEntities.DMFExecutionSummaryStatus"


def schema_of(caller: Caller) -> ElementTree.Element:
    answered = caller.get("/data/$metadata")
    assert (answered.status_code, answered.headers["Content-Type"]) == (200, "application/xml")
    (schema,) = ElementTree.fromstring(answered.content).iter(f"{EDM}Schema")
    assert schema.get("Namespace") == "Microsoft.Dynamics.DataEntities"
    return schema


@pytest.mark.parametrize(("as_string", "context"), [(False, ENUM), (True, "Edm.String")], ids=["enum", "as documented"])
def test_the_context_of_a_status_names_its_type(
    caller: Caller, simulator: FinanceOperationsSimulator, as_string: bool, context: str
) -> None:
    simulator.change(status_as_string=as_string)
    caller.import_package()

    answered = caller.act("GetExecutionSummaryStatus", executionId="run-1").json()

    assert (answered["@odata.context"], answered["value"]) == (f"{simulator.url}/data/$metadata#{context}", "Executing")


def test_the_metadata_names_the_entity_set_and_every_action_with_its_parameters(caller: Caller) -> None:
    schema = schema_of(caller)

    sets = {each.get("Name"): each.get("EntityType") for each in schema.iter(f"{EDM}EntitySet")}
    assert sets["DataManagementDefinitionGroups"] == "Microsoft.Dynamics.DataEntities.DataManagementDefinitionGroup"
    actions = {
        str(action.get("Name")): [each.get("Name") for each in action.iter(f"{EDM}Parameter")]
        for action in schema.iter(f"{EDM}Action")
    }
    assert actions["ImportFromPackage"] == [
        *("DataManagementDefinitionGroup", "packageUrl", "definitionGroupId", "execute", "overwrite"),
        *("legalEntityId", "executionId"),
    ]
    # Refused for their body, which is read only where there is such an action.
    assert {caller.act(action, no_such_parameter=1).status_code for action in actions} == {400}


def test_the_metadata_declares_the_status_as_an_enum(caller: Caller) -> None:
    schema = schema_of(caller)

    enums = {each.get("Name"): [member.get("Name") for member in each] for each in schema.iter(f"{EDM}EnumType")}
    assert enums["DMFExecutionSummaryStatus"] == [
        *("Unknown", "NotRun", "Executing", "Succeeded", "PartiallySucceeded", "Failed", "Canceled")
    ]
    returned = {each.get("Name"): each.find(f"{EDM}ReturnType") for each in schema.iter(f"{EDM}Action")}
    status = returned["GetExecutionSummaryStatus"]
    assert status is not None
    assert status.get("Type") == ENUM


@pytest.mark.parametrize("action", ["ExportToPackagePreview", "GetMessageStatus", "ResetVersionToken"])
def test_an_action_that_is_not_served_is_refused_in_words_and_is_no_mistake_of_the_client(
    caller: Caller, simulator: FinanceOperationsSimulator, action: str
) -> None:
    answered = caller.act(action)

    assert answered.status_code == 501
    assert f"does not serve {action}" in answered.json()["error"]["innererror"]["message"]
    assert simulator.violations == []
