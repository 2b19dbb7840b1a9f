"""The OData entity sets that go with the DMF actions, and the imported data as entity sets of their own.

Understands as much of OData as such a client needs: a key in brackets, ``$filter`` of comparisons joined by ``and``,
``$select``, ``$orderby``, ``$top``, ``$skip``, ``$count`` and ``$expand`` of one property. Everything else is
refused, so that nobody relies on it by mistake.
"""

import base64
import operator
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from local_cloud.finance_operations.data_management import ActionRefused, DataManagement
from local_cloud.finance_operations.executions import EntityRun, Execution, Operation
from local_cloud.finance_operations.packages import is_excel, sheet_name
from local_cloud.finance_operations.store import Project, ProjectEntity

type Record = Mapping[str, str | int]

_NEVER: Final = "1900-01-01T00:00:00Z"  # how F&O shows an empty date
_KEYED: Final = re.compile(r"(?P<name>[^(]+)\((?P<key>.*)\)")
_KEY: Final = re.compile(r"(?:(?P<name>\w+)=)?(?:Microsoft\.Dynamics\.DataEntities\.\w+)?'(?P<value>(?:[^']|'')*)'")
_COMPARISON: Final = re.compile(
    r"\s*(?P<field>\w+)\s+(?P<operator>eq|ne|gt|ge|lt|le)\s+"
    r"(?:(?:Microsoft\.Dynamics\.DataEntities\.\w+)?'(?P<text>(?:[^']|'')*)'|(?P<literal>[\w.:+-]+))\s*(?P<and>and\b|$)"
)
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_OPTIONS: Final = frozenset({"$filter", "$select", "$orderby", "$top", "$skip", "$count", "$expand", "cross-company"})
_ORDER: Final = re.compile(r"\s*(?P<field>\w+)(?:\s+(?P<direction>asc|desc))?\s*")


class InvalidQuery(Exception):
    """The query or the body cannot be understood; the text is OData's."""


class NoSuchRoute(Exception):
    """There is no such entity set."""


class NoSuchRecord(Exception):
    """The entity set has no record with this key."""


class EntitySets:
    """Answers what is asked below /data. Thread-safe, as ``DataManagement`` is."""

    def __init__(self, management: DataManagement) -> None:
        self._management = management

    def read(self, segment: str, query: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """Return the context's fragment and the body of a GET.

        segment: what follows /data/, decoded. Raises InvalidQuery, NoSuchRoute, NoSuchRecord.
        """
        if unknown := set(query) - _OPTIONS:
            raise InvalidQuery(f"The query parameter '{min(unknown)}' is not supported.")
        if keyed := _KEYED.fullmatch(segment):
            name, key = keyed["name"], _key(keyed["key"])
            found = [record for record in self._records(name, {}) if _has_key(record, key)]
            if not found:
                raise NoSuchRecord(segment)
            return f"{_context(name, query)}/$entity", _shown(_selected(found[:1], query, name)[0])
        comparisons = _comparisons(query.get("$filter", ""))
        asked_for = {each.field: each.wanted for each in comparisons if each.operator == "eq"}
        records = self._records(segment, asked_for)
        _check_fields([each.field for each in comparisons], records, segment)
        records = [record for record in records if all(each.holds(record) for each in comparisons)]
        records = _ordered(records, query.get("$orderby", ""), segment)
        body: dict[str, Any] = {}
        if query.get("$count") == "true":
            body["@odata.count"] = len(records)
        skip, top = _number(query, "$skip", 0), _number(query, "$top", len(records))
        page = records[skip : skip + top]
        more = self._expanded(page, query.get("$expand", ""), segment)
        shown = zip(_selected(page, query, segment), more, strict=True)
        body["value"] = [_shown(record) | expanded for record, expanded in shown]
        return _context(segment, query), body

    def _expanded(self, records: Sequence[Record], wanted: str, segment: str) -> list[dict[str, Any]]:
        """Return what each record leads to, by the name of the navigation property that is asked for; "": none."""
        if not wanted:
            return [{} for _ in records]
        name, target, is_many = NAVIGATIONS.get(segment, ("", "", False))
        if wanted != name:
            raise _no_property(wanted, segment)
        expanded = []
        for record in records:
            found = [_shown(each) for each in self._records(target, {"JobId": str(record["JobId"])})]
            expanded.append({name: found if is_many else found[0]})
        return expanded

    def names(self) -> list[str]:
        """Return the entity sets that there are, for the service document."""
        return sorted({*_FIELDS, *(_as_set_name(label) for label in self._management.entity_names())})

    def properties(self) -> dict[str, Sequence[str]]:
        """Return the entity sets with the names of their properties, for the metadata document."""
        imported = {
            _as_set_name(label): list(dict.fromkeys(name for record in self._imported(label) for name in record))
            for label in self._management.entity_names()
        }
        return {**_FIELDS, **{name: properties for name, properties in sorted(imported.items()) if properties}}

    def create(self, segment: str, body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the context's fragment and the body that answer a POST of a record.

        Raises InvalidQuery, NoSuchRoute, ActionRefused.
        """
        match segment:
            case "DataManagementDefinitionGroups":
                _check_properties(body, _PROJECT_FIELDS, "DataManagementDefinitionGroup", needed="Name")
                operation = _operation(str(body.get("OperationType", "Export")))
                description = str(body.get("Description", ""))
                project = self._management.define_project(str(body["Name"]), operation, description)
                return f"{segment}/$entity", _shown(_project_record(project))
            case "DataManagementDefinitionGroupDetails":
                _check_properties(body, _LINE_FIELDS, "DataManagementDefinitionGroupDetail", needed="DefinitionGroupId")
                name = str(body["DefinitionGroupId"])
                line = ProjectEntity(
                    entity=str(body.get("EntityName", "")),
                    source_format=str(body.get("SourceFormat", "EXCEL")),
                    is_mapped=body.get("AutoGenerateMapping") == "Yes",
                    is_incremental=str(body.get("DefaultRefreshType", "")).startswith("Incremental"),
                )
                self._management.add_to_project(name, line)
                return f"{segment}/$entity", _shown(_line_record(name, line))
            case _:
                raise NoSuchRoute(segment)

    def delete(self, segment: str) -> None:
        """Delete a data project. Raises InvalidQuery, NoSuchRoute, NoSuchRecord."""
        keyed = _KEYED.fullmatch(segment)
        if keyed is None or keyed["name"] != "DataManagementDefinitionGroups":
            raise NoSuchRoute(segment)
        key = _key(keyed["key"])
        if not self._management.delete_project(key.get("Name", key.get("", ""))):
            raise NoSuchRecord(segment)

    def _records(self, name: str, asked_for: Mapping[str, str]) -> list[Record]:
        """Return the records of an entity set; asked_for may keep out, for speed, what no one asks for."""
        management = self._management
        match name:
            case "LegalEntities":
                return [{"LegalEntityId": each, "Name": each} for each in management.behaviour.legal_entities]
            case "DataManagementDefinitionGroups":
                return [_project_record(project) for project in management.projects()]
            case "DataManagementDefinitionGroupDetails":
                return [
                    _line_record(project.name, line) for project in management.projects() for line in project.entities
                ]
            case "DataManagementExecutionJobs":
                return [_job_record(execution) for execution in self._executions(asked_for)]
            case "DataManagementExecutionJobDetails":
                now = management.now()
                return [each for execution in self._executions(asked_for) for each in _detail_records(execution, now)]
            case _:
                return self._imported(name)

    def _executions(self, asked_for: Mapping[str, str]) -> list[Execution]:
        return self._management.listed_executions(
            execution_id=asked_for.get("JobId"), data_project=asked_for.get("DefinitionGroupId")
        )

    def _imported(self, name: str) -> list[Record]:
        """Return the rows of an entity by its label, "Fixed asset major type", or as one word: FixedAssetMajorTypes."""
        wanted = _as_one_word(name)
        for label in self._management.entity_names():
            if wanted in (_as_one_word(label), _as_one_word(label) + "s"):
                rows = self._management.rows(label)
                return [{"dataAreaId": company.lower(), **row} for company, row in rows]
        raise NoSuchRoute(name)


_PROJECT_FIELDS: Final = (
    "Name",
    "Description",
    "OperationType",
    "ProjectCategory",
    "GenerateDataPackage",
    "TruncateEntityData",
)
_LINE_FIELDS: Final = (
    "DefinitionGroupId",
    "EntityName",
    "SourceFormat",
    "AutoGenerateMapping",
    "ExecutionUnit",
    "LevelInExecutionUnit",
    "SequenceInLevel",
    "DefaultRefreshType",
)
# Entity set -> its navigation property, where that leads, and whether to several records.
NAVIGATIONS: Final[Mapping[str, tuple[str, str, bool]]] = {
    "DataManagementExecutionJobs": ("Details", "DataManagementExecutionJobDetails", True),
    "DataManagementExecutionJobDetails": ("ExecutionJob", "DataManagementExecutionJobs", False),
}
# Of executions: as in a client that was generated from the metadata of an environment in 2025,
# https://github.com/ntrtd/d365-agent. There is neither a count of errors nor a company.
_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "DataManagementDefinitionGroups": _PROJECT_FIELDS,
    "DataManagementDefinitionGroupDetails": _LINE_FIELDS,
    "DataManagementExecutionJobs": (
        "JobId",
        "DefinitionGroupId",
        "Description",
    ),
    "DataManagementExecutionJobDetails": (
        "DefinitionGroupId",
        "JobId",
        "EntityName",
        "StagingStatus",
        "TargetStatus",
        "StagingRecordsToBeProcessedCount",
        "StagingRecordsCreatedCount",
        "TargetRecordsCreatedCount",
        "TargetRecordsUpdatedCount",
        "NumberOfRowsToSkip",
        "ParallelTaskCount",
        "SequenceNumber",
        "ExecutionUnit",
        "LevelInExecutionUnit",
        "SequenceInLevel",
        "StagingStartDateTime",
        "StagingEndDateTime",
        "TargetStartDateTime",
        "TargetEndDateTime",
        "FilePath",
        "SourceFormat",
        "ExcelSheetName",
        "FirstRowIsHeader",
        "CreateErrorFile",
        "IgnoreError",
        "ExecuteTargetStep",
        "RunBusinessLogic",
        "RunBusinessValidation",
        "FailLevelOnError",
        "FailExecutionUnitOnError",
    ),
    "LegalEntities": ("LegalEntityId", "Name"),
}


def _project_record(project: Project) -> Record:
    return {
        "Name": project.name,
        "Description": project.description[:60],
        "OperationType": str(project.operation),
        "ProjectCategory": "Project",
        "GenerateDataPackage": "Yes",
        "TruncateEntityData": "No",
    }


def _line_record(project: str, line: ProjectEntity) -> Record:
    return {
        "DefinitionGroupId": project,
        "EntityName": line.entity,
        "SourceFormat": line.source_format,
        "AutoGenerateMapping": "Yes" if line.is_mapped else "No",
        "ExecutionUnit": 1,
        "LevelInExecutionUnit": 1,
        "SequenceInLevel": 1,
        "DefaultRefreshType": "IncrementalPush" if line.is_incremental else "FullPush",
    }


def _job_record(execution: Execution) -> Record:
    return {"JobId": execution.execution_id, "Description": ""}


def _detail_records(execution: Execution, now: float) -> list[Record]:
    return [_detail_record(execution, run, place, now) for place, run in enumerate(execution.entities, start=1)]


def _detail_record(execution: Execution, run: EntityRun, place: int, now: float) -> Record:
    times = execution.times
    is_import = execution.operation is Operation.IMPORT
    has_target = is_import and execution.reaches_target and not run.error
    has_begun = now >= times.runs
    staging_failed = bool(run.error) or (run.failed_to_stage > 0 and run.staged == 0)
    target_failed = run.staged > 0 and run.created + run.updated == 0
    return {
        "DefinitionGroupId": execution.data_project,
        "JobId": execution.execution_id,
        "EntityName": run.entity,
        "StagingStatus": _stage_status(execution, now, failed=staging_failed),
        "TargetStatus": _stage_status(execution, now, failed=target_failed) if has_target else "NotRun",
        # Assumed: all rows of the file, those included that do not fit into staging.
        "StagingRecordsToBeProcessedCount": run.staged + run.failed_to_stage if has_begun else 0,
        "StagingRecordsCreatedCount": run.staged if has_begun else 0,
        "TargetRecordsCreatedCount": run.created,
        "TargetRecordsUpdatedCount": run.updated,
        "NumberOfRowsToSkip": 0,
        "ParallelTaskCount": 0,
        "SequenceNumber": place,
        "ExecutionUnit": 1,
        "LevelInExecutionUnit": 1,
        "SequenceInLevel": place,
        "StagingStartDateTime": _stamp(times.runs, now),
        "StagingEndDateTime": _stamp(times.ends, now),
        "TargetStartDateTime": _stamp(times.runs, now) if has_target else _NEVER,
        "TargetEndDateTime": _stamp(times.ends, now) if has_target else _NEVER,
        "FilePath": "",
        "SourceFormat": run.source_format,
        "ExcelSheetName": f"{sheet_name(run.entity)}$" if is_excel(run.source_format) else "",
        "FirstRowIsHeader": "Yes",
        "CreateErrorFile": "No",
        "IgnoreError": "No",
        "ExecuteTargetStep": "Yes" if is_import else "No",
        "RunBusinessLogic": "Yes",
        "RunBusinessValidation": "Yes",
        "FailLevelOnError": "No",
        "FailExecutionUnitOnError": "No",
    }


def _stage_status(execution: Execution, now: float, *, failed: bool) -> str:
    # Observed: NotRun, Executing, Finished, Error among others; that these are all that matters is assumed.
    if execution.has_ended(now):
        return "Error" if failed else "Finished"
    return "NotRun" if now < execution.times.runs else "Executing"


def _stamp(moment: float | None, now: float | None = None) -> str:
    """Return a moment as OData writes it; one that is not known, or later than now, is no date yet."""
    if moment is None or (now is not None and moment > now):
        return _NEVER
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_one_word(name: str) -> str:
    return re.sub(r"\W|_", "", name).casefold()


def _as_set_name(label: str) -> str:
    """Return an entity's label as one word in the plural: FixedAssetMajorTypes."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"\W|_", label)) + "s"


def _operation(value: str) -> Operation:
    try:
        return Operation(value)
    except ValueError as error:
        kind = "Microsoft.Dynamics.DataEntities.DMFOperationType"
        raise InvalidQuery(f"Cannot convert the literal '{value}' to the expected type '{kind}'.") from error


def _check_properties(body: Mapping[str, Any], known: Sequence[str], kind: str, *, needed: str) -> None:
    for name in body:
        if name not in known:
            raise InvalidQuery(
                f"The property '{name}' does not exist on type 'Microsoft.Dynamics.DataEntities.{kind}'. "
                "Make sure to only use property names that are defined by the type."
            )
    if not body.get(needed):
        raise ActionRefused(f"Field '{needed}' must be filled in.")


def _key(text: str) -> dict[str, str]:
    """Return the parts of a key by their names; the name of a lone value is ""."""
    parts = {part["name"] or "": part["value"].replace("''", "'") for part in _KEY.finditer(text)}
    if not parts:
        raise InvalidQuery(f"The key '{text}' is not valid.")
    return parts


def _has_key(record: Record, key: Mapping[str, str]) -> bool:
    first = next(iter(record))
    return all(str(record.get(name or first, "")).casefold() == value.casefold() for name, value in key.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """One term of a $filter."""

    field: str
    operator: str
    wanted: str

    def holds(self, record: Record) -> bool:
        value = record.get(self.field, "")
        compare = _OPERATORS[self.operator]
        if isinstance(value, int):
            return self.wanted.lstrip("-").isdigit() and compare(value, int(self.wanted))
        return compare(value.casefold(), self.wanted.casefold())  # the database compares without regard to case


def _comparisons(text: str) -> list[_Comparison]:
    found: list[_Comparison] = []
    position = 0
    while position < len(text):
        term = _COMPARISON.match(text, position)
        if term is None:
            raise InvalidQuery(f"Syntax error at position {position} in '{text}'.")
        wanted = term["literal"] if term["text"] is None else term["text"].replace("''", "'")
        found.append(_Comparison(field=term["field"], operator=term["operator"], wanted=wanted))
        position = term.end()
    return found


def _context(set_name: str, query: Mapping[str, str]) -> str:
    """Return the fragment that says what is in an answer: the set, and which of its properties."""
    names = [name.strip() for name in query.get("$select", "").split(",") if name.strip()]
    return f"{set_name}({','.join(names)})" if names else set_name


def _shown(record: Record) -> dict[str, Any]:
    """Return a record as it is sent: each has its etag, whatever is selected."""
    version = zlib.crc32(repr(sorted(record.items())).encode())
    tag = base64.b64encode(f"'0,{version}'".encode()).decode()
    return {"@odata.etag": f'W/"{tag}"', **record}


def _ordered(records: Sequence[Record], order: str, set_name: str) -> list[Record]:
    ordered = list(records)
    for term in reversed(order.split(",") if order else []):
        match = _ORDER.fullmatch(term)
        if match is None:
            raise InvalidQuery(f"Syntax error in '{order}'.")
        field = match["field"]
        _check_fields([field], records, set_name)
        ordered.sort(key=lambda record: _sortable(record.get(field, "")), reverse=match["direction"] == "desc")
    return ordered


def _sortable(value: str | int) -> tuple[int, str]:
    return (value, "") if isinstance(value, int) else (0, value.casefold())


def _selected(records: Sequence[Record], query: Mapping[str, str], set_name: str) -> list[Record]:
    if "$select" not in query:
        return list(records)
    names = [name.strip() for name in query["$select"].split(",")]
    _check_fields(names, records, set_name)
    return [{name: record.get(name, "") for name in names} for record in records]


def _check_fields(names: Sequence[str], records: Sequence[Record], set_name: str) -> None:
    known = _FIELDS.get(set_name) or {"dataAreaId", *(name for record in records for name in record)}
    for name in names:
        if name not in known:
            raise _no_property(name, set_name)


def _no_property(name: str, set_name: str) -> InvalidQuery:
    kind = f"Microsoft.Dynamics.DataEntities.{set_name}"
    return InvalidQuery(f"Could not find a property named '{name}' on type '{kind}'.")


def _number(query: Mapping[str, str], option: str, default: int) -> int:
    text = query.get(option, str(default))
    if not text.isdigit():
        raise InvalidQuery(f"Invalid value '{text}' for {option} query option found.")
    return int(text)
