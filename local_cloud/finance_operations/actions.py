"""The DMF actions as they look on the wire: names, parameters and the shape of their answers.

https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/data-management-api; names and parameters
that it leaves open are as working clients send them.
"""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from local_cloud.finance_operations.data_management import DataManagement, ExportOrder, ImportOrder
from local_cloud.finance_operations.executions import RowError

type Parameters = Mapping[str, str | bool | int]
type Result = str | bool | list[str] | dict[str, str] | None  # None: 204, no body


class InvalidPayload(Exception):
    """The body does not fit the action's declaration; the text is OData's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an action, checked against its declaration."""

    management: DataManagement
    base_url: str  # of this environment, without a slash at the end
    parameters: Parameters

    def text(self, name: str) -> str:
        return str(self.parameters.get(name, ""))

    def yes(self, name: str) -> bool:
        return bool(self.parameters[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Declares an action and does it."""

    run: Callable[[Call], Result]
    required: Mapping[str, type] = field(default_factory=dict)
    optional: Mapping[str, type] = field(default_factory=dict)
    returns: str = "Edm.String"  # "": nothing

    def checked(self, name: str, payload: object) -> Parameters:
        """Return the parameters in a request's body; null counts as not given, or as "". Raises InvalidPayload."""
        if not isinstance(payload, dict):
            raise InvalidPayload("The payload of the action is not a JSON object.")
        declared = {**self.required, **self.optional}
        # The words of Microsoft.OData.Core's ODataParameterReader.
        for given in payload:
            if given not in declared:
                raise InvalidPayload(
                    f"The parameter '{given}' in the request payload is not a valid parameter "
                    f"for the operation '{name}'."
                )
        if missing := [each for each in self.required if each not in payload]:
            raise InvalidPayload(
                f"One or more parameters of the operation '{name}' are missing in the request payload. "
                f"The missing parameters are: {','.join(missing)}."
            )
        return {given: _converted(given, value, declared[given]) for given, value in payload.items()}


def _converted(name: str, value: object, kind: type) -> str | bool | int:
    if value is None and kind is str:
        return ""
    if type(value) is not kind:
        edm = {str: "Edm.String", bool: "Edm.Boolean", int: "Edm.Int32"}[kind]
        raise InvalidPayload(
            f"Cannot convert the literal '{json.dumps(value)}' to the expected type '{edm}'. Parameter: {name}."
        )
    assert isinstance(value, str | bool | int)
    return value


def _write_url(call: Call) -> Result:
    said = {
        "BlobId": f"{{{str(uuid.uuid4()).upper()}}}",
        "BlobUrl": call.management.write_url(call.text("uniqueFileName")),
    }
    return said if call.management.behaviour.write_url_as_object else json.dumps(said)


def _import_order(call: Call) -> ImportOrder:
    return ImportOrder(
        package_url=call.text("packageUrl"),
        data_project=call.text("definitionGroupId"),
        execution_id=call.text("executionId"),
        execute=call.yes("execute"),
        overwrite=call.yes("overwrite"),
        company=call.text("legalEntityId"),
    )


def _export(call: Call) -> Result:
    return call.management.export_package(
        ExportOrder(
            data_project=call.text("definitionGroupId"),
            package_name=call.text("packageName"),
            execution_id=call.text("executionId"),
            re_execute=call.yes("reExecute"),
            company=call.text("legalEntityId"),
        )
    )


def _page_url(call: Call) -> Result:
    execution_id = call.text("executionId")
    company = call.management.company_of(execution_id)
    # Assumed: the menu item and its parameter; F&O's own are not documented.
    return f"{call.base_url}/?cmp={company}&mi=DMFExecutionHistoryWorkspace&executionId={quote(execution_id)}"


def _errors(call: Call) -> Result:
    errors = call.management.execution_errors(call.text("executionId"))
    return _malformed(errors) if call.management.behaviour.malformed_errors else _well_formed(errors)


def _well_formed(errors: Sequence[RowError]) -> str:
    rows = [{"RecordId": each.record_id, "Field": each.field, "ErrorMessage": each.message} for each in errors]
    return json.dumps(rows, separators=(",", ":"))


def _malformed(errors: Sequence[RowError]) -> str:
    """Write them as F&O was measured to do: nothing inside the texts is escaped."""
    rows = (
        f'{{"RecordId":"{each.record_id}","Field":"{each.field}","ErrorMessage":"{each.message}"}}' for each in errors
    )
    return f"[{','.join(rows)}]"


def _delete_history(call: Call) -> Result:
    call.management.delete_history(call.text("executionId"))
    return None


# Declared as an enum, whose name is what Microsoft's generated client has; the documentation shows Edm.String instead.
STATUS_TYPE: Final = "Microsoft.Dynamics.DataEntities.DMFExecutionSummaryStatus"
_IMPORT: Final = {
    "packageUrl": str,
    "definitionGroupId": str,
    "execute": bool,
    "overwrite": bool,
    "legalEntityId": str,
}
_EXECUTION: Final = {"executionId": str}
_ENTITY: Final = {"executionId": str, "entityName": str}

ACTIONS: Final[Mapping[str, Action]] = {
    "GetAzureWriteUrl": Action(run=_write_url, required={"uniqueFileName": str}),
    "ImportFromPackage": Action(
        run=lambda call: call.management.import_package(_import_order(call)),
        required=_IMPORT,
        # Observed: Microsoft's Logic App sample does not send it
        optional=_EXECUTION,
    ),
    "ImportFromPackageAsync": Action(
        run=lambda call: call.management.import_package_async(_import_order(call)),
        # Observed: every known caller sends all nine; whether F&O insists is not known
        required=_IMPORT
        | _EXECUTION
        | {"failOnError": bool, "runAsyncWithoutBatch": bool, "thresholdToRunInBatch": int},
    ),
    "ExportToPackage": Action(
        run=_export,
        required={
            "definitionGroupId": str,
            "packageName": str,
            "executionId": str,
            "reExecute": bool,
            "legalEntityId": str,
        },
    ),
    "GetExecutionSummaryStatus": Action(
        run=lambda call: str(call.management.execution_status(call.text("executionId"))),
        required=_EXECUTION,
        returns=STATUS_TYPE,
    ),
    "GetEntityExecutionSummaryStatusList": Action(
        run=lambda call: [str(each) for each in call.management.entity_statuses(call.text("executionId"))],
        required=_EXECUTION,
        returns="Collection(Edm.String)",
    ),
    "GetExecutionSummaryPageUrl": Action(run=_page_url, required=_EXECUTION),
    "GetExportedPackageUrl": Action(
        run=lambda call: call.management.exported_package_url(call.text("executionId")), required=_EXECUTION
    ),
    "GetExecutionErrors": Action(run=_errors, required=_EXECUTION),
    "GenerateImportTargetErrorKeysFile": Action(
        run=lambda call: call.management.generate_error_keys_file(call.text("executionId"), call.text("entityName")),
        required=_ENTITY,
        returns="Edm.Boolean",
    ),
    "GetImportTargetErrorKeysFileUrl": Action(
        run=lambda call: call.management.error_keys_file_url(call.text("executionId"), call.text("entityName")),
        required=_ENTITY,
    ),
    "GetImportStagingErrorFileUrl": Action(
        run=lambda call: call.management.staging_error_file_url(call.text("executionId"), call.text("entityName")),
        required=_ENTITY,
    ),
    "DeleteExecutionHistoryJob": Action(run=_delete_history, required=_EXECUTION, returns=""),
    "InitializeDataManagement": Action(run=lambda _call: None, returns=""),
}
# Actions that F&O has and this simulator does not serve: docs/witnesses.md says so. They are refused in words: a client
# that calls one is not wrong.
NOT_SERVED: Final = frozenset(
    {
        "ExportFromPackage",
        "ExportToPackageAsync",
        "ExportToPackageDelta",
        "ExportToPackagePreview",
        "ExportToPackagePreviewAsync",
        "GetEntitySequence",
        "GetExecutionIdByMessageId",
        "GetMessageStatus",
        "ImportFromDMTPackage",
        "InitializeDataManagementAsync",
        "ResetVersionToken",
    }
)
