"""A run's record holds everything but secrets, keeps what it does not understand, and says what is wrong with it."""

import json
import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runs.record import EXTRA, NOT_SAVED, RECORD_FORMAT, Damaged, run_from_json, run_to_json
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, Outcome, State
from shared.runs.values import (
    NOTHING_IN_PROCESS,
    About,
    FailedRow,
    FileFacts,
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

NOW = datetime(2026, 11, 2, 8, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=40)


def a_run() -> Run:
    return Run(
        run_id="0123456789ab",
        direction=Direction.IMPORT,
        flow_name="import",
        lane="in-1",
        state=State.FOUND,
        state_since=NOW,
        due=NOW,
        opened=NOW,
        file=FileFacts(name="USMF_Customers_001.zip"),
        sort_key="20261102T083000000000Z-item",
    )


def a_call() -> RemoteCallRecord:
    return RemoteCallRecord(
        service="F&O",
        operation="GetExecutionSummaryStatus",
        status=503,
        request_id="8d3c",
        took_s=1.5,
        began=NOW,
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
        ),
        sort_key="20261102T083000123456Z-01ABC%217",
        data_project="Asset-Major-Types",
        company="USMF",
        package=UploadedPackage(blob_name="a.zip", blob_path="blob.example/dmf/a.zip", key_expires=LATER),
        entities=("Fixed asset major type", "Überschuss"),
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
        passed_by_total=21,
        steps=(
            StepRecord(
                step="poll",
                state=State.EXECUTING,
                began=NOW,
                took_s=0.125,
                calls=(a_call(),),
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


def changed(content: dict[str, Any], path: Path, value: object) -> str:
    """Return a record with something else at a place."""
    copy = deepcopy(content)
    *way, last = path
    at: Any = copy
    for step in way:
        at = at[step]
    at[last] = value
    return json.dumps(copy)


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
    assert run_from_json(run_to_json(a_run())) == a_run()


_instants = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis wants naive bounds
_texts = st.lists(st.text(max_size=9), max_size=3).map(tuple)


def _built(kind: type, **options: Any) -> st.SearchStrategy[Any]:
    """Return what makes values of a type; every field that is saved may say anything."""
    moments = {datetime: _instants, datetime | None: st.none() | _instants}
    saved = {each: hint for each, hint in get_type_hints(kind).items() if each not in NOT_SAVED | {EXTRA}}
    return st.builds(kind, **{each: moments.get(hint, ...) for each, hint in saved.items()} | options)


_seconds = st.floats(0, 1e6)
_calls = st.lists(_built(RemoteCallRecord, took_s=_seconds), max_size=2).map(tuple)
_steps = st.lists(_built(StepRecord, took_s=_seconds, calls=_calls), max_size=2).map(tuple)
_runs = _built(
    Run,
    file=_built(FileFacts),
    package=st.none() | _built(UploadedPackage),
    entities=_texts,
    submissions=st.lists(_built(Submission), max_size=3).map(tuple),
    error_keys_of=st.none() | _texts,
    failed_rows=st.lists(_built(FailedRow), max_size=2).map(tuple),
    report_files=st.lists(_built(ReportFile), max_size=2).map(tuple),
    problem=st.none() | _built(Problem),
    held=st.none() | _built(Held),
    waits=st.none() | _built(Wait),
    reserved=_texts,
    passed_by=_texts,
    steps=_steps,
    rerun=st.none() | _built(Rerun),
)


@given(_runs)
def test_any_run_survives_its_record(run: Run) -> None:
    assert run_from_json(run_to_json(run).encode()) == run


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
    *("waited_s", "scheduled", "late_s"),
    *("modified", "key_expires", "fenced", "missing_since", "seen", "status", "error_keys_of", "package", "outcome"),
    *("trouble", "furthest", "failing_since", "held", "waits", "cancelled_in", "ended", "again"),
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
    content = deepcopy(FULL)
    at: Any = content
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]

    with pytest.raises(Damaged, match=f"no {path[-1]}"):
        run_from_json(json.dumps(content))


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


# Records of version 1


OLD = """
{
  "format": 1, "run_id": "0123456789ab", "flow": "import", "integration": "Kunden & Müller", "lane": "in-1",
  "state": "uploaded", "state_since": "2026-11-02T08:30:00.123456+00:00",
  "due": "2026-11-02T08:30:40.123456+00:00", "opened": "2026-11-02T08:30:00.123456+00:00",
  "file": {
    "name": "USMF_Größe 100%.zip", "item_id": "01ABC!7", "size_bytes": 7897, "etag": "\\"{85B04C8E},2\\"",
    "modified": "2026-11-02T08:30:00.123456+00:00", "quick_xor_hash": "SgAAAAAAAAAAAAAAAQAAAAAAAAA=",
    "folder": "/Processing", "is_complete": true, "web_url": "https://contoso-my.sharepoint.com/a.zip"
  },
  "order": "20261102T083000123456Z-01ABC%217", "data_project": "Customers", "company": "USMF",
  "package": {
    "blob_name": "a.zip", "blob_path": "blob.example/dmf/a.zip", "key_expires": "2026-11-02T08:30:40.123456+00:00"
  },
  "entities": ["Customers V3"],
  "submissions": [
    {
      "execution_id": "one", "chosen": "2026-11-02T08:30:00.123456+00:00", "blob_name": "a.zip",
      "fenced": "2026-11-02T08:30:40.123456+00:00", "missing_since": "2026-11-02T08:30:00.123456+00:00",
      "delivered_as": ""
    }
  ],
  "outcome": null, "reason": "", "attempts": 3, "error_keys_of": null, "report_attempts": 0, "failed_rows": [],
  "failed_rows_total": 0, "summary_url": "", "report_url": "",
  "trouble": {"text": "F&O is away", "since": "2026-11-02T08:30:00.123456+00:00"},
  "steps": [
    {
      "step": "upload", "state": "uploaded", "began": "2026-11-02T08:30:00.123456+00:00", "took_s": 0.125,
      "calls": [
        {
          "service": "F&O", "operation": "GetExecutionSummaryStatus", "status": null, "request_id": "8d3c",
          "took_s": 1.5, "began": "2026-11-02T08:30:00.123456+00:00"
        }
      ],
      "error": "no answer", "times": 7, "by": "", "why": ""
    }
  ],
  "ended": null, "again": null, "again_of": "", "again_number": 0
}
"""


def test_a_record_of_the_version_before_is_read_and_its_upload_belongs_to_a_claimed_file() -> None:
    run = run_from_json(OLD)

    assert (run.state, run.attempts, run.due) == (State.CLAIMED, 3, LATER)
    assert run.package == UploadedPackage(blob_name="a.zip", blob_path="blob.example/dmf/a.zip", key_expires=LATER)
    (submission,) = run.submissions
    assert (submission.execution_id, submission.fenced, submission.never_began) == ("one", LATER, False)
    assert run.problem == Problem(text="F&O is away", since=NOW)
    assert (run.steps[0].state, run.steps[0].step) == (State.CLAIMED, "upload")
    assert (run.reserved, run.held, run.failing_since, run.furthest) == ((), None, None, None)


def test_a_record_of_the_version_before_goes_on_as_one_of_this_version() -> None:
    run = run_from_json(OLD).submitting(Submission(execution_id="two", chosen=LATER), LATER)

    read = run_from_json(run_to_json(run))

    assert (read.state, read.execution_id, read.attempts) == (State.SUBMITTING, "two", 0)
    assert content_of(read)["format"] == RECORD_FORMAT


def test_a_new_runs_record_says_nothing_that_is_not_known_of_it() -> None:
    """It is to fit into a listing beside what a list shows."""
    run = new_run(
        direction=Direction.IMPORT,
        state=State.FOUND,
        flow_name="import",
        lane="in-1",
        sort_key="20261102T083000000000Z-item",
        file=FileFacts(name="USMF_1.zip"),
        now=NOW,
    )

    since_2 = set(FULL) - set(json.loads(OLD))
    assert set(content_of(run)) & since_2 == {"furthest"}
