"""All flows of the configuration, checked against each other. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from shared.config.model import ExportFlow, ImportFlow
from shared.config.problem import Problem
from shared.config.values import folded
from shared.errors import NeedsPerson


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
    def imports_in_turn(self) -> tuple[ImportFlow, ...]:
        """All imports, each behind those that go before it."""
        return tuple(sorted(self.imports, key=lambda flow: len(self.imports_before(flow))))

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


def _import_problems(imports: Sequence[ImportFlow], label: Callable[[str], str]) -> Iterable[Problem]:
    owners: dict[tuple[str, str], str] = {}  # who reads this folder as Input
    for number, flow in enumerate(imports):
        path = f"imports[{number}].inputFolder"
        owner = owners.setdefault((flow.drive, flow.input_folder.casefold()), path)
        if owner != path:
            wrong = f"is {flow.input_folder}, which {label(owner)} reads already. Each import needs its own."
            yield Problem(label(path), wrong)
    for number, flow in enumerate(imports):
        seen = {flow.input_folder.casefold(): "inputFolder"}
        for key, folder in flow.filed_in.items():
            path = f"imports[{number}].{key}"
            folded = folder.casefold()
            owner = owners.get((flow.drive, folded), "")
            if folded in seen:
                wrong = f"is {folder}, the same as {label(f'imports[{number}].{seen[folded]}')}. Use different folders."
                yield Problem(label(path), wrong)
            elif folded.startswith(flow.input_folder.casefold() + "/"):
                yield Problem(label(path), f"is {folder}, which is inside the Input folder. Use a folder outside it.")
            elif owner:
                # Else one import's leavings are the next one's input, round and round.
                yield Problem(label(path), f"is {folder}, which {label(owner)} reads. Use another folder.")
            seen.setdefault(folded, key)


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
                close = get_close_matches(name, after, n=1)
                hint = f"Did you mean {close[0]}?" if close else f"The imports are: {', '.join(after)}."
                yield Problem(
                    label(f"imports[{number}].order.after[{position}]"),
                    f"is {name}, but no import has this name. {hint}",
                )
        circle = _circle_from(flow.name, after)
        if circle and not told & set(circle):
            told |= set(circle)
            wrong = f"leads back to itself, so none could begin: {' after '.join(circle)}. Remove one of them."
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
