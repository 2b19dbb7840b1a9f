"""What in a configuration is allowed, and is probably not meant. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from shared.config.flows import Flows, is_same_drive, place_of
from shared.config.model import (
    COMPANY,
    CompaniesListed,
    CompanyFixed,
    ExportFlow,
    ImportFlow,
    PartialFiling,
    ProjectFixed,
    ProjectFromName,
)
from shared.config.problem import Problem
from shared.config.values import folded, is_company, matches_name


def flow_warnings(flows: Flows) -> Iterator[Problem]:
    """Yield what is suspicious about flows that can be used: what can never happen, and folders inside others."""
    for number, flow in enumerate(flows.imports):
        path = f"imports[{number}]"
        yield from _companies(flow, path)
        yield from _patterns(flow, path)
        yield from _without_effect(flow, number, flows.imports)
        yield from _placeholders(flow, path, _projects(flow), COMPANY)
    for number, export in enumerate(flows.exports):
        yield from _placeholders(export, f"exports[{number}]", (export.data_project,), "")
    yield from _folders(flows)
    yield from _round_trips(flows)


# What other programs put a value in the place of: {company}, ${STAGE}, %STAGE.
_PLACEHOLDER: Final = re.compile(r"\$?\{[^{}]*\}|%[A-Za-z_][A-Za-z0-9_]+")


def _projects(flow: ImportFlow) -> tuple[str, ...]:
    match flow.data_project:
        case ProjectFixed(data_project=project):
            return (project,)
        case ProjectFromName(patterns=patterns):
            return tuple(each.data_project for each in patterns)
        case _:
            return ()


def _placeholders(
    flow: ImportFlow | ExportFlow, path: str, projects: tuple[str, ...], replaced: str
) -> Iterator[Problem]:
    """Yield what looks as if it stood for something else. replaced: what is replaced in a data project."""
    folders = (flow.input_folder if isinstance(flow, ImportFlow) else flow.output_folder,)
    for text, known in (*((each, replaced) for each in projects), *((each, "") for each in folders)):
        if found := _PLACEHOLDER.search(text.replace(known, "") if known else text):
            wrong = f"has '{text}', in which {found[0]} is not replaced. An app setting is written %NAME%" + (
                f", and the file's company {known}." if known else "."
            )
            yield Problem(path, wrong, flow=flow.name)


def _companies(flow: ImportFlow, path: str) -> Iterator[Problem]:
    company, companies = flow.company, flow.companies
    if isinstance(company, CompanyFixed) and isinstance(companies, CompaniesListed):
        if company.company not in companies.companies:
            wrong = f"do not contain {company.company}, which is the company of all its files: every file is refused."
        else:
            wrong = f"have no effect: all its files are for {company.company}."
        yield Problem(f"{path}.companies", wrong, flow=flow.name)


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
                flow=flow.name,
            )


def _without_effect(flow: ImportFlow, number: int, imports: Sequence[ImportFlow]) -> Iterator[Problem]:
    """Yield settings of an import that change nothing, and files that it cannot get."""
    path = f"imports[{number}]"
    if "partial_folder" in flow.model_fields_set and flow.filing.partially_succeeded is not PartialFiling.FOLDER:
        wrong = "has no effect: filing.partiallySucceeded is not folder."
        yield Problem(f"{path}.partialFolder", wrong, flow=flow.name)
    if all(any(_covers(wide, each) for wide in flow.files.exclude) for each in flow.files.include):
        wrong = "excludes every file that files.include matches, so this import never gets one."
        yield Problem(f"{path}.files.exclude", wrong, flow=flow.name)
    sharing = [each for each in imports if _input_of(each) == _input_of(flow)]
    if flow.unmatched_folder and any(each.files.all for each in sharing):
        yield Problem(f"{path}.unmatchedFolder", "has no effect: an import takes every file.", flow=flow.name)
    for other in sharing[: sharing.index(flow)]:
        if not other.files.exclude and all(
            any(_covers(wide, each) for wide in other.files.include) for each in flow.files.include
        ):
            wrong = f"matches only files that {other.name} takes, which stands before it. Put this import first."
            yield Problem(f"{path}.files.include", wrong, flow=flow.name)


def _input_of(flow: ImportFlow) -> tuple[str, str]:
    return place_of(flow.drive, flow.input_folder)


def _round_trips(flows: Flows) -> Iterator[Problem]:
    for number, export in enumerate(flows.exports):
        place = place_of(export.drive, export.output_folder)
        for back in flows.imports:
            is_input = _input_of(back) == place
            is_inside = _is_company_folder(export, export.output_folder, back)
            if (is_input or is_inside) and back.environment_url == export.environment_url:
                what = "the Input folder" if is_input else "in Input the folder of a company"
                wrong = f"is {what} of {back.name}, which imports its packages into the same environment."
                yield Problem(f"exports[{number}].outputFolder", wrong, flow=export.name)


def _is_company_folder(flow: ImportFlow | ExportFlow, folder: str, other: ImportFlow) -> bool:
    """Return whether a folder of a flow is one from which another one imports, because its name is a company's."""
    above, _, name = folder.rpartition("/")
    if not other.has_company_folders or place_of(flow.drive, above) != _input_of(other) or not is_company(name):
        return False
    return not isinstance(other.companies, CompaniesListed) or name.upper() in other.companies.companies


_IN_NO_PATTERN: Final = "\N{REPLACEMENT CHARACTER}"


def _covers(wide: str, narrow: str) -> bool:
    """Return whether every name that one pattern means is meant by the other one, too.

    Two such names are tried: one in which each star stands for nothing, and one in which each stands for so many signs
    that only a star can match them, and that no pattern has.
    """
    return all(matches_name(narrow.replace("*", any_text), (wide,)) for any_text in ("", _IN_NO_PATTERN * len(wide)))


def _folders(flows: Flows) -> Iterator[Problem]:
    inputs = [(f"imports[{number}]", flow) for number, flow in enumerate(flows.imports)]
    all_flows: list[tuple[str, ImportFlow | ExportFlow]] = [*inputs]
    all_flows += [(f"exports[{number}]", flow) for number, flow in enumerate(flows.exports)]
    for path, flow in all_flows:
        for where, other in inputs:
            if flow is other or not is_same_drive(flow.drive, other.drive):
                continue
            inside = [
                each
                for each in flow.folders
                if folded(each).startswith(f"{folded(other.input_folder)}/")
                and not _is_company_folder(flow, each, other)
            ]
            if inside:
                wrong = (
                    f"has folders inside {other.input_folder}, the Input folder of {where} ({other.name}), which does "
                    f"not import what lies there: {', '.join(dict.fromkeys(inside))}. Put them elsewhere, if that is "
                    "not meant."
                )
                yield Problem(path, wrong, flow=flow.name)
