"""Sort keys by name: they sort as names do, and a newcomer stands behind the run that is under way."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.runs.addresses import (
    is_by_name,
    is_open_name,
    key_of,
    open_name,
    place_before,
    sort_key_after,
    sort_key_by_name,
    sort_key_of,
)

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
LANE = "in-" + "x" * 49  # as long as one can be
_names = st.text(st.characters(exclude_characters="/"), min_size=1, max_size=255)
_short = st.text("abCé_ .", min_size=1, max_size=3)
_keys = st.text("AB9!-.~", min_size=1, max_size=5)


def key_by_name(name: str, begun: str = "", *, key: str = "ITEM") -> str:
    return sort_key_by_name(begun, name, NOW, key)


@given(st.lists(_short, unique_by=str.casefold))
def test_they_sort_as_the_names_do_whatever_their_case(names: list[str]) -> None:
    assert sorted(names, key=key_by_name) == sorted(names, key=str.casefold)


def test_files_of_one_name_sort_by_the_time_at_which_they_came() -> None:
    earlier, later = (sort_key_by_name("", "a.zip", NOW + timedelta(seconds=s), f"Z{9 - s}") for s in (0, 1))

    assert earlier < later < key_by_name("b")


@given(_names, _keys)
def test_they_keep_the_files_id_and_are_places_that_every_version_takes(name: str, key: str) -> None:
    sort_key = key_by_name(name, key=key)

    assert key_of(sort_key) == key
    assert is_open_name(open_name(LANE, sort_key))
    assert is_by_name(sort_key)


def test_places_by_age_are_told_from_those_by_name_and_keep_their_key() -> None:
    by_age = sort_key_of(NOW, "~61-8")

    assert not is_by_name(by_age)
    assert key_of(by_age) == "~61-8"


@given(
    arrivals=st.lists(st.tuples(_short, st.integers(0, 2)), max_size=25, unique_by=lambda each: each[0].casefold()),
    begins_by_age=st.booleans(),
)
def test_a_newcomer_goes_before_those_with_a_higher_name_and_never_before_the_run_under_way(
    arrivals: list[tuple[str, int]], begins_by_age: bool
) -> None:
    """Files come while one is under way; after some of them that one ends, and the next is taken up."""
    under_way, waiting = "", dict[str, str]()
    if begins_by_age:
        under_way = sort_key_of(NOW, "old")
    for number, (name, ended) in enumerate(arrivals):
        begun = under_way or (place_before(min(waiting)) if waiting else "")
        key = key_by_name(name, begun, key=f"I{number}")
        assert key > under_way
        waiting[key] = name
        in_turn = [waiting[key] for key in sorted(waiting)]
        assert in_turn == sorted(in_turn, key=str.casefold)
        if ended == 2:
            under_way = min(waiting)
            del waiting[under_way]
        elif ended == 1:
            under_way = ""


def test_many_that_come_each_before_the_one_under_way_have_places_that_storage_takes() -> None:
    begun = ""
    for number in range(300):
        sort_key = key_by_name(f"{999 - number:03}-{'ü' * 240}.zip", begun, key=f"{number:0400}")
        assert sort_key > begun
        assert len(open_name(LANE, sort_key)) <= 1024
        begun = sort_key


def test_a_file_by_age_that_comes_later_is_behind_one_by_name_that_is_under_way() -> None:
    begun = key_by_name("zzz")

    assert sort_key_after(begun, NOW, "ITEM") > begun
