"""A run's record holds everything but secrets, keeps what it does not understand, and says what is wrong with it."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runs.record import EXTRA, NOT_SAVED, RECORD_FORMAT, Damaged, run_from_json, run_to_json
from shared.runs.run import Run
from shared.runs.states import Direction, Outcome, State
from shared.runs.values import (
    NOTHING_IN_PROCESS,
    About,
    Arguments,
    AsyncArguments,
    EntityCounts,
    FailedRow,
    FileFacts,
    FirstImport,
    Held,
    InProcess,
    Problem,
    RemoteCallRecord,
    ReportFile,
    Rerun,
    StepRecord,
    Submission,
    UploadedPackage,
    Wait,
)
from shared.secret import SecretUrl
from tests.builders import MISSING, a_run, changed

NOW = datetime(2026, 11, 2, 8, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=40)


A_CALL = RemoteCallRecord(
    service="F&O", operation="GetExecutionSummaryStatus", status=503, request_id="8d3c", took_s=1.5, began=NOW
)


def a_full_run() -> Run:
    """Return a run of which every field says something."""
    return Run(
        run_id="0123456789ab",
        direction=Direction.IMPORT,
        flow_name="Kunden & Müller",
        lane="in-1",
        state=State.CANCELLED,
        state_since=NOW,
        due=LATER,
        opened=NOW,
        file=FileFacts(
            name="USMF_Größe 100%.zip",
            item_id="01ABC!7",
            size_bytes=7897,
            etag='"{85B04C8E},2"',
            modified=NOW,
            quick_xor_hash="SgAAAAAAAAAAAAAAAQAAAAAAAAA=",
            folder="/Processing",
            is_complete=False,
            web_url="https://contoso-my.sharepoint.com/a.zip",
            sub_folder="USMF",
            full_name="USMF_Größe 100%, im ganzen.zip",
        ),
        sort_key="20261102T083000123456Z-01ABC%217",
        data_project="Asset-Major-Types",
        company="USMF",
        package=UploadedPackage(
            blob_name="a.zip", blob_path="blob.example/dmf/a.zip", key_expires=LATER, sha256="0f" * 32
        ),
        entities=("Fixed asset major type", "Überschuss"),
        has_excel=True,
        submissions=(
            Submission(
                execution_id="two",
                chosen=LATER,
                blob_name="a.zip",
                fenced=LATER,
                missing_since=NOW,
                delivered_as="out.zip",
                never_began=True,
                seen=NOW,
                changed_nothing=True,
                was_unread=True,
            ),
        ),
        outcome=Outcome.PARTIALLY_SUCCEEDED,
        reason='3 of 120 rows failed: "ß"',
        attempts=3,
        error_keys_of=("Fixed asset major type",),
        report_attempts=2,
        failed_rows=(FailedRow(record_id="1", field="NAME", message="Größe?"),),
        failed_rows_total=7,
        are_rows_told=True,
        summary_url="https://contoso.operations.dynamics.com/?mi=x",
        report_url="https://contoso-my.sharepoint.com/a.zip.report.txt",
        report_files=(ReportFile(name="a.zip.report.txt", item_id="01REPORT"),),
        problem=Problem(text="stuck", since=NOW, about=About.EXECUTION),
        furthest=State.CANCELLED,
        failing_since=NOW,
        lost_submits=5,
        not_found=4,
        held_name_looks=20,
        detail_tries=1,
        resubmits=2,
        held=Held(since=NOW, text="locked", refusal="claim|Graph|403|x", is_aside=True, is_cleared=True, is_flows=True),
        waits=Wait(what="the data project Customers", since=NOW, holder="USMF_1.zip", holder_address="1-2-3"),
        environment_url="https://contoso.operations.dynamics.com",
        reserved=("project:asset-major-types",),
        cancelled_in=State.SUBMITTING,
        passed_by=("USMF_2.zip",),
        waited_s=98.4,
        scheduled=NOW,
        late_s=12.5,
        flow_settings='{"name":"import"}',
        passed_by_total=21,
        arguments=Arguments(
            data_project="Customers",
            company="USMF",
            overwrite=False,
            execute=False,
            asynchronous=AsyncArguments(
                fail_on_error=True, run_async_without_batch=True, threshold_to_run_in_batch=1000
            ),
        ),
        outcome_known=LATER,
        counts=(EntityCounts(entity="Customer groups", to_be_processed=12, staged=11, created=9, updated=1),),
        count_tries=1,
        counts_note="F&O did not return the row counts",
        warning="F&O created and updated 0 rows.",
        steps=(
            StepRecord(
                step="poll",
                state=State.EXECUTING,
                began=NOW,
                took_s=0.125,
                calls=(A_CALL,),
                error="no answer",
                times=7,
                by="anna@contoso.com",
                why="the rows were wrong",
            ),
        ),
        ended=LATER,
        rerun=Rerun(run_id="ba9876543210", opened=LATER, lane="in-1", sort_key="20261102T093000000000Z-01ABC%217"),
        rerun_of="1793608200123-00000000aaaa",
        rerun_count=1,
        duplicates="refuse",
        first_import=FirstImport(
            run_id="0123456789ab", address="1-2-3", file_name="USMF_0.zip", since=NOW, is_refused=True
        ),
        filed_folder="/Error/USMF/2026/11",
    )


type Path = tuple[str | int, ...]


def content_of(run: Run) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run_to_json(run))
    return content


def places_in(content: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Yield everything that stands in a record, with the way to it."""
    if path:
        yield path, content
    inner: Sequence[tuple[str | int, object]] = ()
    if isinstance(content, dict):
        inner = list(content.items())
    elif isinstance(content, list):
        inner = list(enumerate(content))
    for step, each in inner:
        yield from places_in(each, (*path, step))


FULL = content_of(a_full_run())
EVERY_PLACE = dict(places_in(FULL))
OBJECTS = [(), *(path for path, value in EVERY_PLACE.items() if isinstance(value, dict))]


def named(path: Path) -> str:
    return ".".join(str(step) for step in path) or "the record"


# As written, so read


def test_a_record_gives_back_everything_that_was_set() -> None:
    run = a_full_run()
    # A field that is added to Run, or to what it is made of, has to be set there, too.
    assert list(not_set_in(run)) == []

    assert run_from_json(run_to_json(run)) == run
    assert run_from_json(run_to_json(run).encode()) == run


def not_set_in(value: object) -> Iterator[str]:
    """Yield the fields that a value, and what it is made of, leave as they are of themselves."""
    if isinstance(value, tuple):
        for each in value:
            yield from not_set_in(each)
    elif is_dataclass(value):
        for each in (each for each in fields(value) if each.name not in NOT_SAVED | {EXTRA}):
            if getattr(value, each.name) == each.default:
                yield f"{type(value).__name__}.{each.name}"
            yield from not_set_in(getattr(value, each.name))


def test_a_record_of_a_run_that_has_just_been_opened_comes_back_as_it_was() -> None:
    run = a_run()
    assert run_from_json(run_to_json(run)) == run


def test_what_only_this_process_knows_is_never_saved() -> None:
    key = SecretUrl("https://blob.example/dmf/a?sig=topsecret")
    in_process = InProcess(has_chosen_id=True, package_url=key, download_url=key)
    run = replace(a_run(), in_process=in_process, record_etag='"0x8D"')

    text = run_to_json(run)
    read = run_from_json(text)

    assert not NOT_SAVED & set(json.loads(text))
    assert "topsecret" not in text
    assert "0x8D" not in text
    assert (read.in_process, read.record_etag) == (NOTHING_IN_PROCESS, "")


def test_every_field_that_is_not_saved_is_left_out_of_comparisons() -> None:
    assert {each.name for each in fields(Run) if not each.compare} == NOT_SAVED | {EXTRA}


def test_times_are_saved_in_utc() -> None:
    run = replace(a_run(), due=NOW.astimezone(timezone(timedelta(hours=5, minutes=30))))

    assert json.loads(run_to_json(run))["due"] == "2026-11-02T08:30:00.123456+00:00"


def test_a_moment_without_a_zone_is_taken_for_utc() -> None:
    read = run_from_json(changed(FULL, ("due",), "2026-11-02T08:30:00"))

    assert read.due == datetime(2026, 11, 2, 8, 30, tzinfo=UTC)


def test_a_moment_that_could_not_be_saved_again_is_damage() -> None:
    """In UTC it would lie before the year 1."""
    with pytest.raises(Damaged, match="due is not a time"):
        run_from_json(changed(FULL, ("due",), "0001-01-01T00:00:00+02:00"))


def test_a_duration_of_whole_seconds_is_read() -> None:
    assert run_from_json(changed(FULL, ("steps", 0, "took_s"), 2)).steps[0].took_s == 2


# What a newer version of the app has written


@pytest.mark.parametrize("path", OBJECTS, ids=named)
def test_a_field_that_this_version_does_not_know_is_kept_wherever_it_stands(path: Path) -> None:
    more = {"since when": [1, {"by": "anna"}]}
    record = changed(FULL, (*path, "new_field"), more)

    run = run_from_json(record)

    assert run == a_full_run()
    assert json.loads(run_to_json(run)) == json.loads(record)


def test_what_is_kept_outlives_what_this_version_does_to_the_run() -> None:
    run = run_from_json(changed(content_of(a_run()), ("new_field",), "kept"))

    moved = run.moved_to(State.CLAIMED, LATER).failed_once_more(2.0, LATER)

    assert content_of(moved)["new_field"] == "kept"


@pytest.mark.parametrize("version", [RECORD_FORMAT + 1, 99, 0, -1])
def test_a_record_of_a_format_that_this_version_does_not_read_says_which(version: int) -> None:
    with pytest.raises(Damaged, match=f"format {version}, and this version of the app reads up to {RECORD_FORMAT}"):
        run_from_json(changed(FULL, ("format",), version))


@pytest.mark.parametrize("version", [None, "2", 2.0, True, []])
def test_a_record_that_names_no_format_is_not_guessed(version: object) -> None:
    with pytest.raises(Damaged, match="names no format"):
        run_from_json(changed(FULL, ("format",), version))


@pytest.mark.parametrize("value", ["a word of a newer version", "", 7, None, [], {}, True])
@pytest.mark.parametrize(
    "path",
    [("flow",), ("state",), ("outcome",), ("trouble", "about"), ("steps", 0, "state"), ("cancelled_in",)],
    ids=named,
)
def test_a_word_that_this_version_does_not_know_is_said_and_not_guessed(path: Path, value: object) -> None:
    if (path, value) in [(("outcome",), None), (("cancelled_in",), None), (("trouble", "about"), "")]:
        return  # nothing is known yet: that is a value, too
    with pytest.raises(Damaged, match="does not know"):
        run_from_json(changed(FULL, path, value))


# Damage


def wrong_for(value: object) -> list[object]:
    """Return values of every other kind than that of a value."""
    kinds: dict[type, list[object]] = {
        bool: [True],
        int: [7],
        float: [0.5],
        str: ["2026-11-02T08:30:00+00:00" if not _is_moment(value) else "yesterday"],
        list: [[]],
        dict: [{}],
    }
    own = {type(value)}
    if isinstance(value, str):
        own = {str} if not _is_moment(value) else set()
    if isinstance(value, float):
        own = {float, int}
    return [each for kind, wrong in kinds.items() if kind not in own for each in wrong]


def _is_moment(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT.*", value) is not None


@pytest.mark.parametrize("path", [path for path in EVERY_PLACE if path != ("format",)], ids=named)
def test_a_value_of_another_kind_is_damage_wherever_it_stands(path: Path) -> None:
    for wrong in wrong_for(EVERY_PLACE[path]):
        with pytest.raises(Damaged):
            pytest.fail(f"{wrong!r} was read as {run_from_json(changed(FULL, path, wrong))}")


MAY_BE_NONE = {
    *("waited_s", "scheduled", "late_s", "asynchronous"),
    *("arguments", "outcome_known", "to_be_processed", "staged", "created", "updated"),
    *("modified", "key_expires", "fenced", "missing_since", "seen", "status", "error_keys_of", "package", "outcome"),
    *("trouble", "furthest", "failing_since", "held", "waits", "cancelled_in", "ended", "again", "first_import"),
}


@pytest.mark.parametrize("path", [path for path in EVERY_PLACE if path != ("format",)], ids=named)
def test_nothing_stands_in_the_place_of_a_value_only_if_that_may_be_unknown(path: Path) -> None:
    record = changed(FULL, path, None)

    if path[-1] in MAY_BE_NONE:
        assert content_of(run_from_json(record)).get(str(path[-1])) is None or len(path) > 1
        return
    with pytest.raises(Damaged):
        run_from_json(record)


REQUIRED = [
    *(("run_id",), ("flow",), ("integration",), ("lane",), ("state",), ("state_since",), ("due",), ("opened",)),
    *(("file",), ("order",), ("format",), ("file", "name"), ("package", "blob_path"), ("submissions", 0, "chosen")),
    *(("steps", 0, "took_s"), ("steps", 0, "calls", 0, "began"), ("held", "since"), ("waits", "what")),
    *(("again", "order"), ("trouble", "text"), ("failed_rows", 0, "message")),
]


@pytest.mark.parametrize("path", REQUIRED, ids=named)
def test_a_record_without_what_every_record_has_says_what_is_missing(path: Path) -> None:
    with pytest.raises(Damaged, match=f"no {path[-1]}"):
        run_from_json(changed(FULL, path, MISSING))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "7", '"text"', "{}", '{"format": 2}', '{"format": "2"}', '{"format": true}'),
        *('{"format": 2.0}', b"\xff\xfe\xfd", b"\x00", "[" * 100_000, '{"format": 2, "state": ' + "[" * 100_000),
    ],
    ids=lambda text: str(text[:20]),
)
def test_a_text_that_is_no_record_is_damaged(text: str | bytes) -> None:
    with pytest.raises(Damaged):
        run_from_json(text)


@given(st.data())
def test_a_record_that_something_has_changed_is_read_or_damaged_and_nothing_else(data: st.DataObject) -> None:
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
        max_leaves=4,
    )
    path = data.draw(st.sampled_from(list(EVERY_PLACE)))
    record = changed(FULL, path, data.draw(json_values))

    try:
        run = run_from_json(record)
    except Damaged:
        return
    assert run_from_json(run_to_json(run)) == run
