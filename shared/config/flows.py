"""All flows of the configuration, checked against each other. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from shared.config.model import ExportFlow, ImportFlow
from shared.config.off_times import end_of_off_time
from shared.config.problem import Problem
from shared.config.values import folded
from shared.errors import NeedsPerson

# From here on each day of a month and of a week comes within the time that ``end_of_off_time`` looks ahead.
_ANY_MOMENT: Final = datetime(2026, 1, 1, tzinfo=UTC)


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
            folders.setdefault(_place(flow.drive, flow.input_folder), []).append(flow)
        in_turn = sorted(folders.values(), key=lambda flows: min(len(self.imports_before(flow)) for flow in flows))
        return tuple(map(tuple, in_turn))

    def taker_of(self, flow: ImportFlow, file_name: str) -> ImportFlow | None:
        """Return which of the imports that share a flow's Input folder takes a file: the first that matches."""
        place = _place(flow.drive, flow.input_folder)
        sharing = (each for each in self.imports if _place(each.drive, each.input_folder) == place)
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

    def leads_to_ours(self, drive: str, folder: str, name: str) -> bool:
        """Return whether what has this name in a folder is a folder of the settings, or one of them lies in it."""
        within = f"{folded(folder)}/{folded(name)}/"
        paths = (path for flow in self.all if flow.drive == drive for path in flow.folders)
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


def _place(drive: str, folder: str) -> tuple[str, str]:
    return drive, folder.casefold()


def _import_problems(imports: Sequence[ImportFlow], label: Callable[[str], str]) -> Iterable[Problem]:
    owners: dict[tuple[str, str], int] = {}  # who reads this folder as Input
    for number, flow in enumerate(imports):
        first = owners.setdefault(_place(flow.drive, flow.input_folder), number)
        if first != number:
            yield from _sharing_problems(imports, first, number, label)
    yield from _off_time_problems(imports, label)
    for number, flow in enumerate(imports):
        path = f"imports[{number}].inputFolder"
        above = owners.get(_place(flow.drive, flow.input_folder.rpartition("/")[0]))
        if above is not None and imports[above].has_company_folders:
            wrong = f"is {flow.input_folder}, a sub-folder of {label(f'imports[{above}].inputFolder')}, whose "
            yield Problem(label(path), f"{wrong}sub-folders are companies. Use another folder.")
        seen = {flow.input_folder.casefold(): "inputFolder"}
        for key, folder in flow.filed_in.items():
            path = f"imports[{number}].{key}"
            folded = folder.casefold()
            owner = _reader_of(flow.drive, folder, imports, owners)
            if folded in seen:
                wrong = f"is {folder}, the same as {label(f'imports[{number}].{seen[folded]}')}. Use different folders."
                yield Problem(label(path), wrong)
            elif folded.startswith(flow.input_folder.casefold() + "/"):
                yield Problem(label(path), f"is {folder}, which is inside the Input folder. Use a folder outside it.")
            elif owner is not None:
                # Else one import's leavings are the next one's input, round and round.
                reader = label(f"imports[{owner}].inputFolder")
                yield Problem(label(path), f"is {folder}, which {reader} reads. Use another folder.")
            seen.setdefault(folded, key)


def _reader_of(
    drive: str, folder: str, imports: Sequence[ImportFlow], owners: Mapping[tuple[str, str], int]
) -> int | None:
    """Return which import reads what lies in a folder; the number of the first, None if none does."""
    above = owners.get(_place(drive, folder.rpartition("/")[0]))
    if above is not None and imports[above].has_company_folders:
        return above
    return owners.get(_place(drive, folder))


def _sharing_problems(
    imports: Sequence[ImportFlow], first: int, number: int, label: Callable[[str], str]
) -> Iterable[Problem]:
    """Yield what is wrong with an import that shares its Input folder. first: the first one that reads the folder."""
    flow, place = imports[number], _place(imports[number].drive, imports[number].input_folder)
    before = [each for each in range(first, number) if _place(imports[each].drive, imports[each].input_folder) == place]
    takes_all = next((each for each in before if imports[each].files.all), None)
    if takes_all is not None:
        wrong = (
            f"is {flow.input_folder}, which {label(f'imports[{takes_all}].inputFolder')} reads already. That import "
            f"takes every file, so imports[{number}] can never get one. Use another folder, say which files "
            f"imports[{takes_all}] takes: files.include; or put imports[{takes_all}] last."
        )
        yield Problem(label(f"imports[{number}].inputFolder"), wrong)
    if flow.has_company_folders != imports[first].has_company_folders:
        wrong = (
            f"does not agree with {label(f'imports[{first}].company')}, whose import reads the same folder: the "
            "sub-folders of an Input folder are companies for all its imports or for none."
        )
        yield Problem(label(f"imports[{number}].company"), wrong)
    others = {imports[each].unmatched_folder.casefold(): each for each in before if imports[each].unmatched_folder}
    if flow.unmatched_folder and others and flow.unmatched_folder.casefold() not in others:
        other = label(f"imports[{next(iter(others.values()))}].unmatchedFolder")
        wrong = f"is not that of {other}, whose import reads the same folder. Use one folder for both."
        yield Problem(label(f"imports[{number}].unmatchedFolder"), wrong)


def _off_time_problems(imports: Sequence[ImportFlow], label: Callable[[str], str]) -> Iterable[Problem]:
    firsts: dict[str, tuple[str, ImportFlow]] = {}
    for number, flow in enumerate(imports):
        path = f"imports[{number}].notBetween"
        if end_of_off_time(_ANY_MOMENT, flow.not_between) is None:
            yield Problem(label(path), "leaves no time in which files are imported.")
        other, first = firsts.setdefault(flow.lane, (path, flow))
        if flow.not_between != first.not_between:
            # Else a file that waits in the lane would hold up the other flow's.
            wrong = (
                f"is not the same as {label(other)}, but both imports use the data project {flow.only_project}, so "
                "their files are in one lane. Give both the same."
            )
            yield Problem(label(path), wrong)


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
    firsts: dict[str, int] = {}  # the first import of each lane
    for number, flow in enumerate(imports):
        first = firsts.setdefault(flow.lane, number)
        differing = [
            key
            for key, own, its in (
                ("strictOrder", flow.strict_order, imports[first].strict_order),
                ("order", flow.order, imports[first].order),
            )
            if own != its
        ]
        for key in differing:
            wrong = (
                f"is not the same as {label(f'imports[{first}].{key}')}, but both imports use the data project "
                f"{flow.only_project}, so their files are in one lane, which has one order. Give both the same."
            )
            yield Problem(label(f"imports[{number}].{key}"), wrong)
    yield from _after_problems(imports, label)


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
