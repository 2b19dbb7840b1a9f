"""What would happen to a file of a name, or why nothing would: for ``dev.py settings explain``. Pure.

The words of a refusal are those that the report of the refused file has.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.config.flows import Flows
from shared.config.model import CompaniesListed, ImportFlow
from shared.config.values import folded, matches_name, parse_folder
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
    if matches_name(name, ignored_names):
        return f"'{name}' matches IMPORT_IGNORED_NAMES, so the app leaves it alone in every Input folder."
    places = list(_places(folder, flows))
    if not places:
        inputs = ", ".join(dict.fromkeys(flow.input_folder for flow in flows.imports)) or "none"
        return f"No import watches {parse_folder(folder) if folder else 'a folder'}. The Input folders are: {inputs}."
    takers = [(flow, sub_folder) for flow, sub_folder in places if flows.taker_of(flow, name) is flow]
    if not takers:
        return "\n".join(dict.fromkeys(_why_unmatched(flow, name) for flow, _ in places))
    return [_explain(flow, name, sub_folder) for flow, sub_folder in takers]


def _places(folder: str, flows: Flows) -> Iterator[tuple[ImportFlow, str]]:
    """Yield the imports that watch a folder, with the sub-folder of Input that it is for them."""
    given = parse_folder(folder) if folder else ""
    above, _, last = given.rpartition("/")
    for flow in flows.imports:
        if not given:
            yield flow, _usual_company(flow) if flow.has_company_folders else ""
        elif folded(given) == folded(flow.input_folder):
            yield flow, ""
        elif flow.has_company_folders and folded(above) == folded(flow.input_folder):
            yield flow, last


def _usual_company(flow: ImportFlow) -> str:
    return flow.companies.companies[0] if isinstance(flow.companies, CompaniesListed) else "USMF"


def _why_unmatched(flow: ImportFlow, name: str) -> str:
    then = f"the app moves it to {flow.unmatched_folder}" if flow.unmatched_folder else "it stays there and is reported"
    return f"No import of {flow.input_folder} takes '{name}' by its 'files' patterns, so {then}."


def _explain(flow: ImportFlow, name: str, sub_folder: str) -> Explanation:
    folder = within(flow.input_folder, sub_folder)
    error = within(flow.error_folder, sub_folder)
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
            ("Company", company),
            ("Data project", data_project or "the one that the package's manifest names"),
            ("Environment", flow.environment_url),
            ("Lane", lane),
            ("Processing", within(flow.processing_folder, sub_folder)),
            ("Success", within(flow.success_folder, sub_folder)),
            ("Error", error),
            ("Order", _order(flow)),
        ),
    )


def _order(flow: ImportFlow) -> str:
    waits = "no file passes another" if flow.strict_order else "a file that cannot go on is passed after three minutes"
    return f"by arrival; {waits}"
