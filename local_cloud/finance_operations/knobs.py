"""How the simulated F&O behaves where the real one differs by version, load or luck.

Every knob can be turned at run time. ``Speed`` is about time, ``Behaviour`` about everything else. The defaults are
what current documents and measured code say; the other positions are what was reported from other versions, or what
nobody has documented.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How long things take, in seconds; an execution keeps the times that held when it was submitted."""

    seconds_per_execution: float = 2.0  # from the submit to the final status
    not_run_s: float = 0.0  # the first part of that, spent in NotRun
    not_found_s: float = 0.0  # right after the submit, GetExecutionSummaryStatus answers 400 "not found" for so long
    details_not_found_s: float = 0.0  # the same for DataManagementExecutionJobDetails and ...Jobs
    unknown_s: float = 0.0  # after not_found_s, the status is Unknown for so long
    # ImportFromPackageAsync: after its answer the package is read so much later, and until then the id may be unknown.
    # What F&O really does is documented nowhere.
    async_read_s: float = 2.0
    async_not_found_s: float = 2.0  # as not_found_s, and on top of it
    unpack_s: float = 0.0  # ImportFromPackage answers so long after it has read the package (real seconds)
    package_url_s: float = 0.0  # GetExportedPackageUrl answers "" for so long after the final status
    error_keys_s: float = 0.0  # GetImportTargetErrorKeysFileUrl answers "" for so long after it was asked for
    write_url_life_s: float = 1800.0  # Observed: se was 30 minutes after the call, Recurring-Integrations-Scheduler#113
    read_url_life_s: float = 3600.0  # Assumed: as for the download link of the user interface
    history_days: float = 7.0  # then the job history clean-up forgets an ended execution, and its package is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Everything that is not a time."""

    legal_entities: tuple[str, ...] = ("USMF", "USSI", "DEMF", "GBSI", "DAT")
    registered_apps: tuple[str, ...] | None = None  # form "Microsoft Entra ID applications"; None: every client id is
    entities: tuple[str, ...] | None = None  # labels of the data entities of this environment; None: any name is one
    # Labels of composite entities. A package with one needs a data project that exists, and no overwrite: with it, its
    # execution ends as Failed and gives no reason.
    # https://github.com/MicrosoftDocs/dynamics-365-unified-operations-public/issues/1335
    composite_entities: tuple[str, ...] = ()
    # What F&O says against every ImportFromPackage and ExportToPackage; "": nothing. For contention, as described in
    # https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/dm-error-descriptions#error-codes
    refuse_starts: str = ""
    key_fields: Mapping[str, str] | None = None  # entity -> its key field; otherwise the first column is the key
    max_value_length: int = 255  # characters; a longer value does not fit into its staging column
    repeated_execution_id: Literal["refuse", "new", "same"] = "refuse"  # what F&O really does is documented nowhere
    # A manifest that lists an entity twice; what F&O does is documented nowhere. refuse: as the index of a project's
    # lines would; both: the rows of both files are imported, in the manifest's order.
    entity_listed_twice: Literal["refuse", "both"] = "refuse"
    # F&O names executions itself, whatever id it is sent: with this, a dash and a random text. "": as it is sent.
    # Observed: with the data project's name in any script, or "ExportPackage-5/5/2026 09:19:44 am",
    # https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/71
    names_executions: str = ""
    parallel_imports_fail: bool = True  # two ImportFromPackage calls at one time end in a deadlock
    # An import into a data project while an execution of it runs. Observed: F&O does not start it (measured by the
    # author of a public migration tool); and its package redefines the project under the running execution, which then
    # fails, https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/93. accept: both run, and the first
    # fails; refuse_too_late: the second is refused once it has redefined the project, so that the first fails as well.
    busy_project: Literal["refuse", "refuse_too_late", "accept"] = "refuse_too_late"
    # An import of an entity of which another data project's import is running. Observed: it ends in a deadlock,
    # https://azureintegrations.com/2020/03/28/d365uo-recurring-integration-to-avoid-dmf-parallel-execution-issue/.
    # False, although that is the kinder position: True makes every test of two lanes one of deadlocks.
    same_entity_deadlocks: bool = False
    # An import or export with an Excel file while another one is running (DMF2039). That there is one at a time is
    # documented, what becomes of the second one is not. fail: its execution fails; refuse: it does not start.
    # https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/dm-error-descriptions#error-codes
    excel_in_use: Literal["fail", "refuse", "wait"] = "fail"
    # A data file that cannot be read into staging: one without a row (DMF2053), without the sheet that is named
    # (DMF040), in UTF-16 under CSV. Where F&O says it is not documented. execution: the entity fails, others go on.
    unreadable_data_file: Literal["execution", "refuse"] = "execution"
    # A row that is in F&O already as it is sent: whether TargetRecordsUpdatedCount has it is documented nowhere.
    unchanged_rows: Literal["neither", "updated"] = "neither"
    failed_import_leaves_execution: bool = False  # a refused package leaves a Failed execution under its id
    never_ends: bool = False  # executions stay Executing, as with a dead batch service
    outcome: Literal["", "Unknown", "PartiallySucceeded", "Failed", "Canceled"] = ""  # reported instead of the real one
    nested_values: bool = False  # {"value": {"value": ...}}, as older documents show it
    status_as_string: bool = False  # GetExecutionSummaryStatus: the context Edm.String of the documentation's examples
    write_url_as_object: bool = False  # GetAzureWriteUrl: an object instead of JSON in a string, as in 2018
    malformed_errors: bool = False  # GetExecutionErrors: quotes and newlines unescaped, as measured on a live one
    empty_export: Literal["package", "no_url"] = "package"  # what an export without a single row yields
    sas_version: str = "2014-02-14"  # Observed: the sv of Recurring-Integrations-Scheduler#113


def changed[K: (Speed, Behaviour)](knobs: K, changes: Mapping[str, Any]) -> K:
    """Return ``knobs`` with those ``changes`` that it has a field for.

    Raises:
        ValueError: a value has the wrong type.
    """
    hints = get_type_hints(type(knobs))
    own = {name: _converted(name, value, hints[name]) for name, value in changes.items() if name in hints}
    return replace(knobs, **own)


def knob_names() -> frozenset[str]:
    return frozenset(field.name for kind in (Speed, Behaviour) for field in fields(kind))


def _converted(name: str, value: Any, hint: Any) -> Any:
    if isinstance(value, list):
        value = tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not _fits(value, hint):
        raise ValueError(f"{name} cannot be {value!r}")
    return value


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if hint in (float, int, bool, str):
        return type(value) is hint
    if origin is Literal:
        return value in get_args(hint)
    if origin is tuple:
        return isinstance(value, tuple) and all(isinstance(part, str) for part in value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if hint is type(None):
        return value is None
    return any(_fits(value, part) for part in get_args(hint))
