"""The package API of Finance & Operations, as Microsoft's page describes it and live environments have answered.

The page gives names and types; what it leaves open (statuses, the error envelope) is as seen in public records of live
environments: github.com/microsoft/Recurring-Integrations-Scheduler and github.com/microsoft/Dynamics-AX-Integration.
"""

import re
from typing import Final

from tests.wire.endpoints import Endpoint, Proof, Request, Rule, Service
from tests.wire.shapes import (
    ADDRESS,
    FILLED,
    FLAG,
    OBJECT,
    TEXT,
    WHOLE,
    Either,
    Fields,
    Scalar,
    Several,
    Shape,
    content_type,
    maybe,
    one_of,
)

_PAGE: Final = "https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/data-management-api"
_ODATA: Final = "https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/odata"
_THROTTLING: Final = (
    "https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/priority-based-throttling"
)
_ACTIONS: Final = "{prefix}/data/DataManagementDefinitionGroups/Microsoft.Dynamics.DataEntities."

_ENTRY: Final = "an entry for the app under System administration > Setup > Microsoft Entra ID applications"
_PERMISSION: Final = f"{_ENTRY}, with a user whose roles permit data management"

# 400: an action says no (500 on-premises); 401, 403: the token, the entry above; 404: no such action or set; 429, 503:
# throttling; 502, 504: the gateway.
_REFUSALS: Final = frozenset({400, 401, 403, 404, 429, 500, 502, 503, 504})

# Observed: https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/54 (the envelope), and
# https://github.com/microsoft/Dynamics-AX-Integration/issues/33 (the gateway's).
_INNER: Final = Fields(
    required={"message": TEXT, "type": TEXT, "stacktrace": TEXT}, optional={"internalexception": OBJECT}
)
_REFUSAL: Final = Either(
    (
        Fields(required={"error": Fields(required={"code": TEXT, "message": TEXT}, optional={"innererror": _INNER})}),
        Fields(required={"Message": TEXT}),
    )
)

_JSON: Final = {"content-type": content_type("application/json")}


def _value(shape: Shape) -> Fields:
    """Return the shape of an answer with this value: flat as F&O sends it, nested as its page shows some."""
    return Fields(required={"@odata.context": ADDRESS, "value": Either((shape, Fields(required={"value": shape})))})


_TEXT_VALUE: Final = _value(TEXT)
_STATUS_VALUE: Final = _value(
    one_of("Unknown", "NotRun", "Executing", "Succeeded", "PartiallySucceeded", "Failed", "Canceled")
)
_EXECUTION: Final = Fields(required={"executionId": FILLED})
_EXECUTION_ENTITY: Final = Fields(required={"executionId": FILLED, "entityName": FILLED})


def _action(
    name: str,
    *,
    when: str,
    repeatable: str,
    body: Fields,
    answer: Shape,
    rules: tuple[Rule, ...] = (),
    source: str = "",
) -> Endpoint:
    return Endpoint(
        service=Service.FINANCE_OPERATIONS,
        operation=name,
        method="POST",
        path=_ACTIONS + name,
        proof=Proof.BEARER,
        when=when,
        permission=_PERMISSION,
        repeatable=repeatable,
        source=source or f"{_PAGE}#{name.lower()}",
        headers=_JSON,
        body=body,
        rules=rules,
        answers={200: answer},
        refusals=_REFUSALS,
        refusal=_REFUSAL,
    )


# The columns of the entity DataManagementExecutionJobDetails. Observed: in a client that was generated from the
# metadata of an environment in 2025, https://github.com/ntrtd/d365-agent; selecting any other is an error.
_JOB_DETAIL_COLUMNS: Final = {
    "JobId": TEXT,
    "EntityName": TEXT,
    "DefinitionGroupId": TEXT,
    "StagingStatus": TEXT,
    "TargetStatus": TEXT,
    "StagingRecordsToBeProcessedCount": WHOLE,
    "StagingRecordsCreatedCount": WHOLE,
    "TargetRecordsCreatedCount": WHOLE,
    "TargetRecordsUpdatedCount": WHOLE,
    "NumberOfRowsToSkip": WHOLE,
    "ParallelTaskCount": WHOLE,
    "SequenceNumber": WHOLE,
    "ExecutionUnit": WHOLE,
    "LevelInExecutionUnit": WHOLE,
    "SequenceInLevel": WHOLE,
    "FilePath": TEXT,
    "SourceFormat": TEXT,
    "ExcelSheetName": TEXT,
    "FirstRowIsHeader": TEXT,
    "CreateErrorFile": TEXT,
    "IgnoreError": TEXT,
    "ExecuteTargetStep": TEXT,
    "RunBusinessLogic": TEXT,
    "RunBusinessValidation": TEXT,
    "FailLevelOnError": TEXT,
    "FailExecutionUnitOnError": TEXT,
    "StagingStartDateTime": TEXT,
    "StagingEndDateTime": TEXT,
    "TargetStartDateTime": TEXT,
    "TargetEndDateTime": TEXT,
}


_JOB: Final = Fields(optional={"@odata.etag": TEXT, "JobId": TEXT, "Description": TEXT})  # only if it is expanded


def _selects_columns(request: Request) -> str:
    selected = dict(request.query).get("$select", "")
    unknown = [name for name in selected.split(",") if name and name not in _JOB_DETAIL_COLUMNS]
    return f"$select names {', '.join(unknown)}, which the entity does not have" if unknown else ""


def _filters_by_one_name(request: Request) -> str:
    condition = dict(request.query).get("$filter", "")
    if "/LegalEntities?" in request.target and "$filter" not in dict(request.query):
        return ""  # all of them are listed
    return "" if re.fullmatch(r"\w+ eq '(?:[^']|'')+'", condition) else f"$filter {condition!r} is not one name"


def _filters_by_execution(request: Request) -> str:
    condition = dict(request.query).get("$filter", "")
    return "" if re.fullmatch(r"JobId eq '(?:[^']|'')+'", condition) else f"$filter {condition!r} is not JobId eq '...'"


def _asks_anew(request: Request) -> str:
    """Return what is wrong with an export's reExecute.

    Observed: with a new execution id true fails, https://github.com/microsoft/Dynamics-AX-Integration/issues/89
    """
    again = isinstance(request.body, dict) and request.body.get("reExecute") is True
    return "reExecute is true, and the execution id is new" if again else ""


def _entity_set(name: str, *, columns: tuple[str, ...], when: str, permission: str) -> Endpoint:
    return Endpoint(
        service=Service.FINANCE_OPERATIONS,
        operation=name,
        method="GET",
        path=f"{{prefix}}/data/{name}",
        proof=Proof.BEARER,
        when=when,
        permission=permission,
        repeatable="yes",
        source=_ODATA,
        query={
            "$filter": FILLED,
            "$select": FILLED,
            "$top": FILLED,
            "$orderby": FILLED,
            "$count": FILLED,
            "$skiptoken": FILLED,
        },
        required_query=frozenset({"$select"}),
        rules=(_filters_by_one_name,),
        answers={
            200: Fields(
                required={
                    "@odata.context": ADDRESS,
                    "value": Several(Fields(optional=dict.fromkeys(("@odata.etag", *columns), TEXT))),
                },
                optional={"@odata.nextLink": ADDRESS, "@odata.count": maybe(WHOLE)},
            )
        },
        refusals=_REFUSALS,
        refusal=_REFUSAL,
    )


ENDPOINTS: Final = (
    _action(
        "GetAzureWriteUrl",
        when="Before a package is uploaded; a place of its own for each attempt.",
        repeatable="yes: the place of an attempt that failed stays empty",
        source=f"{_PAGE}#getazurewritableurl",
        body=Fields(required={"uniqueFileName": FILLED}),
        # A JSON document within a text. Observed: an object in the page of 2018.
        answer=_value(Either((FILLED, Fields(required={"BlobId": FILLED, "BlobUrl": ADDRESS})))),
    ),
    _action(
        "ImportFromPackage",
        when="Once per package, one at a time in an environment; the execution id is saved before.",
        repeatable="no: after a lost answer the app asks for the execution id, and never sends it again blindly",
        body=Fields(
            required={
                "packageUrl": ADDRESS,
                "definitionGroupId": FILLED,
                "executionId": FILLED,
                "execute": FLAG,
                "overwrite": FLAG,
                "legalEntityId": Scalar(
                    "company, 1 to 4 characters", lambda value: isinstance(value, str) and 1 <= len(value) <= 4
                ),
            }
        ),
        answer=_TEXT_VALUE,
    ),
    _action(
        "ImportFromPackageAsync",
        when="In place of ImportFromPackage if the flow says so (`action`), and as that.",
        repeatable="no, as of ImportFromPackage; and an execution that it has begun may show itself minutes later",
        body=Fields(
            required={
                "packageUrl": ADDRESS,
                "definitionGroupId": FILLED,
                "executionId": FILLED,
                "execute": FLAG,
                "overwrite": FLAG,
                "legalEntityId": Scalar(
                    "company, 1 to 4 characters", lambda value: isinstance(value, str) and 1 <= len(value) <= 4
                ),
                "failOnError": FLAG,
                "runAsyncWithoutBatch": FLAG,
                "thresholdToRunInBatch": Scalar("a whole number", lambda value: type(value) is int and value >= 0),
            }
        ),
        answer=_TEXT_VALUE,
    ),
    _action(
        "ExportToPackage",
        when="When an export is due; the execution id is saved before.",
        repeatable="no: with incremental push the changes would be in the first package",
        body=Fields(
            required={
                "definitionGroupId": FILLED,
                "packageName": FILLED,
                "executionId": FILLED,
                "reExecute": FLAG,
                "legalEntityId": TEXT,
            }
        ),
        rules=(_asks_anew,),
        answer=_TEXT_VALUE,
    ),
    _action(
        "GetExecutionSummaryStatus",
        when="While an execution runs, less and less often; and to find out what became of a lost answer.",
        repeatable="yes",
        body=_EXECUTION,
        answer=_STATUS_VALUE,
    ),
    _action(
        "GetExportedPackageUrl",
        when="Just before an exported package is read, and again where the address has run out.",
        repeatable="yes",
        body=_EXECUTION,
        answer=_TEXT_VALUE,
    ),
    _action(
        "GetExecutionSummaryPageUrl",
        when="For the report of an import that failed.",
        repeatable="yes",
        body=_EXECUTION,
        answer=_TEXT_VALUE,
        # The page does not have it; Microsoft's own scheduler calls it.
        source="https://github.com/microsoft/Recurring-Integrations-Scheduler",
    ),
    _action(
        "GetExecutionErrors",
        when="For the report of an import that failed.",
        repeatable="yes",
        body=_EXECUTION,
        answer=_value(Either((TEXT, Several(OBJECT)))),
        source=f"{_PAGE}#getting-the-list-of-errors",
    ),
    _action(
        "GenerateImportTargetErrorKeysFile",
        when="For the report of an import that failed, once per entity with errors.",
        repeatable="yes",
        body=_EXECUTION_ENTITY,
        answer=_value(FLAG),
    ),
    _action(
        "GetImportTargetErrorKeysFileUrl",
        when="After the file of error keys was asked for, until F&O has written it.",
        repeatable="yes",
        body=_EXECUTION_ENTITY,
        answer=_TEXT_VALUE,
    ),
    _action(
        "GetImportStagingErrorFileUrl",
        when="For the report of an import that failed, once per entity.",
        repeatable="yes",
        body=_EXECUTION_ENTITY,
        answer=_TEXT_VALUE,
    ),
    Endpoint(
        service=Service.FINANCE_OPERATIONS,
        operation="DataManagementExecutionJobDetails",
        method="GET",
        path="{prefix}/data/DataManagementExecutionJobDetails",
        proof=Proof.BEARER,
        when="For the row counts of an import that ended (without $select: F&O refuses a property that it does not "
        "have), to find out what became of a lost answer, and to see whether F&O lets the app in.",
        permission=_PERMISSION,
        repeatable="yes",
        source=_ODATA,
        more_sources=(_THROTTLING,),
        query={"$filter": FILLED, "$select": FILLED, "$top": FILLED, "$orderby": FILLED, "$count": FILLED},
        required_query=frozenset({"$filter"}),
        rules=(_filters_by_execution, _selects_columns),
        answers={
            200: Fields(
                required={
                    "@odata.context": ADDRESS,
                    "value": Several(
                        Fields(optional={"@odata.etag": TEXT, **_JOB_DETAIL_COLUMNS, "ExecutionJob": _JOB})
                    ),
                },
                optional={"@odata.nextLink": ADDRESS, "@odata.count": maybe(WHOLE)},
            )
        },
        refusals=_REFUSALS,
        refusal=_REFUSAL,
    ),
    _entity_set(
        "LegalEntities",
        columns=("LegalEntityId", "Name"),
        when="When a person asks for the app's health in full: whether F&O has the companies of the settings. Without "
        "a filter, once an hour, if an import has `companies` from `LegalEntities`.",
        permission=f"{_ENTRY}, with a user who may read companies; without, the health page says that it is unknown, "
        "and imports with `companies` from `LegalEntities` wait for a person",
    ),
    _entity_set(
        "DataManagementDefinitionGroups",
        # Observed: in public scripts against live environments.
        columns=(
            *("Name", "Description", "OperationType", "ProjectCategory", "GenerateDataPackage"),
            "TruncateEntityData",
        ),
        when="When a person asks for the app's health in full: whether F&O has the export projects of the settings.",
        permission=_PERMISSION,
    ),
)
