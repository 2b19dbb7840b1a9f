"""A seed stands for one plan: the same packages, kills and faults each time."""

from collections import Counter

from shared.runs.blame import ASIDE_AFTER
from tests.soak.plan import FAULTS, LOCKED_S, Chance, make_plan


def faults_of(seed: int, calls: int = 4000) -> list[str]:
    chance = Chance(seed)
    actions = (chance("graph") for _ in range(calls))
    return [action.kind if action else "None" for action in actions]


def test_the_same_seed_makes_the_same_plan_and_another_seed_another() -> None:
    plans = [make_plan(seed=seed, packages=50, projects=5, exports=3, minutes=10) for seed in (1, 1, 2)]

    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    assert [package.content() for package in plans[0].packages] == [package.content() for package in plans[1].packages]


def test_a_locked_file_is_locked_for_so_long_that_it_is_set_aside() -> None:
    assert ASIDE_AFTER.total_seconds() < LOCKED_S[0]


def test_the_nth_call_of_a_service_fails_in_the_same_way_each_time() -> None:
    assert faults_of(1) == faults_of(1)
    assert faults_of(1) != faults_of(2)


def test_what_other_services_are_asked_does_not_change_which_calls_of_one_fail() -> None:
    chance = Chance(1)
    mixed: list[str] = []
    for _ in range(4000):
        chance("storage")
        action = chance("graph")
        mixed.append(action.kind if action else "None")

    assert mixed == faults_of(1)


def test_five_of_a_hundred_calls_fail_in_every_way_there_is() -> None:
    found = Counter(faults_of(1))

    failed = found.total() - found["None"]
    assert 0.04 < failed / found.total() < 0.06
    assert set(found) - {"None"} == {action.kind for action in FAULTS["graph"]}
