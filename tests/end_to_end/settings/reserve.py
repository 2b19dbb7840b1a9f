"""Cases of what an import has to itself while F&O works on it."""

from collections.abc import Callable
from itertools import pairwise

from tests.end_to_end.settings.case import SettingCase, whole_run
from tests.end_to_end.stage import Stage
from tests.packages import SourceFormat, build_package


def _case(setting: str, reserve: dict[str, bool], *entities: str, source_format: SourceFormat = "CSV") -> SettingCase:
    """Return a case of a flow, and so of a lane and a data project, for each of these entities."""
    flows = [f"{setting.replace('.', '-')}-{reserve}-{number}".translate(_PLAIN) for number, _ in enumerate(entities)]
    packages = [build_package(entity=entity, source_format=source_format) for entity in entities]
    return SettingCase(
        setting=setting,
        value=", ".join(f"{name} {value}" for name, value in reserve.items()),
        imports=tuple(
            {"name": flow, "inputFolder": f"{flow}/Input", "dataProject": flow, "reserve": reserve} for flow in flows
        ),
        files={f"{flow}/Input/USMF_{flow}.zip": each for flow, each in zip(flows, packages, strict=True)},
        missing=_ended(flows, are_apart=any(reserve.values())),
    )


_PLAIN = str.maketrans("", "", "{}:', ")


def _ended(flows: list[str], *, are_apart: bool) -> Callable[[Stage], str]:
    def missing(stage: Stage) -> str:
        for flow in flows:
            if lacking := whole_run(f"USMF_{flow}.zip")(stage):
                return lacking
        executions = [each for each in stage.finance_operations.executions if each.data_project in flows]
        times = sorted((each.times.submitted, each.times.ends or 0.0) for each in executions)
        overlap = any(later[0] < earlier[1] for earlier, later in pairwise(times))
        return "executions that do not overlap" if overlap and are_apart else ""

    return missing


CASES = (
    _case("reserve.entities", {"entities": True}, "Reserved units", "Reserved units", "RESERVED UNITS"),
    _case("reserve.excel", {"excel": True}, "Reserved terms", "Reserved groups", source_format="EXCEL"),
    _case("reserve", {"entities": False, "excel": False}, "Shared units", "Shared units"),
)
