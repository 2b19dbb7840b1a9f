"""Cases of the setting that says what happens to the same content again."""

from collections.abc import Callable

from tests.end_to_end.settings.case import SettingCase, whole_run
from tests.end_to_end.stage import Stage
from tests.packages import build_package


def _case(value: str, *, second: str, is_named: bool) -> SettingCase:
    """Return a case of two files with the same content; is_named: the second one's record names the first one."""
    folder, first, again = f"duplicates-{value}", f"USMF_{value}_1.zip", f"USMF_{value}_2.zip"
    content = build_package(data_project=folder, entity=folder)
    return SettingCase(
        setting="duplicates",
        value=value,
        imports=({"name": folder, "inputFolder": f"{folder}/Input", "duplicates": value},),
        files={f"{folder}/Input/{name}": content for name in (first, again)},
        missing=_both(first, again, second, is_named=is_named),
    )


def _both(first: str, again: str, outcome: str, *, is_named: bool) -> Callable[[Stage], str]:
    def missing(stage: Stage) -> str:
        if unmet := whole_run(first)(stage) or whole_run(again, outcome=outcome)(stage):
            return unmet
        named = ((stage.record(again) or {}).get("first_import") or {}).get("file_name", "")
        return "" if named == (first if is_named else "") else f"the first run is {named!r}"

    return missing


CASES = (
    _case("warn", second="Succeeded", is_named=True),
    _case("refuse", second="Rejected", is_named=True),
    _case("allow", second="Succeeded", is_named=False),
)
