"""What a person does about runs: each verb, asked once, asked twice, and asked while a worker is at the lane."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from operations import actions, list_view, reruns
from operations.actions import ActionResult, Requester
from operations.available_actions import Verb
from operations.filters import NOT_SUCCEEDED, Filters
from shared.app import Services
from shared.errors import RecordChanged, TryAgain
from shared.imports import steps as import_steps
from shared.runs import wake, worker
from shared.runs.addresses import address_of
from shared.runs.rows import RunRow
from shared.runs.run import Run
from shared.runs.states import Direction, Outcome, State
from shared.runs.store import RunStore
from tests.exports import PROJECT, prepared
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import begin, ended_run, import_file, shown, sure
from tests.packages import build_package
from tests.world import World

ANNA = Requester(by="anna@contoso.com", why="the rows are mended")
BAD_ROWS = (("A", "Alpha"), ("B", "#ERROR"))
NAME, SECOND = "USMF_Rows_001.zip", "USMF_Second_002.zip"


@pytest.fixture
def both_ways(make_world: MakeWorld) -> World:
    """A world that imports and exports."""
    return prepared(make_world(settings={"EXPORT_DATA_PROJECT": PROJECT, "EXPORT_COMPANY": "USMF"}))


def failed(world: World, name: str = NAME) -> Run:
    """Import a package of which a row fails; return its run."""
    import_file(world, name, build_package(rows=BAD_ROWS))
    return ended_run(world, name)


def succeeded(world: World, name: str = NAME) -> Run:
    import_file(world, name)
    return ended_run(world, name)


def under_way(world: World, state: State, name: str = NAME) -> Run:
    """Return the run of a new file, which has just come to a state and waits in it."""
    lane = begin(world, name)
    steps = {**import_steps.STEPS, state: lambda run, services: run.waiting(3600, services.now())}
    worker.advance(lane, replace(import_steps.MACHINE, steps=steps), world.services)
    (run,) = world.open_runs()
    assert run.state is state
    return run


def again(world: World, run: Run) -> ActionResult:
    return sure(reruns.run_again(address_of(run), ANNA, world.services))


def again_to_the_end(world: World, run: Run) -> ActionResult:
    answer = again(world, run)
    world.run_until_quiet()
    return answer


def exported(world: World) -> Run:
    """Let an export be made; return its run."""
    assert world.start_exports() == 1
    world.run_until_quiet()
    (run,) = world.ended_runs(Direction.EXPORT)
    world.clock.advance(60)
    return run


def waits_behind(world: World) -> RunRow:
    """Put a file in that waits for its turn; return its row."""
    world.put(SECOND)
    world.look()
    (_, second) = world.services.index.open_rows()
    return second


def in_the_middle(world: World, state: State, act: Callable[[Run], object]) -> str:
    """Let a new file travel to its end, and somebody act while a worker does the step of a state; return its lane."""
    lane = begin(world, NAME)
    step = import_steps.STEPS[state]

    def done_while_somebody_acts(run: Run, services: Services) -> Run:
        if state is State.SUBMITTING:
            act(run)
            return step(run, services)
        after = step(run, services)
        act(run)
        return after

    steps = {**import_steps.STEPS, state: done_while_somebody_acts}
    world.monkeypatch.setattr(import_steps, "MACHINE", replace(import_steps.MACHINE, steps=steps))
    world.wake(lane)
    world.run_until_quiet()
    return lane


def cancel(world: World, run: Run, why: str = "wrong file") -> ActionResult:
    return sure(actions.cancel(address_of(run), Requester(by="anna@contoso.com", why=why), world.services))


def check_now(world: World, run: Run) -> ActionResult:
    return sure(actions.check_now(address_of(run), ANNA, world.services))


def at(world: World, address: str) -> Run:
    return sure(world.services.store.run_at(address))


def offered(world: World, address: str) -> list[Verb]:
    return [offer.verb for offer in shown(world, address).actions]


# Run again


@pytest.mark.parametrize("make", [failed, succeeded])
def test_a_run_that_has_ended_is_run_again_from_where_its_file_lies(world: World, make: Callable[[World], Run]) -> None:
    old = make(world)
    before = len(world.fno.executions)

    answer = again_to_the_end(world, old)

    new = at(world, answer.run)
    assert answer.done
    assert new.outcome is old.outcome
    assert len(world.fno.executions) == before + 1
    assert world.calls("ImportFromPackage") == 2
    assert new.execution_id != old.execution_id
    assert world.files("Processing") == world.files("Input") == []


def test_both_runs_tell_of_each_other_of_who_asked_and_why(world: World) -> None:
    old = failed(world)

    second = again_to_the_end(world, old)
    third = again_to_the_end(world, at(world, second.run))

    first, last = shown(world, address_of(old)), shown(world, third.run)
    assert [later.address for later in first.reruns] == [second.run, third.run]
    assert [later.result for later in first.reruns] == ["PartiallySucceeded", "PartiallySucceeded"]
    assert (last.rerun_count, last.rerun_of) == (2, address_of(at(world, second.run)))
    step = last.steps[0]
    assert (step.title, step.record.by, step.record.why) == ("Run again", ANNA.by, ANNA.why)
    assert (first.steps[-1].record.by, first.steps[-1].record.why) == (ANNA.by, ANNA.why)
    assert first.actions == ()
    rows = [line.run for line in list_view.list_runs(Filters(), "", world.services).ended]
    assert next(row for row in rows if row.run_id == old.run_id).has_again


def test_run_again_pressed_twice_opens_one_run_also_where_the_first_has_ended(world: World) -> None:
    old = failed(world)

    first = again(world, old)
    second = again_to_the_end(world, old)
    third = again_to_the_end(world, old)

    assert first.run == second.run == third.run
    assert "already" in second.message
    assert world.calls("ImportFromPackage") == 2


def test_of_many_who_press_run_again_at_the_same_moment_all_get_one_run(world: World) -> None:
    old = failed(world)
    together = threading.Barrier(4)

    def press() -> str:
        services = world.new_process()
        together.wait()
        return sure(reruns.run_again(address_of(old), ANNA, services)).run

    with ThreadPoolExecutor(4) as pool:
        runs = {each.result() for each in [pool.submit(press) for _ in range(4)]}
    world.run_until_quiet()

    assert len(runs) == 1
    assert world.calls("ImportFromPackage") == 2
    assert len(world.ended_runs()) == 2


def test_a_run_again_whose_process_died_before_it_was_opened_is_opened_by_the_next_press(world: World) -> None:
    old = failed(world)

    def dies(store: RunStore, run: Run) -> bool:
        raise TryAgain("the process died here")

    with world.monkeypatch.context() as patch:
        patch.setattr(RunStore, "create", dies)
        with pytest.raises(TryAgain):
            again(world, old)
    chosen = at(world, address_of(old)).rerun
    answer = again_to_the_end(world, old)

    assert chosen is not None
    assert at(world, answer.run).run_id == chosen.run_id
    assert world.calls("ImportFromPackage") == 2


def test_a_press_that_comes_late_once_its_run_has_ended_imports_nothing(world: World) -> None:
    old = failed(world)
    answer = again(world, old)
    opened = world.open_runs()[0]
    world.run_until_quiet()

    world.services.store.create(opened)  # by somebody who pressed at the same moment and was held up
    world.run_until_quiet()

    assert at(world, answer.run).outcome is Outcome.WITHDRAWN
    assert world.calls("ImportFromPackage") == 2


def test_a_run_that_is_open_is_not_run_again(world: World) -> None:
    run = under_way(world, State.EXECUTING)

    answer = again(world, run)

    assert not answer.done
    assert "could import its rows twice" in answer.message
    assert len(world.open_runs()) == 1


def test_a_file_that_is_gone_or_changed_or_back_in_input_is_not_run_again_and_the_words_say_which(world: World) -> None:
    gone, changed, back = (failed(world, f"USMF_{number}.zip") for number in (1, 2, 3))
    (world.folder / "Error" / "USMF_1.zip").unlink()
    (world.folder / "Error" / "USMF_2.zip").write_bytes(build_package())
    (world.folder / "Error" / "USMF_3.zip").rename(world.folder / "Input" / "USMF_3.zip")

    words = [again(world, run).message for run in (gone, changed, back)]

    assert "is no longer in OneDrive" in words[0]
    assert "has changed since" in words[1]
    assert "is in /Input; the app imports it from there" in words[2]
    assert world.heads() == {}


def test_a_file_that_a_person_takes_away_before_its_turn_is_not_imported_again(world: World) -> None:
    old = failed(world)
    answer = again(world, old)
    (world.folder / "Error" / NAME).rename(world.folder / "Success" / NAME)

    world.run_until_quiet()

    new = at(world, answer.run)
    assert (new.outcome, world.calls("ImportFromPackage")) == (Outcome.WITHDRAWN, 1)
    assert "moved, changed or deleted" in new.reason


def test_a_run_again_waits_behind_the_one_that_is_under_way(world: World) -> None:
    old = failed(world)
    world.clock.advance(60)
    head = under_way(world, State.EXECUTING, "USMF_Other_002.zip")
    world.services.store.save(replace(head, due=world.clock.now()))
    world.clock.advance(1)

    again(world, old)

    (first,) = world.open_runs()
    assert first.run_id == head.run_id
    world.run_until_quiet()
    assert [run.file.name for run in world.ended_runs()][-1] == NAME


def test_an_export_is_run_again_as_a_new_export_once(both_ways: World) -> None:
    world = both_ways
    old = exported(world)

    first, second = again(world, old), again(world, old)
    world.run_until_quiet()

    assert first.run == second.run
    assert at(world, first.run).rerun_of == address_of(old)
    assert world.calls("ExportToPackage") == 2


def test_an_export_is_not_run_again_while_another_one_is_under_way(both_ways: World) -> None:
    world = both_ways
    old = exported(world)
    world.start_exports()

    answer = again(world, old)

    assert not answer.done
    assert "is running" in answer.message
    assert at(world, address_of(old)).rerun is None


# Run again all of them


@pytest.mark.quick(cases=0)
def test_all_that_a_filter_shows_is_run_again_once_and_nothing_that_came_later(world: World) -> None:
    names = [f"USMF_{number}.zip" for number in range(3)]
    for name in names:
        failed(world, name)
    succeeded(world, "USMF_good.zip")
    world.clock.advance(1)
    seen = world.clock.now()
    filters = Filters(outcome=NOT_SUCCEEDED)

    def offered_for_all() -> list[Verb]:
        return [offer.verb for offer in list_view.list_runs(filters, "", world.services).actions]

    assert offered_for_all() == [Verb.SCAN_NOW, Verb.RUN_ALL_AGAIN]
    first = reruns.run_all_again(filters, seen, ANNA, world.services)
    assert offered_for_all() == [Verb.SCAN_NOW]
    world.clock.advance(1)
    world.run_until_quiet()
    second = reruns.run_all_again(filters, seen, ANNA, world.services)

    assert sorted(each.message.partition(":")[0] for each in first.each) == names
    assert first.message == "3 of 3 are run again."
    assert second.each == ()
    assert world.calls("ImportFromPackage") == 4 + 3


def test_before_all_are_run_again_it_is_said_how_many_and_which_and_just_those_are(world: World) -> None:
    world.clock.present = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
    for number in range(4):
        failed(world, f"USMF_{number}.zip")
        world.clock.advance(3600)
    filters, seen = Filters(outcome=NOT_SUCCEEDED), world.clock.now()
    world.monkeypatch.setattr(list_view, "RERUNS_AT_ONCE", 3)

    offer = list_view.list_runs(filters, "", world.services).actions[-1]
    answer = reruns.run_all_again(filters, seen, ANNA, world.services)
    rest = list_view.list_runs(filters, "", world.services).actions[-1]

    assert "The newest 3 ended runs" in offer.effect
    assert re.search(r"opened from 2026-11-02 09:\d\d:\d\d UTC to 2026-11-02 11:\d\d:\d\d UTC\.", offer.effect)
    assert "More runs match" in offer.effect
    assert [each.message.partition(":")[0] for each in answer.each] == ["USMF_3.zip", "USMF_2.zip", "USMF_1.zip"]
    assert rest.effect.startswith("1 ended run is run again: USMF_0.zip, opened 2026-11-02 08:")


# Check now


def test_a_run_that_waits_is_looked_at_now(world: World) -> None:
    run = under_way(world, State.EXECUTING)
    world.fno.end_now(run.execution_id)

    answer = check_now(world, run)
    world.wake(run.lane)

    assert answer.done
    assert (run.lane, 0.0) in world.wakes.sent
    assert at(world, answer.run).outcome is Outcome.SUCCEEDED
    assert [(step.by, step.why) for step in at(world, answer.run).steps if step.by] == [(ANNA.by, ANNA.why)]


def test_check_now_pressed_again_and_again_makes_no_file_count_as_gone(world: World) -> None:
    run = under_way(world, State.CLAIMED)
    (world.folder / "Processing" / NAME).unlink()

    for _ in range(10):
        check_now(world, run)
        world.wake(run.lane)

    (still,) = world.open_runs()
    assert (still.state, still.not_found) == (State.CLAIMED, 1)


def test_check_now_leaves_a_worker_that_is_at_the_lane_alone(world: World) -> None:
    run = under_way(world, State.EXECUTING)

    with world.services.leases.hold(run.lane):
        answer = check_now(world, run)

    assert (answer.done, answer.message) == (True, "The app is processing this run.")
    assert world.open_runs() == [run]


def test_a_run_that_waits_for_its_turn_is_not_checked_but_the_one_ahead_is_named(world: World) -> None:
    run = under_way(world, State.EXECUTING)
    second = waits_behind(world)
    answer = sure(actions.check_now(second.address, ANNA, world.services))

    assert (answer.done, answer.run) == (False, address_of(run))
    assert NAME in answer.message


def test_what_is_always_refused_is_not_offered(both_ways: World) -> None:
    world = both_ways
    old = failed(world)
    export = exported(world)
    assert Verb.RUN_AGAIN in offered(world, address_of(export))
    assert Verb.RUN_AGAIN in offered(world, address_of(old))

    world.wake(begin(world, "USMF_0.zip", "USMF_1.zip"))
    first, second = sorted(world.services.index.open_rows(), key=lambda row: row.file_name)
    actions.export_now("export", ANNA, world.services)

    assert Verb.CHECK_NOW in offered(world, first.address)
    assert Verb.CHECK_NOW not in offered(world, second.address)
    assert Verb.RUN_AGAIN not in offered(world, address_of(export))


# Cancel


@pytest.mark.parametrize("state", [State.FOUND, State.CLAIMED])
def test_a_run_that_is_cancelled_before_f_and_o_heard_of_it_is_filed_in_error_and_nothing_is_imported(
    world: World, state: State
) -> None:
    run = under_way(world, state)

    answer = cancel(world, run)
    world.run_until_quiet()

    over = at(world, answer.run)
    assert "so none of it is imported" in answer.message
    assert (over.outcome, over.file.folder) == (Outcome.CANCELLED_BY_PERSON, "/Error")
    assert over.reason.startswith("Cancelled by anna@contoso.com: wrong file. The file was not submitted to F&O")
    report = (world.folder / "Error" / "USMF_Rows_001.zip.report.txt").read_text("utf-8-sig")
    assert report.startswith(f"{NAME}: Cancelled by a person\n")
    assert "Cancelled by anna@contoso.com: wrong file." in report
    assert world.calls("ImportFromPackage") == 0


@pytest.mark.parametrize("state", [State.SUBMITTING, State.EXECUTING])
def test_cancelling_what_f_and_o_may_have_says_that_f_and_o_may_go_on_and_never_imports_twice(
    world: World, state: State
) -> None:
    run = under_way(world, state)

    answer = cancel(world, run)
    world.run_until_quiet()

    assert "F&O may have received this import, and may continue and import the rows" in answer.message
    assert run.execution_id in answer.message
    assert at(world, answer.run).outcome is Outcome.CANCELLED_BY_PERSON
    assert world.files("Error") == [NAME, "USMF_Rows_001.zip.report.txt"]
    assert world.calls("ImportFromPackage") <= 1


@pytest.mark.parametrize("state", [State.FOUND, State.CLAIMED])
def test_a_run_that_is_cancelled_while_a_worker_is_at_it_is_never_sent_to_f_and_o(world: World, state: State) -> None:
    lane = in_the_middle(world, state, lambda run: cancel(world, run))
    (over,) = world.ended_runs()
    assert (over.outcome, over.file.folder) == (Outcome.CANCELLED_BY_PERSON, "/Error")
    assert world.calls("ImportFromPackage") == 0
    assert (f"{lane} {over.sort_key}", world.services.settings.poll_stay_s + actions.LET_GO_S) in world.wakes.sent


def test_a_run_that_is_cancelled_while_a_worker_tells_f_and_o_says_that_f_and_o_may_have_it(world: World) -> None:
    said: list[str] = []
    in_the_middle(world, State.SUBMITTING, lambda run: said.append(cancel(world, run).message))
    (over,) = world.ended_runs()
    assert "F&O may have received this import" in said[0]
    assert over.outcome is Outcome.CANCELLED_BY_PERSON
    assert world.calls("ImportFromPackage") == 1


def test_cancelling_gives_way_to_a_worker_that_writes_at_the_same_moment_and_asks_anew(world: World) -> None:
    run = under_way(world, State.EXECUTING)
    save, saves = RunStore.save, []

    def contended(store: RunStore, changed: Run) -> Run:
        saves.append(changed)
        if len(saves) == 1:
            raise RecordChanged("a worker was quicker")
        return save(store, changed)

    world.monkeypatch.setattr(RunStore, "save", contended)

    assert cancel(world, run).done
    assert len(saves) == 2


def test_cancelling_twice_is_cancelling_once(world: World) -> None:
    run = under_way(world, State.EXECUTING)

    first, second = cancel(world, run), cancel(world, run, "again")
    world.run_until_quiet()
    third = cancel(world, run)

    assert [answer.done for answer in (first, second, third)] == [True, False, False]
    assert "It is cancelled already" in second.message
    assert at(world, address_of(run)).reason.startswith("Cancelled by anna@contoso.com: wrong file.")


def test_a_run_that_is_cancelled_while_it_waits_is_filed_at_once_and_the_one_ahead_goes_on(world: World) -> None:
    under_way(world, State.EXECUTING)
    second = waits_behind(world)

    answer = sure(actions.cancel(second.address, ANNA, world.services))
    (wake_up,) = [text for text, delay_s in world.wakes_of_lanes() if " " in text and not delay_s]
    world.wake(wake_up)

    assert answer.done
    assert [run.file.name for run in world.ended_runs()] == [SECOND]
    world.run_until_quiet()
    assert {run.file.name: run.outcome for run in world.ended_runs()} == {
        NAME: Outcome.SUCCEEDED,
        SECOND: Outcome.CANCELLED_BY_PERSON,
    }
    assert world.calls("ImportFromPackage") == 1


def test_what_was_cancelled_can_be_run_again(world: World) -> None:
    run = under_way(world, State.CLAIMED)
    cancel(world, run)
    world.run_until_quiet()
    answer = again_to_the_end(world, at(world, address_of(run)))
    assert at(world, answer.run).outcome is Outcome.SUCCEEDED
    assert world.files("Success") == [NAME]


@pytest.mark.parametrize("in_fo", [False, True])
def test_an_export_that_is_cancelled_ends_and_the_words_say_what_becomes_of_its_changes(
    both_ways: World, in_fo: bool
) -> None:
    world = both_ways
    world.start_exports()
    lane = next(iter(world.heads()))
    if in_fo:
        world.wake(lane)
    (run,) = world.open_runs()

    answer = cancel(world, run)
    world.wake(lane)

    over = at(world, answer.run)
    assert (over.state, over.outcome) == (State.CANCELLED, Outcome.CANCELLED_BY_PERSON)
    assert ("no later export contains its changes" in over.reason) is in_fo
    assert world.files("Output") == []


# Pause and resume


def test_a_paused_lane_claims_nothing_asks_nothing_and_sees_new_files(world: World) -> None:
    actions.pause("import", ANNA, world.services)
    world.put(NAME)
    world.look()
    world.faults.forget_calls()
    (run,) = world.all_open_runs()

    world.wake(run.lane)

    assert [run.state for run in world.services.index.open_rows()] == [State.FOUND]
    assert world.faults.calls == []
    assert world.files("Input") == [NAME]


def test_a_lane_that_is_resumed_goes_on_by_itself(world: World) -> None:
    run = under_way(world, State.EXECUTING)
    actions.pause(run.lane, ANNA, world.services)
    world.clock.advance(3600)
    world.wakes.sent.clear()

    assert actions.resume("Import", ANNA, world.services)

    assert world.wakes.sent == [(run.lane, 0.0)]
    world.run_until_quiet()
    assert [over.outcome for over in world.ended_runs()] == [Outcome.SUCCEEDED]


def test_a_lane_is_paused_once_by_whoever_is_first(world: World) -> None:
    actions.pause("import", ANNA, world.services)

    answer = sure(actions.pause("import", Requester(by="ben", why="me too"), world.services))

    assert answer.message == "Already paused by anna@contoso.com: the rows are mended"
    (lane,) = list_view.list_runs(Filters(), "", world.services).lanes
    assert lane.pause is not None
    assert (lane.pause.by, lane.pause.why) == (ANNA.by, ANNA.why)
    assert [offer.verb for offer in lane.actions] == [Verb.RESUME]

    answers = [actions.resume("import", ANNA, world.services) for _ in range(2)]
    assert [answer and answer.done for answer in answers] == [True, True]
    assert actions.pause("no such flow", ANNA, world.services) is None
    assert actions.resume("no such flow", ANNA, world.services) is None


def test_the_minutes_timer_does_not_call_a_paused_lane_overdue(world: World) -> None:
    run = under_way(world, State.EXECUTING)
    actions.pause("import", ANNA, world.services)
    world.clock.advance(2 * 3600)

    assert wake.wake_lanes(world.services.store.open_lanes(), world.services) == 0
    actions.resume("import", ANNA, world.services)
    assert wake.wake_lanes(world.services.store.open_lanes(), world.services) == 1
    assert world.open_runs()[0].run_id == run.run_id


def test_a_paused_lane_whose_flow_left_the_settings_is_shown_and_can_be_resumed(world: World) -> None:
    actions.pause("import", ANNA, world.services)
    lane = world.services.index.open_rows_and_pauses()[1][0].lane
    (gone,) = list_view.list_lanes(
        replace(world.services.settings.flows, imports=()), world.services.index.open_rows_and_pauses()[1]
    )

    assert (gone.name, gone.kind) == (lane, Direction.IMPORT)
    assert sure(actions.resume(gone.name, ANNA, world.services)).done


def test_a_run_of_a_paused_lane_says_so_and_is_not_checked(world: World) -> None:
    run = under_way(world, State.EXECUTING)
    actions.pause("import", ANNA, world.services)

    view = shown(world, address_of(run))
    answer = check_now(world, run)

    assert view.next is not None
    assert (view.next.waits_for, view.next.next_check) == ("the lane to be resumed", None)
    assert [offer.verb for offer in view.actions] == [Verb.CANCEL]
    assert not answer.done
    assert cancel(world, run).message.endswith("It waits: anna@contoso.com has paused the lane.")


# Export now and look now


def test_an_export_is_run_now_although_it_is_not_due_and_twice_is_once(both_ways: World) -> None:
    world = both_ways
    world.start_exports()
    world.run_until_quiet()
    world.clock.advance(1)

    first, second = (sure(actions.export_now("export", ANNA, world.services)) for _ in range(2))
    world.run_until_quiet()

    assert first.run == second.run
    assert (any(text.startswith("out-") for text, _ in world.wakes.sent), first.done, second.done) == (True, True, True)
    assert world.calls("ExportToPackage") == 2
    assert at(world, first.run).steps[0].by == ANNA.by
    assert actions.export_now("no such export", ANNA, world.services) is None


def test_an_export_that_is_paused_is_not_run_now(both_ways: World) -> None:
    actions.pause("export", ANNA, both_ways.services)

    answer = sure(actions.export_now("export", ANNA, both_ways.services))

    assert not answer.done
    assert both_ways.heads() == {}


def test_looking_now_opens_a_run_for_each_new_file_once(world: World) -> None:
    world.put(NAME)

    answers = [actions.scan_now(ANNA, world.services) for _ in range(2)]

    assert [answer.message for answer in answers] == ["New files: 1.", "New files: 0."]
    assert len(world.services.index.open_rows()) == 1


# What is offered


def test_what_can_be_done_about_a_run_is_offered_and_nothing_else(world: World) -> None:
    run = under_way(world, State.EXECUTING)
    assert offered(world, address_of(run)) == [Verb.CHECK_NOW, Verb.CANCEL]

    world.run_until_quiet()
    assert offered(world, address_of(run)) == [Verb.RUN_AGAIN]

    again(world, at(world, address_of(run)))
    assert offered(world, address_of(run)) == []
