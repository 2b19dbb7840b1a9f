"""What becomes of a file or a run when the input is bad: the file is in Error with the reason, or the run goes on."""

import pytest

from local_cloud import faults
from local_cloud.faults import Action, Fault
from tests.flows.trouble import import_file
from tests.hostile.answers import AnswerTable, of_fault
from tests.hostile.test_packages import CASES
from tests.packages import build_package
from tests.world import World

# One of each kind of refusal, and names that company_of refuses.
BAD_PACKAGES = {
    f"USMF_{number}.zip": CASES[name]
    for number, name in enumerate(
        (
            *("a RAR archive", "a zip in another zip", "a manifest that is said to unpack to 4 GB"),
            *("a manifest in Deflate64", "a name that climbs out, written from right to left"),
            *("a manifest that reads a file of the server", "a manifest with a hundred thousand attributes"),
            "an entity whose name is a formula and has no file",
        )
    )
}
BAD_NAMES = (
    *("USMF.zip", "USMFX_x.zip", "ÄÖ_x.zip", "٣_x.zip", "\u202eFMSU_x.zip", "-_x.zip", "US MF_x.zip", "=1+1_x.zip"),
    *("%55SMF_x.zip", "🙂_x.zip", "_.zip", "no ending"),
)


def test_every_bad_file_goes_to_error_unchanged_with_the_reason_and_f_and_o_never_hears_of_it(world: World) -> None:
    contents = {name: build() for name, (build, _, _) in BAD_PACKAGES.items()}
    contents |= dict.fromkeys(BAD_NAMES, build_package())
    for name, content in contents.items():
        world.put(name, content)

    import_file(world, "USMF_good.zip")

    assert (world.files("Input"), world.files("Processing"), world.files("Success")) == ([], [], ["USMF_good.zip"])
    error = world.folder / "Error"
    assert {name: (error / name).read_bytes() for name in contents} == contents
    for name, (_, _, to_do) in BAD_PACKAGES.items():
        assert to_do in (error / f"{name}.report.txt").read_text("utf-8-sig")
    for name in BAD_NAMES:
        report = (error / f"{name}.report.txt").read_text("utf-8-sig")
        assert "Rename it so that it does: USMF_Customers_001.zip" in report
    assert world.imports() == [("USMF", 1)]


IMPORT, STATUS = "ImportFromPackage", "GetExecutionSummaryStatus"
LONG = {"value": "x" * 1_000_000}


def wait(value: str) -> Action:
    return faults.status(429, headers={"Retry-After": value})


GOES_ON: AnswerTable[tuple[str, Action]] = AnswerTable(
    "what F&O goes on from",
    lambda entry: of_fault(entry[1]),
    {
        "F&O gives a page of HTML in place of an upload address": ("GetAzureWriteUrl", faults.garbage()),
        "F&O answers the import with a page of HTML": (IMPORT, faults.garbage()),
        "F&O answers the import with an id of a million letters": (IMPORT, faults.status(200, body=LONG, handled=True)),
        "F&O asks for a wait of eight thousand years": (STATUS, wait("Fri, 31 Dec 9999 23:59:59 GMT")),
        "F&O asks for a wait of a number without end": (IMPORT, wait("9" * 400)),
        "F&O answers with a body that nests without end": (STATUS, faults.status(200, body='{"value": ' * 100_000)),
    },
)


@pytest.mark.quick(cases=3)
@pytest.mark.parametrize("name", GOES_ON)
def test_the_file_is_imported_once_all_the_same_when(name: str, world: World) -> None:
    action, do = GOES_ON[name]
    world.faults.add(Fault(service="finance_operations", method="POST", path_regex=rf".*{action}$", times=2, do=do))
    world.put("USMF_x.zip")

    world.look()
    world.run_until_quiet()

    assert (world.files("Input"), world.files("Processing"), world.files("Error")) == ([], [], [])
    assert world.files("Success") == ["USMF_x.zip"]
    assert len(world.imports()) == 1
    assert "has a bug" not in world.written()
