"""``python -m local_cloud demo`` as a person runs it: what it says, its exit code, and that nothing stays behind."""

import re
import sys

import pytest

from tests.end_to_end.demos import DEFAULT, FAILING, FLEX, GIVEN_UP_AFTER_S, Demos
from tests.end_to_end.stage import processes_with
from tests.world import wait_for

pytestmark = pytest.mark.timeout(GIVEN_UP_AFTER_S + 30)


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("shape", [DEFAULT, pytest.param(FLEX, marks=pytest.mark.extended)])
def test_the_demo_exits_0_with_a_summary_that_all_is_well_as_its_last_line(demos: Demos, shape: str) -> None:
    demo = demos[shape].ended

    assert (demo.exit_code, demo.errors) == (0, "")
    assert demo.summary["event"] == "summary"
    assert demo.summary["ok"] is True
    ended = {package["file"]: (package["where"], package["outcome"]) for package in demo.summary["packages"]}
    assert ended == {
        "USMF_MajorTypes_001.zip": ("/Success", "Succeeded"),
        "USMF_MajorTypes_002.zip": ("/Error", "PartiallySucceeded"),
        "USMF_Holiday_003.zip": ("/Error", "Rejected"),
    }
    assert demo.summary["imports_in_fo"] == 2
    export = demo.summary["export"]
    assert export["rows_in_export"] == export["rows_in_fo"] > 0


@pytest.mark.extended
def test_the_demo_in_the_flex_shape_tells_which_groups_have_instances(demos: Demos) -> None:
    told = [event["text"] for event in demos[FLEX].ended.events if event["event"] == "instances"]

    assert any(re.search(r"\bhttp 1\b", text) for text in told)
    assert any(re.search(r"\bhttp starting\b", text) for text in told)
    assert re.search("none of .*start_exports", told[0])
    assert not any(event["event"] == "instances" for event in demos[DEFAULT].ended.events)


def test_a_package_whose_rows_fail_makes_the_demo_exit_1_with_the_reason(demos: Demos) -> None:
    demo = demos[FAILING].ended

    assert demo.exit_code == 1
    assert demo.summary["ok"] is False
    (package,) = demo.summary["packages"]
    assert (package["file"], package["where"], package["outcome"]) == ("USMF_Failing_001.zip", "/Error", "Failed")
    assert "#ERROR in this row" in package["reason"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the environment of other processes")
@pytest.mark.parametrize("demo", [DEFAULT, FAILING, pytest.param(FLEX, marks=pytest.mark.extended)])
def test_no_process_is_left_behind_by_the_demo(demos: Demos, demo: str) -> None:
    marker = demos[demo].ended.marker

    wait_for(lambda: processes_with(marker) == [])
