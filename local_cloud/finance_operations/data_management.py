"""The data management framework: takes packages in, runs executions, hands packages out.

Everything that F&O decides is decided here and said in F&O's words (``ActionRefused``); how it looks on the wire is in
``actions``. Thread-safe: every method takes the one lock, but for the parts of an import that may take long.
"""

import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import HTTPAdapter

from local_cloud.finance_operations.blobs import Blobs
from local_cloud.finance_operations.executions import (
    WITHOUT_EFFECT,
    EntityRun,
    Execution,
    Operation,
    RowError,
    Status,
    Times,
    as_told,
    import_outcome,
)
from local_cloud.finance_operations.knobs import Behaviour, Speed
from local_cloud.finance_operations.packages import (
    EntityData,
    Package,
    PackageBroken,
    Row,
    data_file,
    folded,
    read_package,
    write_package,
)
from local_cloud.finance_operations.store import Effect, FailsAt, Project, ProjectEntity, StagedRow, Store

type Clock = Callable[[], float]  # seconds since the epoch

_TIMEOUT_S: Final = (5, 60)  # to connect; between two reads
_IN_MEMORY: Final = 8 * 1024 * 1024  # bytes; a larger package goes to a temporary file
_CHUNK: Final = 1024 * 1024  # bytes

# Observed: https://azureintegrations.com/2020/03/28/d365uo-recurring-integration-to-avoid-dmf-parallel-execution-issue/
DEADLOCK: Final = (
    "Cannot delete a record in Source (DMFDefinitionGroupEntityXMLFields).\n"
    "Deadlock, where one or more users have simultaneously locked the whole table or part of it."
)
# https://github.com/MicrosoftDocs/dynamics-365-unified-operations-public/issues/1335
COMPOSITE_NEEDS_PROJECT: Final = (
    "A data project must exist before importing a package consisting of a composite data entity."
)
# Assumed: that F&O says this, in the words of any record that is there already, where a package lists an entity twice.
ENTITY_TWICE: Final = (
    "Cannot create a record in Entities for a processing group (DMFDefinitionGroupEntity). Entity: {entity}.\n"
    "The record already exists."
)
# Assumed: that F&O says this, of all it says in contention, while an earlier execution of the project is running.
PROJECT_BUSY: Final = (
    "Cannot edit a record in Entities for a processing group (DMFDefinitionGroupEntity).\n"
    "The record has never been selected."
)


# What a running execution fails with whose data project another package redefines.
# Observed: https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/93; the code is documented.
REDEFINED: Final = "DMF2025: A column of the source could not be found in the mapping."
# Codes and causes: https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/dm-error-descriptions
SAME_ENTITY: Final = "DMF1996: Transaction was deadlocked on lock resources with another process."
EXCEL_IN_USE: Final = "DMF2039: Excel lock could not be obtained. One Excel file is imported or exported at a time."


# Assumed: the words of .NET, which F&O passes on.
KEY_RUN_OUT: Final = "The remote server returned an error: (403) Server failed to authenticate the request."


class ActionRefused(Exception):
    """F&O does not do it; the text is what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOrder:
    """The parameters of ImportFromPackage."""

    package_url: str
    data_project: str
    execution_id: str  # empty: the server makes one
    execute: bool
    overwrite: bool
    company: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unread:
    """An import that was accepted by ImportFromPackageAsync, and whose package is still to be read."""

    order: ImportOrder
    accepted: float
    speed: Speed  # as it was then
    key_lives_s: float  # for how long the key to its package was good then

    @property
    def read_at(self) -> float:
        return self.accepted + self.speed.async_read_s

    def times(self, *, never_ends: bool) -> Times:
        """Return when the outside sees what of an execution that begins once the package is read."""
        times = Times.from_now(self.read_at, self.speed, never_ends=never_ends)
        known = self.accepted + self.speed.async_not_found_s
        return replace(
            times,
            submitted=self.accepted,
            status_known=known + self.speed.not_found_s,
            details_known=max(known, self.read_at) + self.speed.details_not_found_s,
            status_sure=known + self.speed.not_found_s + self.speed.unknown_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder:
    """The parameters of ExportToPackage."""

    data_project: str
    package_name: str
    execution_id: str  # empty: the server makes one
    re_execute: bool
    company: str


class DataManagement:
    """One environment's data management. Close it when done.

    clock: something that returns seconds since the epoch. speed and behaviour may be replaced at any time; what is
    under way keeps the times it began with.
    """

    def __init__(self, store: Store, blobs: Blobs, clock: Clock, speed: Speed, behaviour: Behaviour) -> None:
        self.speed = speed
        self.behaviour = behaviour
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._lock = threading.RLock()
        self._import_gate = threading.Lock()
        self._closing = threading.Event()
        self._unread: list[_Unread] = []
        self._http = requests.Session()
        self._http.trust_env = False  # packages lie on this machine: no proxy
        self._http.mount("http://", HTTPAdapter(max_retries=1))

    def stop_waiting(self) -> None:
        """Let imports that wait for ``unpack_s`` go on at once."""
        self._closing.set()

    def close(self) -> None:
        with self._lock:
            self._http.close()
            self._blobs.close()
            self._store.close()

    # Import

    def write_url(self, unique_file_name: str) -> str:
        """Return a URL to upload a package to."""
        with self._lock:
            self._read_due()  # before anybody changes what it is to read
        if not unique_file_name:
            raise ActionRefused("Value cannot be null. Parameter name: blobName")  # Assumed
        life_s = self.speed.write_url_life_s
        return self._blobs.write_url(unique_file_name, life_s=life_s, sas_version=self.behaviour.sas_version)

    def import_package(self, order: ImportOrder) -> str:
        """Read a package into staging and start its execution; return the execution id.

        Raises ActionRefused. Blocks while the package is read and for ``unpack_s``.
        """
        self._check_starts()
        if not self._import_gate.acquire(blocking=not self.behaviour.parallel_imports_fail):
            # Documented as "Don't call ImportFromPackage() in parallel threads. Otherwise, it fails.":
            # https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/data-management-api
            raise ActionRefused(DEADLOCK)
        try:
            return self._import(order)
        finally:
            self._import_gate.release()

    def import_package_async(self, order: ImportOrder) -> str:
        """Accept an import that reads its package later: what is wrong with it is a failed execution, not a refusal."""
        self._check_starts()
        order = self._with_own_id(order)
        if self._repeated(order.execution_id):
            return order.execution_id
        with self._lock:
            unread = _Unread(
                order=order, accepted=self._clock(), speed=self.speed, key_lives_s=_life_s(order.package_url)
            )
            self._unread.append(unread)
            times = replace(unread.times(never_ends=True), runs=unread.read_at)
            self._store.save_execution(replace(self._failed(order, times), outcome=Status.NOT_RUN, errors=()))
            self._read_due()
        return order.execution_id

    def _read_due(self) -> None:
        """Let the imports that were accepted before read their packages, as they are now, if it is time."""
        due = [each for each in self._unread if each.read_at <= self._clock()]
        self._unread = [each for each in self._unread if each not in due]
        for each in due:
            accepted = self._store.execution(each.order.execution_id)
            if accepted is None or accepted.times.ends is not None:
                continue  # a person has deleted or ended it
            times = each.times(never_ends=self.behaviour.never_ends)
            self._store.delete_execution(each.order.execution_id)  # it does not stand in its own way
            try:
                if each.speed.async_read_s > each.key_lives_s:
                    raise ActionRefused(KEY_RUN_OUT)
                self._check_import(each.order)
                package = self._fetch(each.order.package_url)
                self._check_import(each.order, package)
                self._accept_import(each.order, package, times)
            except (PackageBroken, ActionRefused) as refusal:
                self._store.save_execution(self._failed(each.order, times, str(refusal)))

    def _import(self, order: ImportOrder) -> str:
        order = self._with_own_id(order)
        if self._repeated(order.execution_id):
            return order.execution_id
        with self._lock:
            self._check_import(order)
        try:
            package = self._fetch(order.package_url)
        except PackageBroken as broken:
            if self.behaviour.failed_import_leaves_execution:
                with self._lock:
                    self._note_failed(order, str(broken))
            raise ActionRefused(str(broken)) from broken
        self._closing.wait(self.speed.unpack_s)
        with self._lock:
            self._check_import(order, package)
            self._accept_import(order, package)
        return order.execution_id

    def _with_own_id[O: (ImportOrder, ExportOrder)](self, order: O) -> O:
        if self.behaviour.names_executions:
            return replace(order, execution_id=f"{self.behaviour.names_executions}-{uuid.uuid4().hex.upper()}")
        if order.execution_id and not (
            self.behaviour.repeated_execution_id == "new" and self._store_knows(order.execution_id)
        ):
            return order
        # Observed, for example: Import_Tabseparated-2023-10-13T08:37:42-669A3F02B6CC424BA17A7C070DD99772
        moment = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return replace(order, execution_id=f"{order.data_project}-{moment}-{uuid.uuid4().hex.upper()}")

    def _store_knows(self, execution_id: str) -> bool:
        with self._lock:
            return self._store.execution(execution_id) is not None

    def _repeated(self, execution_id: str) -> bool:
        """Return whether this id has run and is to be answered as if it had not. Raises ActionRefused."""
        if not self._store_knows(execution_id):
            return False
        if self.behaviour.repeated_execution_id == "same":
            return True
        raise ActionRefused(f"The execution id {execution_id} already exists.")  # Assumed: nothing is documented

    def _check_starts(self) -> None:
        if self.behaviour.refuse_starts:
            raise ActionRefused(self.behaviour.refuse_starts)

    def _check_import(self, order: ImportOrder, package: Package | None = None) -> None:
        """Raise ActionRefused for what cannot be imported now; package: None before it has been read."""
        if not order.data_project:
            raise ActionRefused("The data project name must be specified.")  # Assumed
        self._check_company(order.company)
        if package is None and self.behaviour.busy_project == "refuse":
            self._check_idle(order.data_project)
        if package is None and self.behaviour.composite_entities:
            return  # the rules for the data project depend on what is in the package
        exists = self._store.project(order.data_project) is not None
        if package is not None and self._is_composite(package):
            if not exists:
                raise ActionRefused(COMPOSITE_NEEDS_PROJECT)
        elif exists and not order.overwrite:
            # Observed in Recurring-Integrations-Scheduler#54
            raise ActionRefused(f"The data project '{order.data_project}' exists and overwrite has not been specified.")

    def _is_composite(self, package: Package) -> bool:
        labels = {folded(each) for each in self.behaviour.composite_entities}
        return any(folded(entity.name) in labels for entity in package.entities)

    def _check_company(self, company: str) -> None:
        if company.upper() not in {each.upper() for each in self.behaviour.legal_entities}:
            raise ActionRefused(f"Legal entity {company} does not exist.")  # Assumed: the words

    def _check_idle(self, data_project: str) -> None:
        if self._running_of(data_project):
            raise ActionRefused(PROJECT_BUSY)

    def _running_of(self, data_project: str) -> list[Execution]:
        self._settle()
        return [each for each in self._store.open_executions() if folded(each.data_project) == folded(data_project)]

    def _redefine_while_running(self, order: ImportOrder, package: Package) -> None:
        """Let the package redefine a data project while an execution of it runs. Raises ActionRefused."""
        running = self._running_of(order.data_project)
        if running and self.behaviour.busy_project != "refuse" and order.overwrite:
            self._define_import(order.data_project, package)
            for each in running:
                self._store.save_execution(each.failing(REDEFINED))
        if running and self.behaviour.busy_project != "accept":
            raise ActionRefused(PROJECT_BUSY)

    def _start(self, execution: Execution) -> None:
        """Save an execution that begins now, with what becomes of it beside those that are running.

        One that is failing for such a reason has nothing in use itself.
        """
        running = [each for each in self._store.open_executions() if not each.errors]
        with_excel = [each for each in running if each.uses_excel] if execution.uses_excel else []
        if with_excel and self.behaviour.excel_in_use == "refuse":
            raise ActionRefused(EXCEL_IN_USE)
        if with_excel and self.behaviour.excel_in_use == "fail":
            execution = execution.failing(EXCEL_IN_USE)
        elif with_excel:
            ends = [each.times.ends for each in with_excel]
            free = None if None in ends else max(each for each in ends if each is not None)
            wait_s = None if free is None else max(free - self._clock(), 0.0)
            execution = replace(execution, times=execution.times.later(wait_s))
        if self.behaviour.same_entity_deadlocks and any(execution.shares_an_entity_with(each) for each in running):
            execution = execution.failing(SAME_ENTITY)
        self._store.save_execution(execution)

    def _fetch(self, url: str) -> Package:
        """Return the package behind a URL. Raises ActionRefused, PackageBroken."""
        try:
            with (
                tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file,
                self._http.get(
                    self._blobs.direct(url), stream=True, timeout=_TIMEOUT_S, allow_redirects=False
                ) as response,
            ):
                if response.status_code != requests.codes.ok:
                    # Assumed: the words of .NET, which F&O passes on
                    raise ActionRefused(
                        f"The remote server returned an error: ({response.status_code}) {response.reason}."
                    )
                for chunk in response.iter_content(_CHUNK):
                    file.write(chunk)
                file.seek(0)
                return self._with_each_entity_once(self._known_entities(self._readable(read_package(file))))
        except requests.RequestException as error:
            raise ActionRefused("Unable to connect to the remote server") from error

    def _readable(self, package: Package) -> Package:
        unreadable = next((each.error for each in package.entities if each.error), "")
        if unreadable and self.behaviour.unreadable_data_file == "refuse":
            raise PackageBroken(unreadable)
        return package

    def _known_entities(self, package: Package) -> Package:
        known = self.behaviour.entities
        if known is not None:
            labels = {folded(each) for each in known}
            for entity in package.entities:
                if folded(entity.name) not in labels:
                    raise PackageBroken(f"Entity {entity.name} does not exist in the target environment")
        return package

    def _with_each_entity_once(self, package: Package) -> Package:
        """Return the package with the rows of an entity that is listed twice as one. Raises PackageBroken."""
        once: dict[str, EntityData] = {}
        for entity in package.entities:
            first = once.get(folded(entity.name))
            if first is not None:
                if self.behaviour.entity_listed_twice == "refuse":
                    raise PackageBroken(ENTITY_TWICE.format(entity=entity.name))
                fields = tuple(dict.fromkeys([*first.fields, *entity.fields]))
                entity = replace(first, fields=fields, rows=(*first.rows, *entity.rows))
            once[folded(entity.name)] = entity
        return replace(package, entities=tuple(once.values()))

    def _note_failed(self, order: ImportOrder, message: str) -> None:
        self._store.save_execution(self._failed(order, self._times(), message))

    @staticmethod
    def _failed(order: ImportOrder, times: Times, message: str = "") -> Execution:
        return Execution(
            execution_id=order.execution_id,
            operation=Operation.IMPORT,
            data_project=order.data_project,
            company=order.company.upper(),
            times=times,
            outcome=Status.FAILED,
            reported=Status.FAILED,
            reaches_target=False,
            entities=(),
            errors=(RowError(record_id="", field="", message=message),),
        )

    def _accept_import(self, order: ImportOrder, package: Package, times: Times | None = None) -> None:
        self._redefine_while_running(order, package)
        with self._store.transaction():
            if order.overwrite or self._store.project(order.data_project) is None:
                self._define_import(order.data_project, package)
            runs = tuple(self._staged(order.execution_id, data) for data in package.entities)
            outcome, reported = as_told(import_outcome(runs), self.behaviour)
            if order.overwrite and self._is_composite(package):
                outcome = reported = Status.FAILED
            self._start(
                Execution(
                    execution_id=order.execution_id,
                    operation=Operation.IMPORT,
                    data_project=order.data_project,
                    company=order.company.upper(),
                    times=times or self._times(),
                    outcome=outcome,
                    reported=reported,
                    reaches_target=order.execute and outcome not in WITHOUT_EFFECT,
                    entities=runs,
                )
            )

    def _define_import(self, name: str, package: Package) -> None:
        """Make or redefine a data project from a package; how its entities are exported stays as it was."""
        old = self._store.project(name)
        incremental = {each.entity for each in old.entities if each.is_incremental} if old else set()
        self._store.save_project(
            Project(
                name=name,
                operation=Operation.IMPORT,
                description=package.data_project,
                entities=tuple(
                    ProjectEntity(
                        entity=data.name,
                        source_format=data.source_format,
                        fields=data.fields,
                        is_incremental=data.name in incremental,
                    )
                    for data in package.entities
                ),
            )
        )

    def _staged(self, execution_id: str, data: EntityData) -> EntityRun:
        key = (self.behaviour.key_fields or {}).get(data.name) or (data.fields[0] if data.fields else "")
        rows = [self._judged(number, key, row) for number, row in enumerate(data.rows, start=1)]
        self._store.stage(execution_id, data.name, rows)
        self._store.note_fields(data.name, data.fields)
        unstaged = sum(row.fails_at is FailsAt.STAGING for row in rows)
        return EntityRun(
            entity=data.name,
            staged=len(rows) - unstaged,
            failed_to_stage=unstaged,
            failed_to_import=sum(row.fails_at is FailsAt.TARGET for row in rows),
            source_format=data.source_format,
            error=data.error,
        )

    def _judged(self, number: int, key: str, row: Row) -> StagedRow:
        """Say whether a row will reach the target. Simple rules of our own, so that a test can make each thing fail."""
        staged = StagedRow(number=number, key=row.get(key, ""), fields=row)
        for field, value in row.items():
            if len(value) > self.behaviour.max_value_length:
                message = f"The value of field {field} is too long: {len(value)} characters."
                return replace(staged, fails_at=FailsAt.STAGING, field=field, message=message)
        if not staged.key:
            return replace(staged, fails_at=FailsAt.TARGET, field=key, message=f'Field "{key}" must be filled in.')
        for field, value in row.items():
            if "#ERROR" in value:
                message = (
                    f'The value "{value}" in field "{field}" is not found in the related table.\n'
                    "validateWrite failed on data source."
                )
                return replace(staged, fails_at=FailsAt.TARGET, field=field, message=message)
        return staged

    # Export

    def export_package(self, order: ExportOrder) -> str:
        """Start an export of a data project's rows as they are now; return the execution id. Raises ActionRefused."""
        self._check_starts()
        order = self._with_own_id(order)
        if not order.re_execute and self._repeated(order.execution_id):
            return order.execution_id
        with self._lock:
            project = self._store.project(order.data_project)
            if project is None or order.re_execute:
                # Observed in Dynamics-AX-Integration#89, with reExecute and an id that had never run; in place of the
                # legal entity F&O says once more whether it is to be executed again.
                re_execute = str(order.re_execute).lower()
                raise ActionRefused(
                    f"Export to package failed for definition group: {order.data_project}, "
                    f"package name: {order.package_name}, execution id: {order.execution_id}, "
                    f"reExecute: {re_execute}, legal entity: {re_execute}"
                )
            self._check_company(order.company)
            self._check_idle(order.data_project)
            self._accept_export(order, project)
        return order.execution_id

    def _accept_export(self, order: ExportOrder, project: Project) -> None:
        company = order.company.upper()
        # Observed: without mapping the export stages no row and stays in Executing for ever
        stuck = not all(entity.is_mapped for entity in project.entities)
        outcome, reported = as_told(Status.SUCCEEDED, self.behaviour)
        data = [] if stuck else [self._export_data(project, entity, company) for entity in project.entities]
        blob = ""
        if any(each.rows for each in data) or (self.behaviour.empty_export == "package" and not stuck):
            blob = f"{uuid.uuid4()}/{order.package_name or order.execution_id}.zip"
            self._blobs.put(blob, write_package(project.name, data), "application/zip")
        with self._store.transaction():
            # Changes count as exported from here on, fetched or not: that is how a delta gets lost.
            version = self._store.version()
            for each in data:
                self._store.note_exported(project.name, each.name, company, version)
            self._start(
                Execution(
                    execution_id=order.execution_id,
                    operation=Operation.EXPORT,
                    data_project=project.name,
                    company=company,
                    times=self._times(stuck=stuck),
                    outcome=outcome,
                    reported=reported,
                    reaches_target=False,
                    entities=tuple(
                        EntityRun(
                            entity=each.name,
                            staged=len(each.rows),
                            failed_to_stage=0,
                            failed_to_import=0,
                            source_format=each.source_format,
                        )
                        for each in data
                    )
                    or tuple(
                        EntityRun(
                            entity=each.entity,
                            staged=0,
                            failed_to_stage=0,
                            failed_to_import=0,
                            source_format=each.source_format,
                        )
                        for each in project.entities
                    ),
                    package_blob=blob,
                )
            )

    def _export_data(self, project: Project, line: ProjectEntity, company: str) -> EntityData:
        since = self._store.exported_version(project.name, line.entity, company) if line.is_incremental else 0
        fields = line.fields or self._store.fields(line.entity)
        rows = self._store.rows(line.entity, company, after_version=since)
        return EntityData(
            name=line.entity, source_format=line.source_format, fields=fields, rows=tuple(row for _, row in rows)
        )

    # What becomes of an execution

    def execution_status(self, execution_id: str) -> Status:
        """Raises ActionRefused while F&O does not find the execution, or does not any more."""
        with self._lock:
            execution = self._execution(execution_id)
            status = execution.status(self._clock()) if execution else None
        if status is None:
            raise _not_found(execution_id)
        return status

    def entity_statuses(self, execution_id: str) -> list[Status]:
        """Return the status of each entity of an execution. Raises ActionRefused when it is not found."""
        status = self.execution_status(execution_id)
        with self._lock:
            execution = self._execution(execution_id)
        if execution is None:
            raise _not_found(execution_id)
        ended = execution.has_ended(self._clock())
        return [import_outcome((entity,)) if ended else status for entity in execution.entities]

    def company_of(self, execution_id: str) -> str:
        """Return where an execution ran. Raises ActionRefused when it is not found."""
        with self._lock:
            execution = self._execution(execution_id)
        if execution is None:
            raise _not_found(execution_id)
        return execution.company

    def exported_package_url(self, execution_id: str) -> str:
        """Return where the package lies; "" while there is none, or none any more."""
        with self._lock:
            execution = self._execution(execution_id)
        if execution is None or not execution.package_is_there(self._clock()):
            return ""
        return self._download_url(execution.package_blob)

    def execution_errors(self, execution_id: str) -> list[RowError]:
        """Return the errors of an execution, once it has ended. Raises ActionRefused when it is not found."""
        with self._lock:
            execution = self._execution(execution_id)
            if execution is None:
                raise _not_found(execution_id)
            if not execution.has_ended(self._clock()):
                return []
            rows = [
                RowError(record_id=row.key or str(row.number), field=row.field, message=row.message)
                for entity in execution.entities
                for fails_at in (FailsAt.STAGING, FailsAt.TARGET)
                for row in self._store.staged(execution.execution_id, entity.entity, fails_at)
            ]
        files = [RowError(record_id="", field="", message=each.error) for each in execution.entities if each.error]
        return [*execution.errors, *files, *rows]

    def generate_error_keys_file(self, execution_id: str, entity: str) -> bool:
        """Begin to write the file of the keys that failed to import; return whether there are any."""
        with self._lock:
            execution, run = self._entity_run(execution_id, entity)
            if execution is None or run is None or not run.failed_to_import or not execution.has_ended(self._clock()):
                return False
            asked = replace(run, error_keys_asked=self._clock())
            runs = tuple(asked if each is run else each for each in execution.entities)
            self._store.save_execution(replace(execution, entities=runs))
            return True

    def error_keys_file_url(self, execution_id: str, entity: str) -> str:
        """Return where the file lies; "" while it is written, and where there is none."""
        with self._lock:
            execution, run = self._entity_run(execution_id, entity)
            if execution is None or run is None or run.error_keys_asked is None:
                return ""
            if self._clock() < run.error_keys_asked + execution.times.error_keys_delay_s:
                return ""
            failed = self._store.staged(execution.execution_id, run.entity, FailsAt.TARGET)
        return self._error_file(execution, f"{run.entity}-ErrorKeys.txt", "\r\n".join(row.key for row in failed))

    def staging_error_file_url(self, execution_id: str, entity: str) -> str:
        """Return where the file of the rows lies that did not reach staging; "" where there is none."""
        with self._lock:
            execution, run = self._entity_run(execution_id, entity)
            if execution is None or run is None or not run.failed_to_stage:
                return ""
            failed = self._store.staged(execution.execution_id, run.entity, FailsAt.STAGING)
        fields = tuple(failed[0].fields)
        rows = tuple(dict(row.fields) | {"ERROR": row.message} for row in failed)
        data = EntityData(name=run.entity, source_format="CSV", fields=(*fields, "ERROR"), rows=rows)
        return self._error_file(execution, f"{run.entity}-StagingErrors.csv", data_file(data).decode())

    def delete_history(self, execution_id: str) -> None:
        """Remove an execution from the job history; what it has not done yet it never does."""
        with self._lock:
            if self._execution(execution_id) is None:
                raise _not_found(execution_id)
            self._store.delete_execution(execution_id)

    def end_now(self, execution_id: str, outcome: Status | None = None) -> bool:
        """Let an execution end at once, as an operator or a lucky batch server might; return whether it was running.

        outcome: Failed or Canceled end it without effect; None lets it come to what it would have come to.
        """
        with self._lock:
            execution = self._execution(execution_id)
            now = self._clock()
            if execution is None or execution.has_ended(now):
                return False
            self._store.save_execution(execution.ended_early(now, outcome))
            self._settle()
            return True

    def executions(self) -> list[Execution]:
        """Return every execution, oldest first, those that the job history has forgotten included."""
        with self._lock:
            self._settle()
            return self._store.executions()

    def listed_executions(self, *, execution_id: str | None = None, data_project: str | None = None) -> list[Execution]:
        """Return the executions that DataManagementExecutionJobs shows now: all, or those of this id or project."""
        with self._lock:
            self._settle()
            found = self._store.executions(execution_id=execution_id, data_project=data_project)
        now = self._clock()
        return [
            execution for execution in found if now >= execution.times.details_known and not execution.is_forgotten(now)
        ]

    def has_project(self, name: str) -> bool:
        """Return whether there is a data project of that name."""
        with self._lock:
            return self._store.project(name) is not None

    def effects(self) -> list[Effect]:
        """Return what imports have brought into the target so far, in order."""
        with self._lock:
            self._settle()
            return self._store.effects()

    def _execution(self, execution_id: str) -> Execution | None:
        """Return an execution that the job history still has, its effect included if it has ended."""
        self._settle()
        execution = self._store.execution(execution_id)
        return None if execution is None or execution.is_forgotten(self._clock()) else execution

    def _entity_run(self, execution_id: str, entity: str) -> tuple[Execution | None, EntityRun | None]:
        execution = self._execution(execution_id)
        runs: Iterable[EntityRun] = execution.entities if execution else ()
        return execution, next((run for run in runs if folded(run.entity) == folded(entity)), None)

    def _settle(self) -> None:
        """Let the executions that have ended by now take effect, in the order in which they ended."""
        self._read_due()
        now = self._clock()
        due = [execution for execution in self._store.open_executions() if execution.has_ended(now)]
        for execution in sorted(due, key=lambda each: each.times.ends or 0.0):
            with self._store.transaction():
                runs = tuple(self._taken_effect(execution, run) for run in execution.entities)
                self._store.save_execution(replace(execution, entities=runs, done=True))

    def _taken_effect(self, execution: Execution, run: EntityRun) -> EntityRun:
        if not execution.reaches_target:
            return run
        rows = self._store.staged(execution.execution_id, run.entity, FailsAt.NOWHERE)
        created, updated, unchanged = self._store.merge(run.entity, execution.company, rows)
        if self.behaviour.unchanged_rows == "updated":
            updated += unchanged
        if rows:
            self._store.note_effect(
                Effect(
                    execution_id=execution.execution_id,
                    data_project=execution.data_project,
                    company=execution.company,
                    entity=run.entity,
                    rows=len(rows),
                )
            )
        return replace(run, created=created, updated=updated)

    def _times(self, *, stuck: bool = False) -> Times:
        return Times.from_now(self._clock(), self.speed, never_ends=stuck or self.behaviour.never_ends)

    # What lies around

    def now(self) -> float:
        return self._clock()

    def entity_names(self) -> list[str]:
        """Return the labels of the entities that imports have brought rows of."""
        with self._lock:
            self._settle()
            return self._store.entity_names()

    def rows(self, entity: str, company: str | None = None) -> list[tuple[str, Row]]:
        """Return (company, row) of what has been imported of an entity; company: None for all."""
        with self._lock:
            self._settle()
            return self._store.rows(entity, company)

    def project(self, name: str) -> Project | None:
        with self._lock:
            return self._store.project(name)

    def projects(self) -> list[Project]:
        with self._lock:
            return self._store.projects()

    def define_project(self, name: str, operation: Operation, description: str) -> Project:
        """Make a data project without entities. Raises ActionRefused when there is one of that name."""
        with self._lock:
            if self._store.project(name) is not None:
                raise ActionRefused(f"Cannot create a record in Data project. Name: {name}. The record already exists.")
            # Observed: the description is cut at 60 characters
            project = Project(name=name, operation=operation, description=description[:60])
            self._store.save_project(project)
            return project

    def add_to_project(self, name: str, line: ProjectEntity) -> None:
        """Add an entity to a data project, or change how it is there. Raises ActionRefused: no such project."""
        with self._lock:
            project = self._store.project(name)
            if project is None:
                raise ActionRefused(f"The data project '{name}' does not exist.")  # Assumed: the words
            others = tuple(each for each in project.entities if each.entity.casefold() != line.entity.casefold())
            self._store.save_project(replace(project, entities=(*others, line)))

    def delete_project(self, name: str) -> bool:
        """Return whether there was one."""
        with self._lock:
            there = self._store.project(name) is not None
            self._store.delete_project(name)
            return there

    def _error_file(self, execution: Execution, name: str, text: str) -> str:
        blob = f"{execution.execution_id}/{name}"
        self._blobs.put(blob, text.encode(), "text/plain; charset=utf-8")
        return self._download_url(blob)

    def _download_url(self, blob: str) -> str:
        life_s = self.speed.read_url_life_s
        return self._blobs.read_url(blob, life_s=life_s, sas_version=self.behaviour.sas_version)


def _life_s(url: str) -> float:
    """Return for how many seconds a SAS URL is good, by the wall clock, which Azurite goes by."""
    ends = parse_qs(urlsplit(url).query).get("se")
    return datetime.fromisoformat(ends[0]).timestamp() - datetime.now(UTC).timestamp() if ends else float("inf")


def _not_found(execution_id: str) -> ActionRefused:
    # Observed in Recurring-Integrations-Scheduler#71
    return ActionRefused(f"Execution details were not found for execution id: {execution_id}")
