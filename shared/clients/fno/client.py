"""The Data management package API of Dynamics 365 Finance & Operations (F&O): one method per action.

The vendor's names are mapped here, once: ``definitionGroupId`` is a data project, ``legalEntityId`` a legal entity
(company), ``executionId`` an execution id. F&O puts the reason of a refusal into the text and not into the status, so
texts are classified too (``refusals.py``). Bytes do not pass through here: ``blobs/`` moves packages.

Above 400 lines because every action says what it takes, returns and raises; there is nothing in it but that.
https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/data-management-api
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from shared.clients.fno.refusals import map_error
from shared.clients.fno.row_errors import ExecutionErrors, parse_execution_errors, text_of
from shared.clients.http.client import TIMEOUT_S, Http, Response, TokenSource, json_object
from shared.clients.http.links import keyed_link, next_page
from shared.errors import AnswerLost, AppError, NeedsPerson, TryAgain
from shared.escapes import odata_text, query_value, read_json
from shared.log import log
from shared.secret import SecretUrl

SERVICE: Final = "F&O"

# The activity id that Microsoft's support asks for.
# Observed: in answers of live environments, read by github.com/mafzaal/d365fo-client.
_REQUEST_ID_HEADER: Final = "ms-dyn-aid"
_CLIENT_REQUEST_ID_HEADER: Final = "x-ms-client-request-id"

_ACTIONS: Final = "/data/DataManagementDefinitionGroups/Microsoft.Dynamics.DataEntities."

# Seconds that ImportFromPackage and ExportToPackage may take to answer. Observed: 228 entities outlived 180 s while F&O
# went on; waiting longer would hold an invocation for nothing, because a lost answer is looked up anyway.
SUBMIT_TIMEOUT_S: Final = 180.0

# Seconds to wait for counts, which a file is not kept waiting for.
COUNTS_TIMEOUT_S: Final = 10.0

_LONGEST_ID: Final = 200  # characters; what is longer is a page or a message, and no id

_COMPANIES_DENIED: Final = (
    "The app is not allowed to read the companies of F&O (LegalEntities). Give the app's user in F&O a role that may "
    "read legal entities, or list the companies in the settings of the import"
)

# What ExportToPackage answers instead of an id when it did not start.
# Observed: Microsoft's Logic App sample repeats the call while it sees this id.
_NO_EXECUTION: Final = frozenset({"", "00000000-0000-0000-0000-000000000000"})


class ExecutionStatus(StrEnum):
    """DMFExecutionSummaryStatus: what F&O says about an execution as a whole."""

    UNKNOWN = "Unknown"  # cannot be determined; usual for a moment after the start
    NOT_RUN = "NotRun"  # created, not started
    EXECUTING = "Executing"
    SUCCEEDED = "Succeeded"
    PARTIALLY_SUCCEEDED = "PartiallySucceeded"  # finished; the rows without errors are committed
    FAILED = "Failed"
    CANCELED = "Canceled"  # stopped by a person

    @property
    def is_final(self) -> bool:
        """Whether F&O will not go on with this execution."""
        return self in _FINAL


_FINAL: Final = frozenset(
    {
        ExecutionStatus.SUCCEEDED,
        ExecutionStatus.PARTIALLY_SUCCEEDED,
        ExecutionStatus.FAILED,
        ExecutionStatus.CANCELED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteUrl:
    """A place in F&O's blob storage for one package."""

    blob_id: str  # a GUID without braces
    url: SecretUrl  # a SAS for reading and writing; Observed: valid for about 30 minutes


# Words for the state of one entity, which no source defines: free text, compared without case.
_ENTITY_DONE: Final = frozenset({"succeeded", "finished"})
_ENTITY_FAILED: Final = frozenset({"error", "failed", "partiallysucceeded", "canceled"})

# The members of DMFBatchJobStatus are NotStarted, Waiting, Executing, Error, Finished, Ready, NotRun, Cancelling,
# Canceled and Hold. Observed: in a client that was generated from the metadata of an environment in 2025,
# https://github.com/ntrtd/d365-agent/blob/main/asset/client/src/DmfBatchJobStatus.ts
# Assumed: with these two, F&O has tried no row. Waiting, Ready and Hold may still begin; Canceled may have begun.
_NEVER_STARTED: Final = frozenset({"notstarted", "notrun"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """How many rows of one entity F&O has taken where. None: it does not say."""

    entity: str
    to_be_processed: int | None
    staged: int | None
    created: int | None
    updated: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityProgress:
    """How far one entity of an execution has come. F&O's sources disagree on the statuses, so they are free text."""

    entity: str
    staging_status: str
    target_status: str
    staging_created: int  # rows
    target_created: int
    target_updated: int

    @property
    def is_done(self) -> bool:
        """Whether F&O says that it went well."""
        return self.target_status.casefold() in _ENTITY_DONE

    @property
    def is_staged(self) -> bool:
        """Whether F&O says that staging went well."""
        return self.staging_status.casefold() in _ENTITY_DONE

    @property
    def has_ended_staging(self) -> bool:
        """Whether F&O will not go on with staging."""
        return self.is_staged or self.staging_status.casefold() in _ENTITY_FAILED

    @property
    def has_ended(self) -> bool:
        """Whether F&O will not go on with it: it is through, or no row of it reached staging."""
        if self.staging_status.casefold() in _ENTITY_FAILED and not self.staging_created and self.target_never_started:
            return True
        return self.is_done or self.target_status.casefold() in _ENTITY_FAILED

    @property
    def target_never_started(self) -> bool:
        """Whether nothing of the entity can have reached the target tables; of use once the execution has ended.

        A status that is not known to say so, and any row that was written, make it False.
        """
        return self.target_status.casefold() in _NEVER_STARTED and not (self.target_created or self.target_updated)


def finance_operations_http(token: TokenSource, base_url: str = "") -> Http:
    """Return the Http that ``FinanceOperations`` wants: it knows F&O's headers and what F&O's refusals mean.

    base_url: the environment that the token is for; calls to anywhere else are refused. "": to nowhere.
    """
    return Http(
        service=SERVICE,
        token=token,
        map_error=map_error,
        request_id_header=_REQUEST_ID_HEADER,
        client_request_id_header=_CLIENT_REQUEST_ID_HEADER,
        origin=base_url,
    )


class FinanceOperations:
    """The package API of one environment.

    Every method may raise NeedsPerson (401, a redirect, an address that is not F&O's), Refused (403, a call that F&O
    does not accept) and TryAgain (unreachable, throttled, in trouble); the docstrings name what comes on top. TryAgain
    and Refused are always a proof that the two methods which start an execution have not done so; if there is no proof
    they raise AnswerLost.
    """

    def __init__(self, base_url: str, http: Http, *, submit_timeout_s: float = SUBMIT_TIMEOUT_S) -> None:
        """base_url: as in the browser; on-premises it ends with /namespaces/AXSF. http: ``finance_operations_http``.

        submit_timeout_s: seconds to wait for the answer when an execution is started.
        """
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._submit_timeout_s = submit_timeout_s

    def get_azure_write_url(self, unique_file_name: str) -> WriteUrl:
        """Return a place for a package; unique_file_name becomes the blob's name.

        Raises NeedsPerson (F&O refuses) and TryAgain (also: no URL in the answer).
        """
        answer = self._post("GetAzureWriteUrl", {"uniqueFileName": unique_file_name})
        value = _value(answer)
        if isinstance(value, str):
            # A JSON document within a JSON string today, an object in the documents of 2018.
            try:
                value = read_json(value, mend=True)
            except ValueError:
                value = None
        place = value if isinstance(value, dict) else {}
        url = _url(place.get("BlobUrl"))
        if url is None:
            raise TryAgain(
                "F&O answered GetAzureWriteUrl without an upload URL. The app tries again; if this continues, check "
                "the blob storage of the environment",
                call=answer.call,
            )
        return WriteUrl(blob_id=text_of(place.get("BlobId")).strip("{}"), url=url)

    def import_from_package(
        self,
        *,
        package_url: SecretUrl,
        data_project: str,
        execution_id: str,
        legal_entity: str,
        overwrite: bool = True,
        execute: bool = True,
    ) -> str:
        """Start the import of an uploaded package and return the execution id that F&O uses. Not idempotent.

        F&O answers once the package lies in staging, which takes minutes for large ones; the import goes on afterwards.
        Never start two at a time in one environment: F&O's documents say that parallel calls fail.

        package_url: the URL of ``get_azure_write_url``; F&O reads the package from there.
        data_project: created from the package where it does not exist.
        execution_id: ours, at most 60 characters of [A-Za-z0-9_-]; saved before this call.
        legal_entity: the company, at most 4 characters.
        overwrite: redefine an existing data project (not its data); False for packages with composite entities.
        execute: also go on from staging to the target tables.

        Raises AnswerLost (it may have started: ask for the execution id, never send again blindly), ProjectBusy,
        PackageUnreadable, FileRejected (the package cannot be imported as it is; F&O's words, and what to do),
        CompanyUnknown, NeedsPerson (the flow's settings do not fit), Refused (also: for a reason that is not known),
        TryAgain.
        """
        answer = self._post(
            "ImportFromPackage",
            _import_arguments(
                package_url, data_project, execution_id, legal_entity, overwrite=overwrite, execute=execute
            ),
            idempotent=False,
        )
        return _started("ImportFromPackage", answer, execution_id)

    def import_from_package_async(
        self,
        *,
        package_url: SecretUrl,
        data_project: str,
        execution_id: str,
        legal_entity: str,
        overwrite: bool,
        execute: bool,
        fail_on_error: bool,
        run_async_without_batch: bool,
        threshold_to_run_in_batch: int,
    ) -> str:
        """Start the import of an uploaded package and return the execution id that F&O uses. Not idempotent.

        F&O may answer before it reads the package, and before it knows the id when asked. What is wrong with the
        package or the company is then an execution that fails.

        fail_on_error: F&O stops at the first error. run_async_without_batch: it does not use its batch service.
        threshold_to_run_in_batch: records above which it does. The others, and what it raises: as of
        ``import_from_package``.
        """
        # Observed: all known callers send these nine arguments, for example github.com/ricardogu; Microsoft's page says
        # that they are those of ImportFromPackage.
        answer = self._post(
            "ImportFromPackageAsync",
            {
                **_import_arguments(
                    package_url, data_project, execution_id, legal_entity, overwrite=overwrite, execute=execute
                ),
                "failOnError": fail_on_error,
                "runAsyncWithoutBatch": run_async_without_batch,
                "thresholdToRunInBatch": threshold_to_run_in_batch,
            },
            idempotent=False,
        )
        return _started("ImportFromPackageAsync", answer, execution_id)

    def export_to_package(self, *, data_project: str, package_name: str, execution_id: str, legal_entity: str) -> str:
        """Start an export and return the execution id that F&O uses. Not idempotent.

        data_project: must exist. package_name: the package's name within F&O. execution_id: ours, saved before.

        Raises AnswerLost (it may have started), ProjectBusy, NeedsPerson (also: F&O refuses the export; once the data
        project is mended the same call works), TryAgain.
        """
        answer = self._post(
            "ExportToPackage",
            {
                "definitionGroupId": data_project,
                "packageName": package_name,
                "executionId": execution_id,
                # With a new id true fails: github.com/microsoft/Dynamics-AX-Integration/issues/89
                "reExecute": False,
                "legalEntityId": legal_entity,
            },
            idempotent=False,
        )
        return _started("ExportToPackage", answer, execution_id)

    def execution_status(self, execution_id: str) -> ExecutionStatus:
        """Return how an execution stands.

        Raises NotFound: F&O does not know the id. Observed: it says so for a while after the start, too.
        """
        return _status(_value(self._ask("GetExecutionSummaryStatus", execution_id)))

    def exported_package_url(self, execution_id: str) -> SecretUrl | None:
        """Return where the package of an export can be read for a short time, None while there is none.

        F&O keeps the package for 7 days; the URL is valid for minutes, so ask just before reading, and again on 403.
        Raises NotFound.
        """
        return _url(_value(self._ask("GetExportedPackageUrl", execution_id)))

    def execution_summary_page_url(self, execution_id: str) -> str:
        """Return the address of F&O's page about an execution, for a person; "" where F&O gives none.

        Raises NotFound.
        """
        return text_of(_value(self._ask("GetExecutionSummaryPageUrl", execution_id)))

    def execution_errors(self, execution_id: str) -> ExecutionErrors:
        """Return what an execution could not do, also where F&O's list of it is not valid JSON.

        Raises NotFound.
        """
        return parse_execution_errors(_value(self._ask("GetExecutionErrors", execution_id)))

    def generate_error_keys_file(self, execution_id: str, entity: str) -> bool:
        """Let F&O write the keys of the rows that failed in the target tables; return whether there are any.

        entity: its label, as in the package's manifest. Raises NotFound.
        """
        return (
            text_of(_value(self._ask("GenerateImportTargetErrorKeysFile", execution_id, entity))).casefold() == "true"
        )

    def error_keys_file_url(self, execution_id: str, entity: str) -> SecretUrl | None:
        """Return where the file of ``generate_error_keys_file`` can be read, None while F&O writes it.

        Ask only where there is one to come: F&O says the same when there are no errors. Raises NotFound.
        """
        return _url(_value(self._ask("GetImportTargetErrorKeysFileUrl", execution_id, entity)))

    def staging_error_file_url(self, execution_id: str, entity: str) -> SecretUrl | None:
        """Return where the rows that did not reach staging can be read, None where there are none.

        Raises NotFound.
        """
        return _url(_value(self._ask("GetImportStagingErrorFileUrl", execution_id, entity)))

    def job_details(self, execution_id: str) -> tuple[EntityProgress, ...]:
        """Return how far each entity of an execution has come; empty where F&O does not know the execution."""
        condition = _equals("JobId", execution_id)
        select = ",".join(
            (
                "EntityName",
                "StagingStatus",
                "TargetStatus",
                "StagingRecordsCreatedCount",
                "TargetRecordsCreatedCount",
                "TargetRecordsUpdatedCount",
            )
        )
        answer = self._http.call(
            "GET",
            f"{self._base_url}/data/DataManagementExecutionJobDetails?$filter={condition}&$select={select}",
            operation="DataManagementExecutionJobDetails",
            idempotent=True,
        )
        rows = _rows_of(json_object(answer))
        return tuple(
            EntityProgress(
                entity=text_of(row.get("EntityName")),
                staging_status=text_of(row.get("StagingStatus")),
                target_status=text_of(row.get("TargetStatus")),
                staging_created=_count(row.get("StagingRecordsCreatedCount")),
                target_created=_count(row.get("TargetRecordsCreatedCount")),
                target_updated=_count(row.get("TargetRecordsUpdatedCount")),
            )
            for row in rows
        )

    def companies(self) -> frozenset[str]:
        """Return the ids of all companies (legal entities) that F&O has, in capitals.

        Raises NeedsPerson: the app's user is not allowed to read them, which F&O says with 401 or 403; Assumed: or with
        an empty list.
        """
        found: set[str] = set()
        link, links = f"{self._base_url}/data/LegalEntities?$select=LegalEntityId", set[str]()
        while link:
            try:
                page = json_object(self._http.call("GET", link, operation="LegalEntities", idempotent=True))
            except AppError as error:
                if error.call is None or error.call.status not in (401, 403):
                    raise
                raise NeedsPerson(f"{_COMPANIES_DENIED}: {error.message}", call=error.call) from error
            rows = _rows_of(page)
            found.update(text_of(row.get("LegalEntityId")).upper() for row in rows)
            link = next_page(page, self._base_url, links, service=SERVICE, what="the companies", setting="FO_URL")
        found.discard("")
        if not found:
            raise NeedsPerson(f"{_COMPANIES_DENIED}: F&O lists no company")
        return frozenset(found)

    def row_counts(self, execution_id: str) -> tuple[RowCounts, ...]:
        """Return the rows of each entity of an execution that has ended; empty if F&O does not know the execution.

        Waits less long than other calls do: nothing depends on it. Without $select, for a property that this version of
        F&O does not have would refuse the whole query.
        """
        connect_s, _ = TIMEOUT_S
        answer = self._http.call(
            "GET",
            f"{self._base_url}/data/DataManagementExecutionJobDetails?$filter={_equals('JobId', execution_id)}",
            operation="DataManagementExecutionJobDetails",
            idempotent=True,
            timeout_s=(connect_s, COUNTS_TIMEOUT_S),
        )
        rows = _rows_of(json_object(answer))
        return tuple(
            RowCounts(
                entity=text_of(row.get("EntityName")),
                to_be_processed=_count_or_none(row.get("StagingRecordsToBeProcessedCount")),
                staged=_count_or_none(row.get("StagingRecordsCreatedCount")),
                created=_count_or_none(row.get("TargetRecordsCreatedCount")),
                updated=_count_or_none(row.get("TargetRecordsUpdatedCount")),
            )
            for row in rows
        )

    def has_company(self, company: str) -> bool:
        """Return whether F&O has a company (legal entity) that the app's user may see."""
        return self._has("LegalEntities", "LegalEntityId", company)

    def has_data_project(self, data_project: str) -> bool:
        """Return whether F&O has a data project of that name."""
        return self._has("DataManagementDefinitionGroups", "Name", data_project)

    def _has(self, entities: str, field: str, value: str) -> bool:
        answer = self._http.call(
            "GET",
            f"{self._base_url}/data/{entities}?$filter={_equals(field, value)}&$select={field}",
            operation=entities,
            idempotent=True,
        )
        return bool(json_object(answer).get("value"))

    def _ask(self, action: str, execution_id: str, entity: str | None = None) -> Response:
        body: dict[str, object] = {"executionId": execution_id}
        if entity is not None:
            body["entityName"] = entity
        return self._post(action, body)

    def _post(self, action: str, body: Mapping[str, object], *, idempotent: bool = True) -> Response:
        connect_s, read_s = TIMEOUT_S
        return self._http.call(
            "POST",
            self._base_url + _ACTIONS + action,
            operation=action,
            idempotent=idempotent,
            json=body,
            timeout_s=(connect_s, read_s if idempotent else self._submit_timeout_s),
        )


def _equals(field: str, text: str) -> str:
    """Return an OData condition for an address."""
    return query_value(f"{field} eq {odata_text(text)}")


def _value(answer: Response) -> object:
    """Return the ``value`` of an answer: flat in what F&O sends, nested in what its documents show."""
    value = json_object(answer).get("value")
    if isinstance(value, dict) and "value" in value:
        return value["value"]
    return value


def _import_arguments(
    package_url: SecretUrl, data_project: str, execution_id: str, legal_entity: str, *, overwrite: bool, execute: bool
) -> dict[str, object]:
    """Return what both actions that import a package are sent."""
    return {
        "packageUrl": package_url.reveal(),
        "definitionGroupId": data_project,
        "executionId": execution_id,
        "execute": execute,
        "overwrite": overwrite,
        "legalEntityId": legal_entity,
    }


def _started(action: str, answer: Response, execution_id: str) -> str:
    """Return the id under which F&O runs the execution.

    Raises AnswerLost where the answer holds none.
    """
    answered = text_of(_value(answer))
    if answered in _NO_EXECUTION or len(answered) > _LONGEST_ID:
        raise AnswerLost(
            f"F&O answered {action} without an execution id; it may have started anyway",
            call=answer.call,
        )
    if answered != execution_id:
        log.warning("fo.other_execution_id", sent=execution_id, answered=answered)
    return answered


def _status(value: object) -> ExecutionStatus:
    """Return the status that F&O gave: by name; by number too, in the order of the documents (Assumed)."""
    text = text_of(value)
    for number, status in enumerate(ExecutionStatus):
        if text.casefold() in (status.casefold(), str(number)):
            return status
    log.warning("fo.unknown_status", status=text[:200])
    return ExecutionStatus.UNKNOWN


def _url(value: object) -> SecretUrl | None:
    text = text_of(value)
    url = keyed_link(text)
    if text and url is None:
        # It may hold a key all the same: http://[...?sig=...
        log.warning("fo.not_a_url", answered=repr(SecretUrl(text))[:200] if text.startswith("http") else text[:200])
    return url


def _rows_of(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects that a page of a collection holds."""
    rows = page.get("value")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _count_or_none(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
