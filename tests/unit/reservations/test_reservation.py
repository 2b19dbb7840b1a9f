"""A reservation: whose it is, which executions use its name, and that its record comes back as it was written."""

import json
import unicodedata
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.reservations.reservation import (
    Reservation,
    ReservedExecution,
    RunRef,
    blob_name,
    names_of,
    project_name,
    reservation_from_json,
    reservation_to_json,
    words_for,
)
from tests.builders import MISSING, a_run, changed

NOW = datetime(2026, 11, 2, 8, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=40)
ENVIRONMENT = "https://contoso.operations.dynamics.com"


def a_party(run_id: str = "0123456789ab", **facts: Any) -> RunRef:
    party = RunRef(run_id=run_id, address=f"1-{run_id}", file_name="USMF_Größe 1.zip", opened=NOW, seen=LATER)
    return replace(party, **facts)


def reserved(execution_id: str, *, not_found: int = 0) -> ReservedExecution:
    return ReservedExecution(execution_id=execution_id, chosen=NOW, not_found=not_found)


def a_reservation(**facts: Any) -> Reservation:
    reservation = Reservation(
        environment_url=ENVIRONMENT,
        name="project:customers",
        holder=a_party(),
        executions=(reserved("one", not_found=2),),
        waiting=a_party("ba9876543210", file_name="Customers_USMF.zip"),
        asked=LATER,
    )
    return replace(reservation, **facts)


# Whose it is


def test_a_reservation_is_held_by_the_run_that_it_names_alone() -> None:
    assert a_reservation().is_held_by("0123456789ab")
    assert not a_reservation().is_held_by("ba9876543210")
    assert not a_reservation(holder=None).is_held_by("")


def test_a_reservation_that_is_taken_names_its_new_holder_and_keeps_every_execution() -> None:
    after = a_reservation().taken_by(a_party("cccccccccccc"), (reserved("two"),))

    assert after.is_held_by("cccccccccccc")
    assert after.executions == (reserved("one", not_found=2), reserved("two"))
    assert after.waiting == a_reservation().waiting


def test_an_execution_that_is_known_already_keeps_what_is_known_of_it() -> None:
    assert a_reservation().taken_by(a_party(), (reserved("one"),)).executions == a_reservation().executions


def test_who_has_waited_for_a_reservation_waits_no_more_once_it_has_it() -> None:
    waiting = a_party("ba9876543210")

    assert a_reservation().taken_by(waiting, ()).waiting is None


def test_a_reservation_that_is_given_back_is_free_for_who_waits_for_it() -> None:
    after = a_reservation().freed()

    assert (after.holder, after.executions, after.asked) == (None, (), None)
    assert after.waiting == a_reservation().waiting


# Its name


def test_a_data_project_is_the_same_whatever_its_case() -> None:
    assert project_name("Asset-Major-TYPES") == project_name("asset-major-types") == "project:asset-major-types"


def test_a_run_uses_its_entities_and_excel_only_if_its_flow_says_so() -> None:
    accented = unicodedata.normalize("NFD", "É")
    run = a_run(data_project="P", entities=("Units", "UNITS", "É", accented), has_excel=True)

    assert names_of(run) == ("project:p",)
    assert names_of(run, with_entities=True, with_excel=True) == ("project:p", "entity:units", "entity:é", "excel")
    assert names_of(replace(run, has_excel=False), with_excel=True) == ("project:p",)


def test_a_name_is_told_as_the_package_spells_it() -> None:
    run = a_run(data_project="P", entities=("Customer Groups",))
    names = names_of(run, with_entities=True)

    assert [words_for(each, run) for each in names] == ["the data project P", "the entity Customer Groups"]


def test_a_name_has_one_place_in_an_environment_whatever_the_case_of_its_address() -> None:
    place = blob_name(ENVIRONMENT, "project:customers")

    assert place == blob_name(ENVIRONMENT.upper(), "project:customers")
    assert place != blob_name(ENVIRONMENT, "project:vendors")
    assert place != blob_name("https://other.operations.dynamics.com", "project:customers")


@given(st.text(st.characters(), max_size=300), st.text(st.characters(), max_size=300))
def test_the_place_of_any_name_is_safe_in_the_name_of_a_blob(environment_url: str, name: str) -> None:
    folder, _, last = blob_name(environment_url, name).partition("/")

    assert (len(folder), len(last)) == (24, 24)
    assert set(folder + last) <= set("0123456789abcdef")


# Its record


@pytest.mark.parametrize(
    "reservation",
    [
        a_reservation(),
        a_reservation(holder=None, executions=(), waiting=None, asked=None),
        a_reservation(executions=(reserved("one"), reserved("two", not_found=4))),
    ],
    ids=["everything is set", "nothing is known", "two executions"],
)
def test_a_reservation_comes_back_from_its_record(reservation: Reservation) -> None:
    text = reservation_to_json(replace(reservation, record_etag='"0x1"'))

    assert reservation_from_json(text) == reservation_from_json(text.encode()) == reservation
    assert reservation_from_json(text, '"0x2"').record_etag == '"0x2"'
    assert "0x1" not in text


def test_moments_are_saved_in_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=30))

    assert json.loads(reservation_to_json(a_reservation(asked=NOW.astimezone(east))))["asked"] == NOW.isoformat()


def test_a_moment_without_a_zone_is_taken_for_utc() -> None:
    text = reservation_to_json(a_reservation()).replace("+00:00", "")

    assert reservation_from_json(text) == a_reservation()


def test_every_field_of_a_reservation_is_saved_but_the_version_that_was_read() -> None:
    saved = set(json.loads(reservation_to_json(a_reservation())))

    assert saved == {each.name for each in fields(Reservation) if each.compare} | {"format"}


REQUIRED: list[tuple[str | int, ...]] = [
    *(("format",), ("environment_url",), ("name",), ("holder",), ("executions",), ("executions", 0, "execution_id")),
    *(("executions", 0, "chosen"), ("holder", "run_id"), ("holder", "address"), ("holder", "opened")),
    *(("holder", "seen"), ("waiting", "run_id")),
]

WRONG: dict[str, tuple[tuple[str | int, ...], object]] = {
    **{f"there is no {path}": (path, MISSING) for path in REQUIRED},
    **{f"another version wrote it, {version!r}": (("format",), version) for version in (0, 2, "1", None)},
    "asked is no moment": (("asked",), "yesterday"),
    "an execution's moment is no moment": (("executions", 0, "chosen"), "yesterday"),
    "a holder's moment is a number": (("holder", "seen"), 7),
    "the holder is a text": (("holder",), "0123456789ab"),
    "the executions are a text": (("executions",), "one"),
    "the executions are a number": (("executions",), 7),
    "the executions are nothing": (("executions",), None),
    "an execution is a text": (("executions", 0), "one"),
    "a count is a word": (("executions", 0, "not_found"), "often"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_record_is_damaged_if(wrong: str) -> None:
    record = changed(json.loads(reservation_to_json(a_reservation())), *WRONG[wrong])

    with pytest.raises(ValueError, match="not the record of a reservation"):
        reservation_from_json(record)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", "{}", b"\xff", "[" * 100_000], ids=lambda text: str(text[:9])
)
def test_a_text_that_is_no_record_of_a_reservation_is_damaged(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="not the record of a reservation"):
        reservation_from_json(text)


@given(st.data())
def test_a_record_that_something_has_changed_is_read_or_damaged_and_nothing_else(data: st.DataObject) -> None:
    values: st.SearchStrategy[Any] = (
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})
    )
    content = json.loads(reservation_to_json(a_reservation()))
    at: Any = data.draw(st.sampled_from([content, content["holder"], content["executions"][0]]))
    at[data.draw(st.sampled_from(list(at)))] = data.draw(values)

    try:
        reservation_to_json(reservation_from_json(json.dumps(content)))
    except ValueError as error:
        assert "not the record of a reservation" in str(error)  # noqa: PT017  # a property holds for what is refused, too
