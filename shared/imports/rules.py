"""Which company and which data project a file is for, by the rules of its flow. Pure.

The same words refuse a file, and tell a person beforehand (``dev.py settings explain``).
"""

from collections.abc import Sequence

from shared.config.lanes import lane_name
from shared.config.model import (
    COMPANY,
    CompaniesListed,
    CompanyFixed,
    CompanyFromFolder,
    CompanyFromName,
    ImportFlow,
    ProjectFixed,
    ProjectFromName,
)
from shared.config.values import Unfit, matches_name, parse_company
from shared.errors import FileRejected
from shared.imports.manifest import MANIFEST, shown
from shared.runs.states import Direction


def company_of(flow: ImportFlow, file_name: str, sub_folder: str = "") -> str:
    """Return the company that a file is for, in capitals.

    sub_folder: the folder in Input that the file was found in; "" if it was directly in Input. Raises FileRejected if
    the rule finds none, or one that is not among the flow's companies.
    """
    match flow.company:
        case CompanyFixed(company=company):
            return company
        case CompanyFromFolder():
            company = _company_of_folder(flow, file_name, sub_folder)
        case rule:
            company = _company_in_name(rule, file_name)
    if isinstance(flow.companies, CompaniesListed) and company not in flow.companies.companies:
        raise FileRejected(
            f"{shown(file_name)} is for company {company}, which is not among the companies of flow {flow.name}: "
            f"{', '.join(flow.companies.companies)}. {_put_right(flow)}"
        )
    return company


def _company_of_folder(flow: ImportFlow, file_name: str, sub_folder: str) -> str:
    known = flow.companies.companies[0] if isinstance(flow.companies, CompaniesListed) else "USMF"
    if not sub_folder:
        raise FileRejected(
            f"{shown(file_name)} is directly in {flow.input_folder}, but flow {flow.name} takes the company from the "
            f"sub-folder. Put it into the sub-folder of its company, such as {flow.input_folder}/{known}."
        )
    try:
        return parse_company(sub_folder)
    except Unfit:
        raise FileRejected(
            f"{shown(file_name)} is in the sub-folder {shown(sub_folder)}, which is not a company (1 to 4 letters or "
            f"digits). Put it into the sub-folder of its company, such as {flow.input_folder}/{known}."
        ) from None


def _company_in_name(rule: CompanyFromName, file_name: str) -> str:
    """Return the part of a name that is the company.

    With the usual rule a name without a separator has none: "USMF.zip" is for nobody.
    """
    stem = file_name[: -len(".zip")] if file_name.casefold().endswith(".zip") else file_name
    parts = stem.split(rule.separator)
    part = parts[rule.position - 1] if len(parts) >= max(rule.position, 2) else ""
    try:
        return parse_company(part)
    except Unfit:
        pass
    if (rule.separator, rule.position) == ("_", 1):
        raise FileRejected(
            f"The name {shown(file_name)} does not begin with a company and an underscore. "
            "Rename it so that it does: USMF_Customers_001.zip goes to company USMF (1 to 4 letters or digits)."
        )
    example = rule.separator.join([*("Part" for _ in range(rule.position - 1)), "USMF", "001"])
    raise FileRejected(
        f"Part {rule.position} of the name {shown(file_name)}, split at {shown(rule.separator)}, is not a company (1 "
        f"to 4 letters or digits). Rename it so that it is: {example}.zip goes to company USMF."
    )


def _put_right(flow: ImportFlow) -> str:
    where = "Move it into the right sub-folder" if isinstance(flow.company, CompanyFromFolder) else "Rename it"
    return f"{where}, or add the company to the flow's companies."


def project_of(flow: ImportFlow, file_name: str, company: str) -> str:
    """Return the data project that a file is for, "" if its manifest says so.

    Raises FileRejected if no pattern of the flow matches its name.
    """
    match flow.data_project:
        case ProjectFixed(data_project=project):
            return project.replace(COMPANY, company)
        case ProjectFromName(patterns=patterns):
            for each in patterns:
                if matches_name(file_name, (each.files,)):
                    return each.data_project.replace(COMPANY, company)
            raise FileRejected(
                f"The name {shown(file_name)} matches none of the patterns by which flow {flow.name} finds the data "
                f"project: {_listed([each.files for each in patterns])}. Rename the file, or add a pattern."
            )
        case _:
            return ""


def known_project(flow: ImportFlow, file_name: str, sub_folder: str = "") -> str:
    """Return the data project of a file as far as the rules tell it before the package is opened, else ""."""
    if flow.only_project or not flow.has_many_lanes:
        return flow.only_project
    try:
        return project_of(flow, file_name, company_of(flow, file_name, sub_folder))
    except FileRejected:
        return ""


def lane_of(flow: ImportFlow, file_name: str, sub_folder: str = "") -> str:
    """Return the lane of a new file: that of its data project, or the flow's own if nobody knows the project yet."""
    project = known_project(flow, file_name, sub_folder)
    return lane_name(Direction.IMPORT, flow.environment_url, project, flow.name)


def _listed(patterns: Sequence[str]) -> str:
    return ", ".join(shown(each) for each in patterns)


def require_project(ruled: str, in_manifest: str) -> str:
    """Return the data project to import under: what the rules say, or else the package's own.

    Raises FileRejected if neither names one.
    """
    project = ruled or in_manifest
    if not project:
        raise FileRejected(
            f"{MANIFEST} names no data project (DefinitionGroupName is empty), and none is set for this import. "
            "Name one in the package, or set IMPORT_DATA_PROJECT (in INTEGRATIONS: dataProject)."
        )
    return project
