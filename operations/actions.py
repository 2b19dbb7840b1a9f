"""What a person does about open runs, flows and lanes: check, cancel, submit again, free, put aside, pause, resume,
export, scan, drain. Reruns are in ``reruns.py``.

Each action may be asked for twice and is done once. None moves a run on: an action writes what the person decided, if
nobody has written the record since it was read, and wakes the lane, whose worker does the rest.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from operations import available_actions
from operations.available_actions import effect_of_cancel, result_of_cancel
from shared.app import Services
from shared.errors import AppError, LeaseTaken, RecordChanged, TryAgain
from shared.exports import schedule as export_schedule
from shared.imports.order import find_failed_file, imports_waiting_for, replaces
from shared.log import log
from shared.reservations import release, settle
from shared.run_settings import with_settings
from shared.runs import wake
from shared.runs.addresses import address_of, is_before_all, parse_address, place_at
from shared.runs.lane import LANE_PREFIX, ahead_of, rows_in_drain
from shared.runs.record import Damaged
from shared.runs.rows import Pause
from shared.runs.run import Run
from shared.runs.states import NOT_BEGUN, NOT_SUBMITTED, Direction, State
from shared.runs.values import About, StepRecord
from shared.scan import scan

# Tries to write a decision into a record that a worker writes at the same moment.
TRIES: Final = 5
# Seconds that a worker which was processing a run when it was cancelled needs beside its stay with an execution, until
# it has let go of the lane. It wakes nobody; one that needs longer is followed by the minute's timer.
LET_GO_S: Final = 2.0
LANE_NAME: Final = re.compile(f"({'|'.join(LANE_PREFIX.values())})[a-z0-9-]+")
NOBODY: Final = "somebody with the key"

_ENDED: Final = "This run has ended."
BUSY: Final = "The app is processing this run right now. Try again in a moment."


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asks, and why."""

    by: str = NOBODY
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """What came of an action."""

    done: bool
    message: str
    run: str = ""  # the address of the run to look at
    each: tuple["ActionResult", ...] = ()  # of an action about many runs


def refuse(message: str, run: str = "") -> ActionResult:
    """Return that nothing was done, and why."""
    return ActionResult(done=False, message=message, run=run)


def add_step(run: Run, step: str, requester: Requester, now: datetime) -> Run:
    """Return a run with what a person did in its history."""
    return run.with_step(
        StepRecord(step=step, state=run.state, began=now, took_s=0.0, by=requester.by, why=requester.why)
    )


def find_run(address: str, services: Services) -> Run | ActionResult | None:
    """Return the run of an address; None if there is none, a refusal if its record is damaged."""
    try:
        return services.store.run_at(address)
    except Damaged as damaged:
        return refuse(f"The record of this run is damaged: {damaged}. Put it aside first.", address)


def wake_lane(lane: str, services: Services, *, sort_key: str = "", delay_s: float = 0.0) -> None:
    """Ask a worker to advance a lane; sort_key: of a run that it might not see among the first of its lane."""
    services.queue.send(f"{lane} {sort_key}".strip(), delay_s=delay_s)


def say_if_paused(lane: str, services: Services) -> str:
    """Return a sentence if the lane is paused, "" otherwise."""
    pause = services.store.pause_of(lane)
    return f"It waits: {pause.by} has paused the lane." if pause else ""


def refuse_in_drain(services: Services, address: str = "") -> ActionResult | None:
    """Return the refusal to begin anything while the app drains; None if it does not."""
    drain = services.drain.read()
    return refuse(f"{drain.text} Nothing new is started until the drain has ended.", address) if drain else None


# -- an open run


def check_now(address: str, requester: Requester, services: Services) -> ActionResult | None:
    """Make an open run due now and wake its lane; None if there is no such run."""
    run = find_run(address, services)
    if not isinstance(run, Run):
        return run
    if run.ended:
        return refuse(_ENDED, address)
    if pause := services.store.pause_of(run.lane):
        return refuse(f"{pause.by} has paused the lane of this run. Resume it first.", address)
    if run.state in NOT_SUBMITTED and (refused := refuse_in_drain(services, address)):
        return refused
    listed = services.store.lane(run.lane)
    if ahead := ahead_of(run.sort_key, listed.rows, listed.stops):
        return refuse(f"This run waits for its turn after {ahead.file_name}. Check that run instead.", ahead.address)
    if run.state in NOT_BEGUN:
        services.store.end_rest(run.lane)
    try:
        with services.leases.hold(run.lane):
            # What a person asks for is not counted among the answers after which a file may be gone.
            due = replace(run, due=services.now(), not_found=max(run.not_found - 1, 0))
            services.store.save(add_step(due, "check_now", requester, services.now()))
            for stop in listed.stops:
                if stop.flow_name == run.flow_name:
                    services.store.save_stop(replace(stop, next_try=services.now()))
    except (LeaseTaken, RecordChanged):
        return ActionResult(done=True, message="The app is processing this run.", run=address)
    wake_lane(run.lane, services, sort_key=run.sort_key)
    log.info("action.check_now", run_id=run.run_id, lane=run.lane, by=requester.by, why=requester.why)
    return ActionResult(done=True, message="The app is checking this run now.", run=address)


def cancel(address: str, requester: Requester, services: Services) -> ActionResult | None:
    """Cancel an open run; None if there is no such run.

    The decision is written over whatever a worker is doing: its next save is then refused. A worker that has not saved
    yet that it submits will not submit; one that has may, which is what the message then says.
    """

    def change(run: Run) -> Run | ActionResult:
        if run.ended:
            return refuse(_ENDED, address)
        if run.state is State.CANCELLED:
            return refuse("It is cancelled already. The app moves its file as soon as OneDrive allows it.", address)
        if not run.can_be_cancelled:
            return refuse("It is too late to cancel: the run is about to end.", address)
        now = services.now()
        why = requester.why.rstrip(". ") or "no reason given"
        reason = f"Cancelled by {requester.by}: {why}. {result_of_cancel(run)}"
        return add_step(with_settings(run, services), "give_up", requester, now).cancelled(reason, now)

    run = _save_decision(address, change, services)
    if not isinstance(run, Run):
        return run
    if not run.may_be_with_fo:
        release.give_back(run, services)
    wake_lane(run.lane, services, sort_key=run.sort_key)
    let_go_s = services.settings.poll_stay_s + LET_GO_S
    wake_lane(run.lane, services, sort_key=run.sort_key, delay_s=let_go_s)
    log.info("action.cancel", run_id=run.run_id, lane=run.lane, by=requester.by, why=requester.why)
    message = f"Cancelled. {effect_of_cancel(run)} {say_if_paused(run.lane, services)}".strip()
    return ActionResult(done=True, message=message, run=address)


def submit_again(address: str, requester: Requester, services: Services) -> ActionResult | None:
    """Let a run be submitted once more whose submits were all lost; None if there is no such run."""

    def change(run: Run) -> Run | ActionResult:
        if not available_actions.may_submit_again(run):
            return refuse("Not needed: the app submits this run by itself, or F&O has received it.", address)
        due = replace(run, due=services.now(), lost_submits=0).without_problem(About.LOST).with_a_good_try()
        return add_step(due, "submit_again", requester, services.now())

    run = _save_decision(address, change, services)
    if not isinstance(run, Run):
        return run
    wake_lane(run.lane, services, sort_key=run.sort_key)
    log.warning("action.submit_again", run_id=run.run_id, lane=run.lane, by=requester.by, why=requester.why)
    return ActionResult(done=True, message="The app asks F&O once more, then submits the file again.", run=address)


def _save_decision(
    address: str, change: Callable[[Run], Run | ActionResult], services: Services
) -> Run | ActionResult | None:
    """Save what a person decided about a run, also while a worker writes it; return the run as it was decided about."""
    for _ in range(TRIES):
        run = find_run(address, services)
        if not isinstance(run, Run):
            return run
        changed = change(run)
        if isinstance(changed, ActionResult):
            return changed
        try:
            services.store.save(changed)
        except RecordChanged:
            continue
        return run
    return refuse(BUSY, address)


def free_project(address: str, requester: Requester, services: Services) -> ActionResult | None:
    """Free what a cancelled run has reserved, whatever F&O does; None if there is no such run."""
    run = find_run(address, services)
    if not isinstance(run, Run):
        return run
    if run.cancelled_in is None:
        return refuse("This run is not cancelled. Cancel it first.", address)
    if not settle.free_now(run, services):
        return refuse("This run no longer has a reservation.", address)
    log.warning("action.free_project", run_id=run.run_id, by=requester.by, why=requester.why)
    return ActionResult(done=True, message=f"The data project {run.data_project} is free.", run=address)


def put_aside(address: str, requester: Requester, services: Services) -> ActionResult | None:
    """Move the damaged record of an open run out of its lane's way; None if there is no such record."""
    place = place_at(address)
    row = services.store.row_at(*place.split("/", 1)) if place else None
    waiting = imports_waiting_for(row, services) if row else ""
    try:
        moved_to = services.store.put_aside(address)
    except ValueError:
        return refuse("The record of this run can be read, so it was not put aside.", address)
    except RecordChanged as error:
        return refuse(f"{error.message}. Try again.", address)
    if not moved_to:
        return None
    log.warning("action.put_aside", record=moved_to, by=requester.by, why=requester.why)
    wake_lane(moved_to.split("/")[1], services)
    more = available_actions.waits_no_more(waiting) if waiting else ""
    return ActionResult(done=True, message=f"The record was moved to {moved_to}. {more}".strip())


def put_marks_aside(name: str, requester: Requester, services: Services) -> ActionResult | None:
    """Move the marks of a flow's failed files that cannot be read out of the way; None if there is no such import."""
    flow = next((each for each in services.settings.flows.imports if each.name.casefold() == name.casefold()), None)
    if flow is None:
        return None
    try:
        moved = services.failed_files.put_aside_damaged(flow.name)
    except RecordChanged as error:
        return refuse(f"{error.message}. Try again.")
    if not moved:
        return refuse(f"Each mark of a failed file of {flow.name} can be read, so none was put aside.")
    log.warning("action.put_aside", record=", ".join(moved), by=requester.by, why=requester.why)
    message = f"Moved to damaged/: {len(moved)}. Files that waited for that go on within a minute."
    return ActionResult(done=True, message=message)


# -- flows and lanes


def pause(name: str, requester: Requester, services: Services) -> ActionResult | None:
    """Pause the lane of a flow; name: the flow's or the lane's. None if there is no such flow or lane."""
    lane, flows = _find_lane(name, services)
    if not flows:
        return None
    now = services.now()
    already = services.store.pause_lane(Pause(lane=lane, by=requester.by, why=requester.why, since=now))
    if already:
        return ActionResult(done=True, message=f"Already paused by {already.by}: {already.why}")
    for other in _more_lanes(lane, flows, services):
        services.store.pause_lane(Pause(lane=other, by=requester.by, why=requester.why, since=now))
    log.warning("action.pause", lane=lane, by=requester.by, why=requester.why)
    return ActionResult(done=True, message=f"Paused: {', '.join(flows)}. A step that is running now is finished first.")


def resume(name: str, requester: Requester, services: Services, *, stopped_at: str = "") -> ActionResult | None:
    """Resume the lane of a flow; None if there is no such flow, and no such lane that is paused.

    stopped_at: the address of the run at which strictOrder had stopped the lane when the person saw it: that stop is
    ended. "": the person saw none, or a pause before it: only a person's pause is ended.
    """
    lane, flows = _find_lane(name, services)
    if not flows and not LANE_NAME.fullmatch(lane):
        return None
    who = ", ".join(flows) or lane
    if stopped_at:
        if refused := _scan_for_mended_file(stopped_at, services):
            return refused
        has_ended = resume_at(stopped_at, lane, services)
    else:
        for other in _paused_with(lane, flows, services):
            services.store.resume_lane(other)
            _wake_when_due(other, services)
        has_ended = services.store.resume_lane(lane)
    stop = services.store.stop_at_file(lane)
    stays = f"strictOrder keeps it stopped: {_way_on(stop)}" if stop else ""
    if has_ended:
        log.info("action.resume", lane=lane, by=requester.by, why=requester.why)
    elif stop:
        return refuse(f"No person has paused {who}. {stays}")
    elif not flows:
        return None
    _wake_when_due(lane, services)
    paused = say_if_paused(lane, services) if stopped_at else ""
    return ActionResult(done=True, message=f"Resumed: {who}. {stays or paused}".strip())


def _way_on(stop: Pause) -> str:
    """Return why strictOrder has stopped a lane, and how it goes on: on the pages and from a command line."""
    return (
        f"{stop.why} Run that file again or skip it on its page, or press 'Resume' of the flow in the list of runs. "
        f"From a command line: 'runs run-again {stop.run_id}' or 'runs skip {stop.run_id}'."
    )


def _more_lanes(lane: str, flows: Sequence[str], services: Services) -> Sequence[str]:
    """Return the other lanes in which flows have open runs, if each of their data projects has a lane of its own."""
    known = map(services.settings.flows.import_named, flows)
    names = {flow.name for flow in known if flow and flow.has_many_lanes}
    rows = services.store.open_lanes().rows if names else []
    return sorted({row.lane for row in rows if row.flow_name in names and row.lane != lane})


def _paused_with(lane: str, flows: Sequence[str], services: Services) -> Sequence[str]:
    """Return the other lanes that were paused together with a flow's own."""
    known = map(services.settings.flows.import_named, flows)
    if not any(flow and flow.has_many_lanes for flow in known) or (own := services.store.pause_of(lane)) is None:
        return ()
    _, pauses = services.index.open_rows_and_pauses()
    return [each.lane for each in pauses if each.lane != lane and each.is_with(own)]


def skip(address: str, requester: Requester, services: Services) -> ActionResult | None:
    """Let the files go on that wait because an ended run did not succeed; None: no such run.

    Those wait that are behind it in a lane that was stopped at it, and those of imports that go after its own.
    """
    run = find_run(address, services)
    if not isinstance(run, Run):
        return run
    if run.ended is None:
        return refuse("This run has not ended. Cancel it to skip its file.", address)
    if is_ended_anew(run, services):
        return refuse(BUSY, address)
    has_stopped, failed = is_stopped_at(run, services), find_failed_file(run, services)
    if not has_stopped and failed is None:
        return refuse("No file waits for a decision about this run.", address)
    if has_stopped and (refused := _scan_for_mended_file(address, services)):
        return refused
    with suppress(RecordChanged):  # somebody else has done the same, or runs it again
        services.store.save_ended(add_step(run, "skip", requester, services.now()))
    if failed:
        services.failed_files.delete(failed)
    if has_stopped:
        services.store.end_stop_at_file(run.lane)
    log.info("action.skip", run_id=run.run_id, lane=run.lane, by=requester.by, why=requester.why)
    _wake_when_due(run.lane, services)
    waited = "The files behind it go on." if has_stopped else "The files that wait for it go on within a minute."
    message = f"{run.file.name} is skipped. {waited} {say_if_paused(run.lane, services)}".strip()
    return ActionResult(done=True, message=message, run=address)


def _scan_for_mended_file(address: str, services: Services) -> ActionResult | None:
    """Scan the Input folder of a run at which its lane is stopped; return a refusal if that is not possible right now.

    A file that was put right, and that no scan has seen yet, has to have its place before the others go on.
    """
    run = find_run(address, services)
    if not isinstance(run, Run) or not is_stopped_at(run, services):
        return None
    flow = services.settings.flows.import_named(run.flow_name)
    if flow is None:
        return None
    if refused := refuse_in_drain(services, address):
        return refused
    try:
        _forget_waiting_of_mended_file(run, services)
        too_young = scan.open_new_runs_of(flow, services)
    except AppError as error:
        log.error("scan.failed", flow_name=flow.name, reason=str(error))
        for_now, then = (" right now", "in a moment") if isinstance(error, TryAgain) else ("", "once that is solved")
        reason = f"{flow.input_folder} cannot be listed{for_now}: {str(error).rstrip('.')}"
        return refuse(f"{reason}. A corrected file in it would have to go first. Try again {then}.")
    corrected = [each for each in too_young if each.flow is flow and replaces(each.item.name, each.sub_folder, run)]
    if corrected:
        return refuse(
            f"The corrected file {corrected[0].item.name} in {flow.input_folder} would have to go first, but the app "
            f"takes a file only once it is {flow.files.minimum_age_seconds} seconds old. Try again then."
        )
    return None


def _forget_waiting_of_mended_file(stopped: Run, services: Services) -> None:
    """Delete runs that nobody has begun of files that replace the one at which a lane is stopped, to be found anew.

    They were found before the lane was stopped, perhaps while F&O worked on that file, and have a place by age or name.
    """
    for row in services.store.open_lanes().rows:
        is_like_others = row.lane == stopped.lane and row.is_waiting and not is_before_all(row.sort_key)
        if not is_like_others or not replaces(row.file_name, stopped.file.sub_folder, stopped):
            continue
        with suppress(Damaged, RecordChanged):
            run = services.store.read_row(row)
            is_new = not run.steps and not run.rerun_of  # so nobody has moved its file yet
            if is_new and (run.flow_name, run.file.sub_folder) == (stopped.flow_name, stopped.file.sub_folder):
                services.store.delete_waiting(row)


def is_ended_anew(run: Run, services: Services) -> bool:
    """Return whether a worker will end an ended run once more, over what is decided about it until then.

    The one before died when it had written the ended record, and had not deleted the open one.
    """
    row = services.store.row_at(run.lane, run.sort_key)
    return row is not None and row.run_id == run.run_id


def is_stopped_at(run: Run, services: Services) -> bool:
    """Return whether strictOrder has stopped the lane of an ended run at it."""
    stop = services.store.stop_at_file(run.lane)
    return stop is not None and stop.run_id == run.run_id


def resume_at(address: str, lane: str, services: Services) -> bool:
    """Resume a lane if strictOrder has stopped it at the run with this address; return whether it has."""
    stopped, stop = parse_address(address), services.store.stop_at_file(lane)
    return bool(stopped and stop and stop.run_id == stopped.run_id and services.store.end_stop_at_file(lane))


def _wake_when_due(lane: str, services: Services) -> None:
    """Wake a lane when its next run is due: a run that was put off while the lane was paused has no wake-up."""
    listed = services.store.lane(lane)
    choice = listed.choice
    delay_s = max((choice.due - services.now()).total_seconds(), 0.0) if choice else 0.0
    wake_lane(lane, services, delay_s=delay_s)


def drain(requester: Requester, services: Services) -> ActionResult:
    """Let the app open, claim and submit nothing new, and end what F&O has."""
    if already := services.drain.begin(requester.by, requester.why):
        return ActionResult(done=True, message=already.text)
    log.warning("action.drain", by=requester.by, why=requester.why)
    left = len(rows_in_drain(services.store.open_lanes().rows))
    message = f"The app is draining; every instance follows within a minute. Runs that F&O may have received: {left}."
    return ActionResult(done=True, message=message)


def end_drain(requester: Requester, services: Services) -> ActionResult:
    """Let the app go on, and wake all lanes that have something to do."""
    if services.drain.end():
        log.info("action.end_drain", by=requester.by, why=requester.why)
    listed = services.store.open_lanes()
    if listed.drain:
        return refuse(f"{listed.drain.text} Set it to false.")
    due = [lane for lane, choice in wake.next_of_lanes(listed).items() if choice.due <= services.now()]
    for first in range(0, len(due), wake.LANES_IN_MESSAGE):
        services.queue.send("\n".join(due[first : first + wake.LANES_IN_MESSAGE]))
    message = "The drain has ended. New files are found, and exports start, within two minutes."
    return ActionResult(done=True, message=message)


def _find_lane(name: str, services: Services) -> tuple[str, Sequence[str]]:
    """Return the lane of that name, or of the flow of that name, and the flows that use it."""
    integrations = services.settings.flows
    lanes = {flow.name: flow.lane for flow in integrations.imports}
    lanes |= {flow.name: flow.lane for flow in integrations.exports}
    lane = next((lane for flow, lane in lanes.items() if flow.casefold() == name.casefold()), name)
    return lane, [flow for flow, its_lane in lanes.items() if its_lane == lane]


def export_now(name: str, requester: Requester, services: Services) -> ActionResult | None:
    """Start an export, due or not; None if there is no such export."""
    flow = next((each for each in services.settings.flows.exports if each.name.casefold() == name.casefold()), None)
    if flow is None:
        return None
    if head := services.store.head(flow.lane):
        message = f"An export of {flow.data_project} is running already."
        return ActionResult(done=True, message=message, run=head.address)
    if pause := services.store.pause_of(flow.lane):
        return refuse(f"{pause.by} has paused this flow. Resume it first.")
    if refused := refuse_in_drain(services):
        return refused
    run = add_step(export_schedule.plan(flow, services.now()), "export_now", requester, services.now())
    log.info("action.export_now", run_id=run.run_id, lane=run.lane, by=requester.by, why=requester.why)
    return open_run(run, services)


def open_run(run: Run, services: Services) -> ActionResult:
    """Open a run, unless it is there or has ended meanwhile, and wake its lane.

    Another process may have opened the same rerun. Should a worker begin it once more, it imports nothing: it claims
    the file by the eTag that it had.
    """
    if run.direction is Direction.EXPORT:
        if not export_schedule.start(run, services):
            return refuse("Another export of this data project is starting right now. Try again in a moment.")
    else:
        is_new = services.store.create(run)
        if is_new and services.store.ended_run(run.opened, run.run_id):
            _close_again(run, services)
        resume_at(run.rerun_of, run.lane, services)
        wake_lane(run.lane, services)
    message = f"A new run is open. {say_if_paused(run.lane, services)}".strip()
    return ActionResult(done=True, message=message, run=address_of(run))


def _close_again(run: Run, services: Services) -> None:
    """Delete the open record of a run that has ended, unless a worker has begun it once more."""
    if row := services.store.row_at(run.lane, run.sort_key):
        with suppress(RecordChanged):
            services.store.delete_waiting(row)


def scan_now(requester: Requester, services: Services) -> ActionResult:
    """Scan every Input folder now, as the minute's timer does."""
    if refused := refuse_in_drain(services):
        return refused
    log.info("action.scan_now", by=requester.by, why=requester.why)
    found = scan.open_new_runs(services)
    return ActionResult(done=True, message=f"New files: {found}.")
