"""What a person does: run again, check now, cancel, submit again, free a project, put a damaged record aside, pause
and resume, export now, look now.

Each verb may be asked for twice and is done once. None of them moves a run: a verb writes what the person decided, on
the condition that nobody has written the record since it was read, and wakes the lane, whose worker does the rest. Who
may ask is settled in ``operations/``, what is said before it is done in ``offers.py``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from operations import available_actions, views
from operations.filters import Filters
from shared.app import Services
from shared.clients.graph.onedrive import DriveItem
from shared.errors import AppError, LeaseTaken, NotFound, RecordChanged
from shared.exports import steps as export_steps
from shared.log import log
from shared.reservations import release, settle
from shared.runs.addresses import address_of, address_of_rerun, sort_key_after
from shared.runs.lane import ahead_of, choose
from shared.runs.record import Damaged
from shared.runs.rows import Pause, RunRow
from shared.runs.run import About, Direction, FileFacts, Rerun, Run, State, StepRecord, new_run
from shared.scan import scan

# Tries to write a decision into a record that a worker writes at the same moment.
TRIES: Final = 5
# Seconds after which a worker that was at a run when it was cancelled has let go of the lane, without waking anybody:
# it stays with an execution for 5 (POLL_STAY_SECONDS). One that needs longer is followed by the minute's timer.
LET_GO_S: Final = 7.0
A_LANE: Final = re.compile(r"(in|out)-[a-z0-9-]+")
NOBODY: Final = "somebody with the key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks, and why."""

    by: str = NOBODY
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a verb, in words."""

    done: bool
    said: str
    run: str = ""  # the address of the run to look at
    each: tuple["Answer", ...] = ()  # of a verb about many runs


def _refused(said: str, run: str = "") -> Answer:
    return Answer(done=False, said=said, run=run)


def _noted(run: Run, step: str, asked: Asked, now: datetime) -> Run:
    """Return a run with what a person did in its history."""
    return run.with_step(StepRecord(step=step, state=run.state, began=now, took_s=0.0, by=asked.by, why=asked.why))


def _wake(lane: str, services: Services, *, place: str = "", delay_s: float = 0.0) -> None:
    """place: of a run that a worker might not see among the first of its lane."""
    services.queue.send(f"{lane} {place}".strip(), delay_s=delay_s)


def _wake_when_due(lane: str, services: Services) -> None:
    """Wake a lane when its next run is due: a run that was put off while the lane was paused has no wake-up."""
    listed = services.store.lane(lane)
    choice = choose(listed.rows, listed.stops)
    _wake(lane, services, delay_s=max((choice.due - services.now()).total_seconds(), 0.0) if choice else 0.0)


def _read(address: str, services: Services) -> Run | Answer | None:
    """Return the run of an address; None if there is none, a refusal if its record is damaged."""
    try:
        return services.store.run_at(address)
    except Damaged as damaged:
        return _refused(f"Its record is damaged: {damaged}. Put it aside first.", address)


# -- run again


def run_again(address: str, asked: Asked, services: Services) -> Answer | None:
    """Do the work of an ended run once more, in a run of its own; None where there is no such run.

    Which run that is to be is saved in the old one before it is opened. So whoever asks twice, or at the same moment as
    somebody else, gets the same one; and should the app die in between, the next who asks opens it.
    """
    old = _read(address, services)
    if not isinstance(old, Run):
        return old
    if old.ended is None:
        return _refused(
            "It has not ended. Run again now, F&O could import its rows twice. Wait for its end, or cancel it first.",
            address,
        )
    if old.rerun and services.store.run_at(address_of_rerun(old.rerun)):
        return Answer(done=True, said="It was run again already.", run=address_of_rerun(old.rerun))
    new = _work_of(old, asked, services)
    if isinstance(new, Answer):
        return new
    if old.rerun is None:
        successor = Rerun(run_id=new.run_id, opened=new.opened, lane=new.lane, sort_key=new.sort_key)
        try:
            services.store.save_ended(replace(_noted(old, "run_again", asked, services.now()), rerun=successor))
        except RecordChanged:
            return run_again(address, asked, services)  # somebody else asked at this moment
    log.info("action.run_again", run_id=old.run_id, new_run_id=new.run_id, lane=new.lane, by=asked.by, why=asked.why)
    return _opened(new, services)


def _work_of(old: Run, asked: Asked, services: Services) -> Run | Answer:
    """Return the run that does the work of an ended one again, not opened yet; or why there can be none."""
    new = _import_of(old, services) if old.direction is Direction.IMPORT else _export_of(old, services)
    if isinstance(new, Answer):
        return new
    if old.rerun:  # it was chosen before, and not opened
        new = replace(
            new, run_id=old.rerun.run_id, opened=old.rerun.opened, lane=old.rerun.lane, sort_key=old.rerun.sort_key
        )
    new = replace(new, rerun_of=address_of(old), rerun_count=old.rerun_count + 1)
    return _noted(new, "run_again", asked, services.now())


def _import_of(old: Run, services: Services) -> Run | Answer:
    flow = services.settings.flows.import_named(old.flow_name)
    if flow is None:
        return _refused(f"The settings have no import named '{old.flow_name}' any more. Add it first.")
    name = old.file.name
    try:
        item = services.onedrive(flow.drive).get(old.file.item_id)
    except NotFound:
        return _refused(f"{name} is not in OneDrive any more. Copy it into {flow.input_folder} to import it.")
    if item.parent_id == services.folders.find(flow.drive, flow.input_folder):
        return _refused(f"{name} lies in {flow.input_folder}, and is imported from there by itself.")
    if item.parent_id == services.folders.find(flow.drive, flow.processing_folder):
        return _refused(f"{name} lies in {flow.processing_folder}: another run is at it.")
    if not _is_unchanged(old.file, item):
        return _refused(f"{name} has been changed since. Move it into {flow.input_folder} to import it as it is now.")
    now = services.now()
    return new_run(
        direction=Direction.IMPORT,
        state=State.FOUND,
        flow_name=flow.name,
        lane=flow.lane,
        sort_key=sort_key_after(head.sort_key if (head := services.store.head(flow.lane)) else "", now, item.item_id),
        now=now,
        data_project=flow.data_project,
        file=replace(old.file, name=item.name, etag=item.etag, is_complete=True, web_url=item.web_url),
    )


def _is_unchanged(then: FileFacts, item: DriveItem) -> bool:
    """Return whether a file holds what it held; moving and renaming it changes its eTag alone."""
    if then.etag and then.etag == item.etag:
        return True
    return bool(then.quick_xor_hash) and then.quick_xor_hash == item.quick_xor_hash


def _export_of(old: Run, services: Services) -> Run | Answer:
    flow = services.settings.flows.export_named(old.flow_name)
    if flow is None:
        return _refused(f"The settings have no export named '{old.flow_name}' any more. Add it first.")
    if head := services.store.head(flow.lane):
        return _refused(f"An export of {flow.data_project} is under way. Wait for its end.", head.address)
    return export_steps.planned(flow, services.now())


def _opened(run: Run, services: Services) -> Answer:
    """Open a run, unless it is there, and wake its lane.

    One that has ended meanwhile is opened once more and imports nothing: it claims the file by the eTag that it had.
    """
    if run.direction is Direction.EXPORT:
        if not export_steps.start(run, services):
            return _refused("Another export of it begins at this moment. Ask again in a while.")
    else:
        services.store.create(run)
        _wake(run.lane, services)
    return Answer(done=True, said=f"A new run is open. {_stands(run.lane, services)}".strip(), run=address_of(run))


def _stands(lane: str, services: Services) -> str:
    pause = services.store.pause_of(lane)
    return f"It waits: {pause.by} has paused the lane." if pause else ""


def run_all_again(filters: Filters, before: datetime, asked: Asked, services: Services) -> Answer:
    """Run again every ended run that a filter shows and that was opened before a moment, as many as go at once.

    before: when the person saw the list. A run that was opened since, perhaps by the same person's first press, is none
    of those that were meant.
    """
    if not filters.is_any:
        return _refused("Filter the list first: without a filter everything would be imported once more.")
    if filters.no_ended:
        return _refused(
            f"No run in the state {filters.state} has ended, so none can be run again. Leave the state out."
        )
    found = views.to_run_again(filters, before, services)
    each = tuple(answer for row in found.rows if (answer := _one_of_many(row, asked, services)))
    done = sum(answer.done for answer in each)
    said = f"{done} of {len(each)} are run again."
    if not each:
        said = "Nothing was done: no ended run matches that was not run again already."
    if found.has_more:
        said += " There are more: do it once more when these have begun."
    return Answer(done=True, said=said, each=each)


def _one_of_many(row: RunRow, asked: Asked, services: Services) -> Answer | None:
    try:
        answer = run_again(row.address, asked, services)
    except AppError as error:
        answer = _refused(str(error), row.address)
    return answer and replace(answer, said=f"{row.file_name}: {answer.said}")


# -- an open run


def check_now(address: str, asked: Asked, services: Services) -> Answer | None:
    """Make an open run due now and wake its lane; None if there is no such run."""
    run = _read(address, services)
    if not isinstance(run, Run):
        return run
    if run.ended:
        return _refused("It has ended.", address)
    if pause := services.store.pause_of(run.lane):
        return _refused(f"{pause.by} has paused its lane. Resume it first.", address)
    listed = services.store.lane(run.lane)
    if ahead := ahead_of(run.sort_key, listed.rows, listed.stops):
        return _refused(f"It waits for its turn behind {ahead.file_name}. Check that one.", ahead.address)
    try:
        with services.leases.hold(run.lane):
            # What a person asks for is not counted among the answers after which a file may be gone.
            due = replace(run, due=services.now(), not_found=max(run.not_found - 1, 0))
            services.store.save(_noted(due, "check_now", asked, services.now()))
            for stop in listed.stops:
                if stop.flow_name == run.flow_name:
                    services.store.save_stop(replace(stop, next_try=services.now()))
    except (LeaseTaken, RecordChanged):
        return Answer(done=True, said="The app is processing this run.", run=address)
    _wake(run.lane, services, place=run.sort_key)
    log.info("action.check_now", run_id=run.run_id, lane=run.lane, by=asked.by, why=asked.why)
    return Answer(done=True, said="The app looks at it now.", run=address)


def give_up(address: str, asked: Asked, services: Services) -> Answer | None:
    """Cancel an open run; None if there is no such run.

    The decision is written over whatever a worker is at: its next save is then refused. A worker that has not saved yet
    that it tells F&O will not tell it; one that has may, which is what the words then say.
    """
    for _ in range(TRIES):
        run = _read(address, services)
        if not isinstance(run, Run):
            return run
        if run.ended:
            return _refused("It has ended.", address)
        if run.state is State.CANCELLED:
            return _refused("It is cancelled already. The app moves its file as soon as OneDrive lets it.", address)
        if not run.can_be_cancelled:
            return _refused("It is over already, and the app is about to say so.", address)
        now = services.now()
        words = available_actions.when_cancelled(run)
        reason = f"Cancelled by {asked.by}: {asked.why.rstrip('. ') or 'no reason given'}. {words}"
        try:
            services.store.save(_noted(run, "give_up", asked, now).cancelled(reason, now))
        except RecordChanged:
            continue
        if not run.may_be_with_fo:
            release.give_back(run, services)
        _wake(run.lane, services, place=run.sort_key)
        _wake(run.lane, services, place=run.sort_key, delay_s=LET_GO_S)
        log.info("action.give_up", run_id=run.run_id, lane=run.lane, by=asked.by, why=asked.why)
        return Answer(done=True, said=f"It is cancelled. {words} {_stands(run.lane, services)}".strip(), run=address)
    return _refused("The app is processing this run. Ask again in a while.", address)


def submit_again(address: str, asked: Asked, services: Services) -> Answer | None:
    """Let a run be submitted once more whose submits were all lost; None if there is no such run."""
    for _ in range(TRIES):
        run = _read(address, services)
        if not isinstance(run, Run):
            return run
        if not available_actions.may_submit_again(run):
            return _refused("Nothing waits for that: the app submits it by itself, or it is with F&O.", address)
        again = replace(run, due=services.now(), lost_submits=0).without_problem(About.LOST).with_a_good_try()
        try:
            services.store.save(_noted(again, "submit_again", asked, services.now()))
        except RecordChanged:
            continue
        _wake(run.lane, services, place=run.sort_key)
        log.warning("action.submit_again", run_id=run.run_id, lane=run.lane, by=asked.by, why=asked.why)
        return Answer(done=True, said="F&O is asked once more, then the file is submitted again.", run=address)
    return _refused("The app is processing this run. Ask again in a while.", address)


def free_project(address: str, asked: Asked, services: Services) -> Answer | None:
    """Free what a cancelled run has reserved, whatever F&O does; None if there is no such run."""
    run = _read(address, services)
    if not isinstance(run, Run):
        return run
    if run.cancelled_in is None:
        return _refused("It is not cancelled. Cancel it first.", address)
    if not settle.free_now(run, services):
        return _refused("It reserves nothing any more.", address)
    log.warning("action.free_project", run_id=run.run_id, by=asked.by, why=asked.why)
    return Answer(done=True, said=f"The data project {run.data_project} is free.", run=address)


def put_aside(address: str, asked: Asked, services: Services) -> Answer | None:
    """Move the damaged record of an open run out of its lane's way; None if there is no such record."""
    try:
        there = services.store.put_aside(address)
    except ValueError:
        return _refused("Its record can be read, so it stays.", address)
    except RecordChanged as error:
        return _refused(f"{error.message}. Ask again.", address)
    if not there:
        return None
    log.warning("action.put_aside", record=there, by=asked.by, why=asked.why)
    _wake(there.split("/")[1], services)
    return Answer(done=True, said=f"The record lies in {there} now.")


# -- flows and lanes


def pause(name: str, asked: Asked, services: Services) -> Answer | None:
    """Stop the lane of a flow; name: the flow's or the lane's. None where there is no such thing."""
    lane, flows = _lane(name, services)
    if not flows:
        return None
    already = services.store.pause_lane(Pause(lane=lane, by=asked.by, why=asked.why, since=services.now()))
    if already:
        return Answer(done=True, said=f"It was paused already, by {already.by}: {already.why}")
    log.warning("action.pause", lane=lane, by=asked.by, why=asked.why)
    return Answer(done=True, said=f"Paused: {', '.join(flows)}. A worker that is at a run ends its step first.")


def resume(name: str, asked: Asked, services: Services) -> Answer | None:
    """Let the lane of a flow go on; None where there is no such flow, and no such lane that is paused."""
    lane, flows = _lane(name, services)
    if not flows and not A_LANE.fullmatch(lane):
        return None
    if services.store.resume_lane(lane):
        log.info("action.resume", lane=lane, by=asked.by, why=asked.why)
    elif not flows:
        return None
    _wake_when_due(lane, services)
    return Answer(done=True, said=f"It goes on: {', '.join(flows) or lane}.")


def _lane(name: str, services: Services) -> tuple[str, Sequence[str]]:
    """Return the lane of that name, or of the flow of that name, and the flows that go on it."""
    integrations = services.settings.flows
    lanes = {flow.name: flow.lane for flow in integrations.imports}
    lanes |= {flow.name: flow.lane for flow in integrations.exports}
    lane = next((lane for flow, lane in lanes.items() if flow.casefold() == name.casefold()), name)
    return lane, [flow for flow, its_lane in lanes.items() if its_lane == lane]


def export_now(name: str, asked: Asked, services: Services) -> Answer | None:
    """Begin an export, due or not; None where there is no such export."""
    flow = next((each for each in services.settings.flows.exports if each.name.casefold() == name.casefold()), None)
    if flow is None:
        return None
    if head := services.store.head(flow.lane):
        return Answer(done=True, said=f"An export of {flow.data_project} is under way already.", run=head.address)
    if pause := services.store.pause_of(flow.lane):
        return _refused(f"{pause.by} has paused it. Resume it first.")
    run = _noted(export_steps.planned(flow, services.now()), "export_now", asked, services.now())
    log.info("action.export_now", run_id=run.run_id, lane=run.lane, by=asked.by, why=asked.why)
    return _opened(run, services)


def look_now(asked: Asked, services: Services) -> Answer:
    """List every Input folder now, as the minute's timer does."""
    log.info("action.look_now", by=asked.by, why=asked.why)
    found = scan.open_new_runs(services)
    return Answer(done=True, said=f"New files: {found}.")
