"""What in a configuration is allowed, and is probably not meant. Pure."""

from collections.abc import Iterator

from shared.config.flows import Flows
from shared.config.model import CompaniesListed, CompanyFixed, ExportFlow, ImportFlow, ProjectFromName
from shared.config.problem import Problem
from shared.config.values import folded, matches_name


def flow_warnings(flows: Flows) -> Iterator[Problem]:
    """Yield what is suspicious about flows that can be used: what can never happen, and folders inside others."""
    for number, flow in enumerate(flows.imports):
        path = f"imports[{number}]"
        yield from _companies(flow, path)
        yield from _patterns(flow, path)
    yield from _folders(flows)


def _companies(flow: ImportFlow, path: str) -> Iterator[Problem]:
    company, companies = flow.company, flow.companies
    if isinstance(company, CompanyFixed) and isinstance(companies, CompaniesListed):
        if company.company not in companies.companies:
            wrong = f"do not contain {company.company}, which is the company of all its files: every file is refused."
        else:
            wrong = f"have no effect: all its files are for {company.company}."
        yield Problem(f"{path}.companies", wrong)


def _patterns(flow: ImportFlow, path: str) -> Iterator[Problem]:
    if not isinstance(flow.data_project, ProjectFromName):
        return
    patterns = [each.files for each in flow.data_project.patterns]
    for number, pattern in enumerate(patterns):
        before = next((each for each in patterns[:number] if _covers(each, pattern)), None)
        if before:
            yield Problem(
                f"{path}.dataProject.patterns[{number}].files",
                f"is never used: what matches {pattern} matches {before}, which stands before it.",
            )


def _covers(wide: str, narrow: str) -> bool:
    """Return whether every name that one pattern means is meant by the other one, too.

    A pattern is matched as if it were a name: its own stars are matched by stars alone, so this says no too often.
    """
    return matches_name(narrow, (wide,))


def _folders(flows: Flows) -> Iterator[Problem]:
    inputs = [(f"imports[{number}]", flow) for number, flow in enumerate(flows.imports)]
    all_flows: list[tuple[str, ImportFlow | ExportFlow]] = [*inputs]
    all_flows += [(f"exports[{number}]", flow) for number, flow in enumerate(flows.exports)]
    for path, flow in all_flows:
        for where, other in inputs:
            if flow is other or flow.drive != other.drive:
                continue
            inside = [each for each in flow.folders if folded(each).startswith(f"{folded(other.input_folder)}/")]
            for folder in dict.fromkeys(inside):
                wrong = (
                    f"has the folder {folder} inside {other.input_folder}, the Input folder of {where} ({other.name})."
                )
                yield Problem(path, wrong)
