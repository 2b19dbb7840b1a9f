"""A seed stands for one plan: the same packages, kills and faults each time."""

from collections import Counter
from itertools import pairwise

from shared.runs.blame import ASIDE_AFTER
from tests.soak.plan import FAULTS, HOSTS, LOCKED_S, SUBMITS_REFUSED_WITH, Chance, TroubleKind, make_plan


def faults_of(seed: int, calls: int = 4000) -> list[str]:
    chance = Chance(seed)
    actions = (chance("graph") for _ in range(calls))
    return [action.kind if action else "None" for action in actions]


def test_the_same_seed_makes_the_same_plan_and_another_seed_another() -> None:
    plans = [make_plan(seed=seed, packages=50, projects=5, exports=3, minutes=10) for seed in (1, 1, 2)]

    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    assert [package.content() for package in plans[0].packages] == [package.content() for package in plans[1].packages]


def test_packages_are_spread_evenly_over_the_projects_and_have_names_and_rows_of_their_own() -> None:
    plan = make_plan(seed=1, packages=500, projects=20, exports=20, minutes=40)

    assert set(Counter(package.lane for package in plan.packages).values()) == {25}
    assert len({package.name for package in plan.packages}) == 500
    keys = [key for package in plan.packages for key in (*package.good, *package.bad)]
    assert len(set(keys)) == len(keys)
    assert {package.outcome for package in plan.packages} == {"Succeeded", "PartiallySucceeded"}
    assert set(plan.exports.values()) == {package.lane for package in plan.packages}


def test_hosts_are_killed_one_after_the_other_for_as_long_as_a_soak_may_last() -> None:
    kills = make_plan(seed=1, packages=1, projects=1, exports=1, minutes=40).kills

    assert {kill.host for kill in kills} == set(range(HOSTS))
    assert all(before.at_s + before.down_s < after.at_s for before, after in pairwise(kills))
    assert kills[-1].at_s > 38 * 60


def test_every_kind_of_trouble_comes_up_and_submits_are_refused_once_in_each_way_at_a_time() -> None:
    plan = make_plan(seed=1, packages=120, projects=10, exports=5, minutes=40)

    assert {trouble.kind for trouble in plan.troubles} == set(TroubleKind)
    refused = [trouble for trouble in plan.troubles if trouble.kind is TroubleKind.SUBMITS]
    assert [trouble.status for trouble in refused] == list(SUBMITS_REFUSED_WITH)
    assert all(before.at_s + before.for_s < after.at_s for before, after in pairwise(refused))


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


def test_nothing_fails_any_more_once_it_is_over() -> None:
    chance = Chance(1, rate=1.0)
    assert chance("graph") is not None

    chance.is_over = True

    assert chance("graph") is None
