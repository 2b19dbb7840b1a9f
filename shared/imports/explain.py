"""What would happen to a file of a name, or why nothing would: for ``dev.py settings explain``. Pure.

The words of a refusal are those that the report of the refused file has.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.config.flows import Flows
from shared.config.model import (
    ALLOW,
    BY_NAME,
    REFUSE,
    WARN,
    Asynchronous,
    CompaniesListed,
    CompaniesOfFo,
    DateFolders,
    ImportFlow,
    OffTime,
    PartialFiling,
)
from shared.config.off_times import WEEKDAYS
from shared.config.values import Unfit, folded, is_company, matches_name, parse_folder
from shared.errors import FileRejected
from shared.imports import rules
from shared.imports.places import within


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What one import would do with a file."""

    flow_name: str
    folder: str  # where the file is put
    refusal: str = ""  # why it would go to the Error folder; "" if it would be imported
    company: str = ""
    data_project: str = ""  # "" if the package's manifest names it
    lane: str = ""
    lines: tuple[tuple[str, str], ...] = ()  # what a person reads: a label and a text


def explain(path: str, flows: Flows, ignored_names: Iterable[str]) -> list[Explanation] | str:
    """Return what each import that could get a file would do with it, or why none could.

    path: a name, or a path in the drive that ends with one. Without a folder every import is asked, as if the file were
    put into its Input folder. Raises Unfit for a folder that OneDrive does not allow.
    """
    folder, _, name = path.replace("\\", "/").rpartition("/")
    if not name:
        return f"'{path}' has no file name at its end. Example: ERP/Customers/Input/USMF_Customers_001.zip"
    if matches_name(name, ignored_names):
        return f"'{name}' matches IMPORT_IGNORED_NAMES, so the app leaves it alone in every Input folder."
    places = list(_places(folder, flows))
    if not places:
        inputs = ", ".join(dict.fromkeys(flow.input_folder for flow in flows.imports)) or "none"
        return f"No import watches {_folder(folder) or 'a folder'}. The Input folders are: {inputs}."
    given = next((sub_folder for _, sub_folder in places if folder and sub_folder), "")
    if given and matches_name(given, ignored_names):
        return f"The sub-folder '{given}' matches IMPORT_IGNORED_NAMES, so the app leaves all that is in it alone."
    if not any(_is_listed(flow, sub_folder) for flow, sub_folder in places):
        flow, sub_folder = places[0]
        return (
            f"The app leaves the sub-folder '{sub_folder}' of {flow.input_folder} alone, with all that is in it, and "
            f"reports it: the sub-folders are companies. {_companies_text(flow)}"
        )
    takers = [(flow, sub_folder) for flow, sub_folder in places if flows.taker_of(flow, name) is flow]
    if not takers:
        return "\n".join(dict.fromkeys(_why_unmatched(flow, name, sub_folder, flows) for flow, sub_folder in places))
    return [_explain(flow, name, sub_folder, flows) for flow, sub_folder in takers]


def _places(folder: str, flows: Flows) -> Iterator[tuple[ImportFlow, str]]:
    """Yield the imports that watch a folder, with the sub-folder of Input that it is for them."""
    given = _folder(folder)
    above, _, last = given.rpartition("/")
    for flow in flows.imports:
        if not given:
            yield flow, _usual_company(flow) if flow.has_company_folders else ""
        elif folded(given) == folded(flow.input_folder):
            yield flow, ""
        elif flow.has_company_folders and folded(above) == folded(flow.input_folder):
            yield flow, last


def _folder(text: str) -> str:
    """Return a folder as an absolute path in the drive; "" if none is given. Raises Unfit."""
    try:
        return parse_folder(text) if text else ""
    except Unfit as unfit:
        raise Unfit(f"The folder {text} {unfit} Give its path in the drive, such as ERP/Customers/Input.") from None


def _companies_text(flow: ImportFlow) -> str:
    if isinstance(flow.companies, CompaniesListed):
        return f"Those of import {flow.name} are: {', '.join(flow.companies.companies)}."
    return "A company has 1 to 4 letters or digits."


def _is_listed(flow: ImportFlow, sub_folder: str) -> bool:
    """Return whether a scan looks into a sub-folder of Input, as far as the settings tell."""
    if isinstance(flow.companies, CompaniesListed):
        return not sub_folder or sub_folder.upper() in flow.companies.companies
    return not sub_folder or is_company(sub_folder)


def _usual_company(flow: ImportFlow) -> str:
    return flow.companies.companies[0] if isinstance(flow.companies, CompaniesListed) else "USMF"


def _why_unmatched(flow: ImportFlow, name: str, sub_folder: str, flows: Flows) -> str:
    sharing = next(each for each in flows.input_folders if flow in each)
    unmatched = next((each.unmatched_folder for each in sharing if each.unmatched_folder), "")
    then = (
        f"the app moves it to {within(unmatched, sub_folder)} after five minutes"
        if unmatched
        else "it stays there and is reported"
    )
    return f"No import of {flow.input_folder} takes '{name}' by its 'files' patterns, so {then}."


def _explain(flow: ImportFlow, name: str, sub_folder: str, flows: Flows) -> Explanation:
    folder = within(flow.input_folder, sub_folder)
    by_date = _BY_DATE[flow.filing.date_folders]
    error = within(flow.error_folder, sub_folder) + by_date
    try:
        company = rules.company_of(flow, name, sub_folder)
        data_project = rules.project_of(flow, name, company)
    except FileRejected as refused:
        lines = (("Error", error), ("Why", refused.message))
        return Explanation(flow_name=flow.name, folder=folder, refusal=refused.message, lines=lines)
    lane = rules.lane_of(flow, name, sub_folder)
    return Explanation(
        flow_name=flow.name,
        folder=folder,
        company=company,
        data_project=data_project,
        lane=lane,
        lines=(
            ("Company", company + (", if F&O has it" if isinstance(flow.companies, CompaniesOfFo) else "")),
            ("Data project", data_project or "the one that the package's manifest names"),
            *_action(flow),
            ("Environment", flow.environment_url),
            ("Lane", lane),
            ("Processing", within(flow.processing_folder, sub_folder)),
            ("Success", within(flow.success_folder, sub_folder) + by_date),
            ("Error", error),
            *_partial(flow, within(flow.partial_folder, sub_folder) + by_date),
            *(() if folded(name).endswith(".zip") else (("Not .zip", "refused, unless the file is a data package"),)),
            *((("Result file", "beside the filed file"),) if flow.result_file else ()),
            *(() if flow.execute else (("Execute", "no: rows go to F&O's staging tables only"),)),
            ("Order", _order(flow, flows)),
            *_kept_apart(flow),
            *((("Not between", "; ".join(_off_time(each) for each in flow.not_between)),) if flow.not_between else ()),
            ("Same content", _DUPLICATES[flow.duplicates]),
            *((("Alerts to", flow.alert_recipient),) if flow.alert_recipient else ()),
        ),
    )


def _action(flow: ImportFlow) -> Iterator[tuple[str, str]]:
    if isinstance(flow.action, Asynchronous):
        yield "Action", f"{flow.action.name}: F&O answers at once, and reads the package later"


def _kept_apart(flow: ImportFlow) -> Iterator[tuple[str, str]]:
    others = {"other imports of its entities": flow.reserve.entities, "other Excel files": flow.reserve.excel}
    if any(others.values()):
        yield "Never beside", " and ".join(each for each, is_set in others.items() if is_set)


def _partial(flow: ImportFlow, folder: str) -> Iterator[tuple[str, str]]:
    if flow.filing.partially_succeeded is PartialFiling.FOLDER:
        yield "Partial", folder
    elif flow.filing.partially_succeeded is PartialFiling.SUCCESS:
        yield "Partial", "as Success"


def _order(flow: ImportFlow, flows: Flows) -> str:
    parts = ["by name" if flow.order.by == BY_NAME else "by arrival"]
    if before := flows.imports_before(flow):
        failed = "; none of their files may have failed" if flow.order.after_success else ""
        parts.append(f"after the files of {', '.join(each.name for each in before)}{failed}")
    if flow.files.minimum_age_seconds:
        parts.append(f"once it is {flow.files.minimum_age_seconds} seconds old")
    if flow.order.pause_seconds:
        parts.append(f"with {flow.order.pause_seconds} seconds between two files")
    passes = "a file that cannot go on is passed after three minutes"
    parts.append("no file passes another, and a failed one stops its lane" if flow.strict_order else passes)
    return "; ".join(parts)


def _off_time(off: OffTime) -> str:
    days = f"on day {', '.join(map(str, sorted(off.days)))} of the month" if off.days else ""
    weekdays = f"on {', '.join(WEEKDAYS[each] for each in sorted(off.weekdays))}" if off.weekdays else ""
    start, end = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (off.hours.start, off.hours.end))
    return ", ".join(part for part in (weekdays, days, f"{start}-{end} {off.time_zone}") if part)


_BY_DATE = {DateFolders.NONE: "", DateFolders.MONTH: "/YYYY/MM", DateFolders.DAY: "/YYYY/MM/DD"}
_DUPLICATES = {
    WARN: "imported again, with an alert",
    REFUSE: "refused",
    ALLOW: "imported again; nothing is compared",
}
