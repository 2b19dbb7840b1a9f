"""All flows of the configuration, checked against each other. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from shared.config.model import COMPANY, ExportFlow, ImportFlow
from shared.config.off_times import end_of_off_time
from shared.config.problem import Problem
from shared.config.values import folded, is_company
from shared.errors import NeedsPerson

# From each of these on each day of a month and of a week comes within the time that ``end_of_off_time`` looks ahead.
# One is in winter and one in summer: clocks that are turned may close what is open between two time zones.
_ANY_MOMENTS: Final = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """All flows, checked against each other."""

    imports: tuple[ImportFlow, ...] = ()
    exports: tuple[ExportFlow, ...] = ()

    @property
    def all(self) -> tuple[ImportFlow | ExportFlow, ...]:
        """All flows, imports first."""
        return (*self.imports, *self.exports)

    @property
    def drives(self) -> tuple[str, ...]:
        """Return the drives that are watched or written to, each once."""
        return tuple(dict.fromkeys(flow.drive for flow in self.all))

    def named(self, name: str) -> ImportFlow | ExportFlow | None:
        """Return the flow of that name; None if it is not configured (any more)."""
        return next((flow for flow in self.all if flow.name == name), None)

    def import_named(self, name: str) -> ImportFlow | None:
        """Return the import of that name; None if it is not configured (any more)."""
        return next((flow for flow in self.imports if flow.name == name), None)

    def export_named(self, name: str) -> ExportFlow | None:
        """Return the export of that name; None if it is not configured (any more)."""
        return next((flow for flow in self.exports if flow.name == name), None)

    def require_import(self, name: str) -> ImportFlow:
        """Return the import of that name. Raises NeedsPerson if it is not configured any more."""
        if flow := self.import_named(name):
            return flow
        raise NeedsPerson(
            f"The settings no longer have an import named '{name}', but one of its files is still open. Add it again."
        )

    def require_export(self, name: str) -> ExportFlow:
        """Return the export of that name. Raises NeedsPerson if it is not configured any more."""
        if flow := self.export_named(name):
            return flow
        raise NeedsPerson(f"The settings no longer have an export named '{name}', but one is still open. Add it again.")

    @property
    def input_folders(self) -> tuple[tuple[ImportFlow, ...], ...]:
        """The imports of each Input folder, in the order of the document; first the folders of those that go first."""
        folders: dict[tuple[str, str], list[ImportFlow]] = {}
        for flow in self.imports:
            folders.setdefault(place_of(flow.drive, flow.input_folder), []).append(flow)
        in_turn = sorted(folders.values(), key=lambda flows: min(len(self.imports_before(flow)) for flow in flows))
        return tuple(map(tuple, in_turn))

    def taker_of(self, flow: ImportFlow, file_name: str) -> ImportFlow | None:
        """Return which of the imports that share a flow's Input folder takes a file: the first that matches."""
        place = place_of(flow.drive, flow.input_folder)
        sharing = (each for each in self.imports if place_of(each.drive, each.input_folder) == place)
        return next((each for each in sharing if each.files.match(file_name)), None)

    def imports_before(self, flow: ImportFlow) -> tuple[ImportFlow, ...]:
        """Return the imports that go before another one, and those that go before these."""
        found: dict[str, ImportFlow] = {}
        names = list(flow.order.after)
        while names:
            earlier = self.import_named(names.pop())
            if earlier and earlier.name not in found:
                found[earlier.name] = earlier
                names += earlier.order.after
        return tuple(each for each in self.imports if each.name in found)

    @property
    def strict_names(self) -> frozenset[str]:
        """The names of the imports in whose lanes no file may pass another."""
        return frozenset(flow.name for flow in self.imports if flow.strict_order)

    def imports_after_success_of(self, name: str) -> tuple[ImportFlow, ...]:
        """Return the imports that wait for the failed files of an import."""
        return tuple(flow for flow in self.imports_after(name) if flow.order.after_success)

    def imports_after(self, name: str) -> tuple[ImportFlow, ...]:
        """Return the imports that an import goes before."""
        return tuple(flow for flow in self.imports if any(each.name == name for each in self.imports_before(flow)))

    def leads_to_ours(self, drive: str, folder: str, name: str) -> bool:
        """Return whether what has this name in a folder is a folder of the settings, or one of them lies in it."""
        within = f"{folded(folder)}/{folded(name)}/"
        paths = (path for flow in self.all if is_same_drive(flow.drive, drive) for path in flow.folders)
        return any(f"{folded(path)}/".startswith(within) for path in paths)


def flow_problems(
    imports: Sequence[ImportFlow], exports: Sequence[ExportFlow], label: Callable[[str], str]
) -> Iterable[Problem]:
    """Yield what is wrong with flows that are each right for themselves. label: returns what a path is called."""
    yield from _name_problems(imports, exports, label)
    yield from _import_problems(imports, label)
    yield from _export_problems(exports, label)
    yield from _order_problems(imports, label)


def _name_problems(
    imports: Sequence[ImportFlow], exports: Sequence[ExportFlow], label: Callable[[str], str]
) -> Iterable[Problem]:
    seen: set[str] = set()
    named = [(f"imports[{number}].name", flow.name) for number, flow in enumerate(imports)]
    named += [(f"exports[{number}].name", flow.name) for number, flow in enumerate(exports)]
    for path, name in named:
        if name.casefold() in seen:
            yield Problem(label(path), f"is {name}, which another flow already has. Give each flow its own name.")
        seen.add(name.casefold())


def place_of(drive: str, folder: str) -> tuple[str, str]:
    """Return what two folders have in common that are one: a user's name has no case in Graph, a drive's id has."""
    return drive.casefold() if drive.startswith("users/") else drive, folded(folder)


def is_same_drive(one: str, other: str) -> bool:
    """Return whether two drives are one."""
    return place_of(one, "") == place_of(other, "")


def _import_problems(imports: Sequence[ImportFlow], label: Callable[[str], str]) -> Iterable[Problem]:
    owners: dict[tuple[str, str], int] = {}  # who reads this folder as Input
    for number, flow in enumerate(imports):
        first = owners.setdefault(place_of(flow.drive, flow.input_folder), number)
        if first != number:
            yield from _sharing_problems(imports, first, number, label)
    yield from _off_time_problems(imports, label)
    for number, flow in enumerate(imports):
        path = f"imports[{number}].inputFolder"
        above = owners.get(place_of(flow.drive, flow.input_folder.rpartition("/")[0]))
        if above is not None and imports[above].has_company_folders:
            wrong = f"is {flow.input_folder}, a sub-folder of {label(f'imports[{above}].inputFolder')}, whose "
            yield Problem(label(path), f"{wrong}sub-folders are companies. Use another folder.")
        seen = {folded(flow.input_folder): "inputFolder"}
        for key, folder in flow.filed_in.items():
            path = f"imports[{number}].{key}"
            plain = folded(folder)
            owner = _reader_of(flow.drive, folder, imports, owners)
            if plain in seen:
                wrong = f"is {folder}, the same as {label(f'imports[{number}].{seen[plain]}')}. Use different folders."
                yield Problem(label(path), wrong)
            elif plain.startswith(folded(flow.input_folder) + "/"):
                yield Problem(label(path), f"is {folder}, which is inside the Input folder. Use a folder outside it.")
            elif owner is not None:
                # Else one import's leavings are the next one's input, round and round.
                reader = label(f"imports[{owner}].inputFolder")
                yield Problem(label(path), f"is {folder}, which {reader} reads. Use another folder.")
            elif flow.has_company_folders and (inner := _reader_inside(flow.drive, folder, imports)) is not None:
                reader = label(f"imports[{inner}].inputFolder")
                wrong = f"is {folder}, where the app makes sub-folders for companies, and {reader} reads one of them. "
                yield Problem(label(path), f"{wrong}Use another folder.")
            seen.setdefault(plain, key)


def _reader_of(
    drive: str, folder: str, imports: Sequence[ImportFlow], owners: Mapping[tuple[str, str], int]
) -> int | None:
    """Return which import reads what lies in a folder; the number of the first, None if none does."""
    above = owners.get(place_of(drive, folder.rpartition("/")[0]))
    if above is not None and imports[above].has_company_folders:
        return above
    return owners.get(place_of(drive, folder))


def _reader_inside(drive: str, folder: str, imports: Sequence[ImportFlow]) -> int | None:
    """Return which import reads a sub-folder that may be that of a company; the number of the first, None: none."""
    for number, flow in enumerate(imports):
        above, _, name = flow.input_folder.rpartition("/")
        if place_of(flow.drive, above) == place_of(drive, folder) and is_company(name):
            return number
    return None


def _sharing_problems(
    imports: Sequence[ImportFlow], first: int, number: int, label: Callable[[str], str]
) -> Iterable[Problem]:
    """Yield what is wrong with an import that shares its Input folder. first: the first one that reads the folder."""
    flow, place = imports[number], place_of(imports[number].drive, imports[number].input_folder)
    before = [
        each for each in range(first, number) if place_of(imports[each].drive, imports[each].input_folder) == place
    ]
    takes_all = next((each for each in before if imports[each].files.all), None)
    if takes_all is not None:
        wrong = (
            f"is {flow.input_folder}, which {label(f'imports[{takes_all}].inputFolder')} reads already. That import "
            f"takes every file, so imports[{number}] can never get one. Use another folder, say in files.include "
            f"which files imports[{takes_all}] takes, or put imports[{takes_all}] last."
        )
        yield Problem(label(f"imports[{number}].inputFolder"), wrong)
    if flow.has_company_folders != imports[first].has_company_folders:
        wrong = (
            f"does not agree with {label(f'imports[{first}].company')}, whose import reads the same folder: the "
            "sub-folders of an Input folder are companies for all its imports or for none."
        )
        yield Problem(label(f"imports[{number}].company"), wrong)
    others = {folded(imports[each].unmatched_folder): each for each in before if imports[each].unmatched_folder}
    if flow.unmatched_folder and others and folded(flow.unmatched_folder) not in others:
        other = label(f"imports[{next(iter(others.values()))}].unmatchedFolder")
        wrong = f"is not that of {other}, whose import reads the same folder. Use one folder for both."
        yield Problem(label(f"imports[{number}].unmatchedFolder"), wrong)


def _off_time_problems(imports: Sequence[ImportFlow], label: Callable[[str], str]) -> Iterable[Problem]:
    for number, flow in enumerate(imports):
        ends = [end_of_off_time(moment, flow.not_between) for moment in _ANY_MOMENTS]
        if None in ends:
            season = " in the winter of the north" if ends[0] is None else " in the summer of the north"
            wrong = f"leaves no time in which files are imported{season if any(ends) else ''}."
            yield Problem(label(f"imports[{number}].notBetween"), wrong)


def _export_problems(exports: Sequence[ExportFlow], label: Callable[[str], str]) -> Iterable[Problem]:
    seen: dict[tuple[str, str], str] = {}
    for number, flow in enumerate(exports):
        path = f"exports[{number}].dataProject"
        owner = seen.setdefault((flow.environment_url, flow.data_project.casefold()), path)
        if owner != path:
            # F&O runs one execution of a data project at a time, and an incremental export gives each change once.
            wrong = f"is {flow.data_project}, which {label(owner)} exports already. Use another data project."
            yield Problem(label(path), wrong)


def _order_problems(imports: Sequence[ImportFlow], label: Callable[[str], str]) -> Iterable[Problem]:
    """Yield where imports differ whose files get into one lane: one that waits there would hold up the other's."""
    for first, number, project in _sharing_a_lane(imports):
        differing = [
            key
            for key, own, its in (
                ("notBetween", imports[number].not_between, imports[first].not_between),
                ("strictOrder", imports[number].strict_order, imports[first].strict_order),
                ("order", imports[number].order, imports[first].order),
            )
            if own != its
        ]
        for key in differing:
            wrong = (
                f"is not the same as {label(f'imports[{first}].{key}')}, but both imports use the data project "
                f"{project}, so their files are in one lane, which has one order. Give both the same."
            )
            yield Problem(label(f"imports[{number}].{key}"), wrong)
    yield from _after_problems(imports, label)


def _sharing_a_lane(imports: Sequence[ImportFlow]) -> Iterable[tuple[int, int, str]]:
    """Yield two imports of which both may have files of one data project, and so in one lane: their numbers, and it.

    Each import is paired with the first one that shares one of its data projects.
    """
    firsts: dict[tuple[str, str], int] = {}
    # Those that leave the company open are few, though there may be thousands of the others.
    with_company: list[tuple[str, str]] = []
    without: list[tuple[str, str]] = []
    told: set[tuple[int, int]] = set()
    for number, flow in enumerate(imports):
        for project in flow.data_projects:
            own = (flow.environment_url, project.casefold())
            own_kind, other_kind = (with_company, without) if COMPANY in own[1] else (without, with_company)
            same = [own] if own in firsts else [each for each in other_kind if _may_be_one(own, each)]
            for first in sorted(firsts[each] for each in same):
                if first != number and (first, number) not in told:
                    told.add((first, number))
                    yield first, number, project
            if own not in firsts:
                firsts[own] = number
                own_kind.append(own)


def _may_be_one(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Return whether two data projects, each with its environment, may be the same once a company stands in them.

    Of two that both leave the company open only those are that are written alike.
    """
    if one[0] != other[0] or (COMPANY in one[1]) == (COMPANY in other[1]):
        return one == other
    pattern, project = (one[1], other[1]) if COMPANY in one[1] else (other[1], one[1])
    parts = pattern.split(COMPANY)
    return (
        project.startswith(parts[0]) and re.fullmatch("[a-z0-9]{1,4}".join(map(re.escape, parts)), project) is not None
    )


def _after_problems(imports: Sequence[ImportFlow], label: Callable[[str], str]) -> Iterable[Problem]:
    after = {flow.name: flow.order.after for flow in imports}
    told: set[str] = set()  # imports of a circle that is told already
    for number, flow in enumerate(imports):
        for position, name in enumerate(flow.order.after):
            if name not in after:
                close = [each for each in after if each.casefold() == name.casefold()]
                close = close or get_close_matches(name, after, n=1)
                hint = f"Did you mean {close[0]}?" if close else f"The imports are: {', '.join(after)}."
                yield Problem(
                    label(f"imports[{number}].order.after[{position}]"),
                    f"is {name}, but no import has this name. {hint}",
                )
        place = f"imports[{number}].order.afterSuccess"
        is_own = label(place).endswith(place)  # a default is for those imports that go after others
        if flow.order.after_success and not flow.order.after and is_own:
            wrong = "is true, but order.after names no import that goes first. Name the imports there, or remove it."
            yield Problem(label(place), wrong)
        circle = _circle_from(flow.name, after)
        if circle and not told & set(circle):
            told |= set(circle)
            wrong = f"leads back to itself, so none could begin: {' after '.join(circle)}. Remove one of them."
            if flow.name in flow.order.after:
                wrong = f"names {flow.name} itself, so it could never begin. Remove the name."
            yield Problem(label(f"imports[{number}].order.after"), wrong)


def _circle_from(name: str, after: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Return the shortest way from an import back to itself, () if there is none."""
    ways: list[tuple[str, ...]] = [(name,)]
    seen: set[str] = set()
    for way in ways:  # which grows meanwhile
        for earlier in after.get(way[-1], ()):
            if earlier == name:
                return (*way, name)
            if earlier not in seen:
                seen.add(earlier)
                ways.append((*way, earlier))
    return ()
