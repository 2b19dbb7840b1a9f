"""Faults that last: OneDrive refuses a file or a folder, F&O refuses every submit, a record is damaged.

Each ends after an hour of the clock at most. Then all must go on by itself, or with the one thing that a person
is asked to do: every file is imported once and lies in Success, and no run, lease or message remains. Faults of what
keeps files in their order, too: a file that must wait is not imported before the one that it waits for is settled.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from azure.storage.blob import BlobClient, BlobServiceClient

from local_cloud import faults
from local_cloud.faults import Action, Fault
from operations import actions, available_actions
from operations.actions import Requester
from shared.app import Services
from shared.errors import AppError
from shared.runs import worker
from shared.runs.addresses import address_of
from shared.runs.machine import StateMachine
from shared.runs.run import Run
from shared.runs.states import PROGRESS, Direction, Outcome, State
from shared.runs.store import Lane
from tests.faults.interception import FaultKind, PowerCut, SentRequest, befallen, in_other_scripts
from tests.faults.matrix import (
    OPTIONS,
    ROWS,
    USUAL,
    Stage,
    Verdict,
    broken,
    left_over,
    places_of,
    rows_of,
    states_to_save,
    tick_of_timer,
)
from tests.packages import build_package
from tests.world import World

SHORT_MIN: Final = 30
LONG_MIN: Final = 60
WITHIN_MIN: Final = 4 * 60  # after the fault is gone
DAMAGED_FOR_MIN: Final = 10
EACH_MINUTE_FOR: Final = 5
SELDOM_MIN: Final = 5
TRIES_IN_VAIN: Final = 2  # the first may have met a dead worker's lease
MOST_WAKES: Final = 120  # of all lanes in one minute; more is a loop

THE_PERSON: Final = Requester(by="Ada", why="the matrix of faults")
ON_HOLD: Final = {"error": {"code": "accessDenied", "message": "This item is on hold."}}
IS_LOCKED: Final = {"error": {"code": "resourceLocked", "message": "The resource is locked."}}
BAD_REQUEST: Final = {"error": {"code": "", "message": "The request is not valid."}}

type Promise = tuple[str, object, object]  # what, found, wanted
type Play = Callable[[World, str], Iterator[Promise]]  # the world, and the beginning of all file names


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault that lasts."""

    name: str
    play: Play = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=USUAL.copy, repr=False)

    def __str__(self) -> str:
        return f"scenario: {self.name}"


def verdict_on(scenario: Scenario, stage: Stage) -> Verdict[str]:
    """Play a scenario in a world that is empty; return which promises it broke."""
    world, prefix = stage.world, f"USMF_Case_{stage.begin_next(scenario.settings):05d}"
    world.clock.present = datetime.now(UTC)  # the scenario before was hours ahead of OneDrive and storage
    try:
        return Verdict(scenario.name, tuple(broken(*scenario.play(world, prefix))))
    except AssertionError as error:
        return Verdict(scenario.name, (str(error),))
    finally:
        world.faults.clear()
        _well_again(world)


def scenarios() -> list[Scenario]:
    return [
        *_refused_items(),
        *_refused_listings(),
        *_refused_submits(),
        *_damaged_records(),
        *_other_scripts(),
        *_marks_of_failed_files(),
        *_strict_order(),
        *_drains(),
    ]


# -- an item, and a listing, that OneDrive refuses


def _refused_items() -> Iterator[Scenario]:
    changes: Mapping[str, dict[str, object]] = {
        "423 resourceLocked": {"locked": {"*_1.zip": "resourceLocked"}},
        "423 accessDenied": {"locked": {"*_1.zip": "accessDenied"}},
        "423 notAllowed": {"locked": {"*_1.zip": "notAllowed"}},
        "403 of a hold": {"held": ["*_1.zip"]},
    }
    for what, knobs in changes.items():
        for state in (State.FOUND, State.FINISHED):
            name = f"the first of two files refuses to be moved for {SHORT_MIN} minutes: {what}, from {state} on"
            yield Scenario(name, partial(_with_knobs, knobs, state))
    everything: Mapping[str, Action] = {
        "423": faults.status(423, body=IS_LOCKED),
        "403": faults.status(403, body=ON_HOLD),
    }
    for what, action in everything.items():
        for state in (State.FOUND, State.FINISHED):
            yield Scenario(
                f"the first of two files answers every call with {what} for {SHORT_MIN} minutes, from {state} on",
                partial(_every_call_about_the_first, action, state),
            )
        yield Scenario(
            f"every file refuses every call with {what} for {SHORT_MIN} minutes",
            partial(_two_files, Fault("graph", "*", r"/items/[^/:]+$", times=None, do=action), SHORT_MIN),
        )
        yield Scenario(
            f"the upload of an export is refused with {what} for {SHORT_MIN} minutes",
            partial(_an_export, Fault("graph", "POST", "createUploadSession", times=None, do=action), SHORT_MIN),
        )


def _refused_listings() -> Iterator[Scenario]:
    yield Scenario(
        f"every listing is refused with 423 for {SHORT_MIN} minutes",
        partial(_with_knobs, {"site_is_locked": True}, None),
    )
    for status, body in ((403, ON_HOLD), (423, IS_LOCKED)):
        fault = Fault("graph", "GET", r"/children$", times=None, do=faults.status(status, body=body))
        yield Scenario(
            f"Input's listing is refused with {status} for {SHORT_MIN} minutes", partial(_two_files, fault, SHORT_MIN)
        )


def _with_knobs(changes: dict[str, object], state: State | None, world: World, prefix: str) -> Iterator[Promise]:
    """Turn knobs of OneDrive when the first file has come into a state; None: from the beginning."""
    names = _put_two(world, prefix)
    if state in (None, State.FOUND):
        world.onedrive.knobs.take(changes)
    else:

        def turn(run: Run) -> bool:
            if run.file.name == names[0]:
                world.onedrive.knobs.take(changes)
            return run.file.name == names[0]

        _when_in(world, state, turn)
    effects = len(world.fno.effects)
    minutes_go_by(world, SHORT_MIN)
    if state is not None:  # a file of its own: the other one has passed it
        yield "the other file was imported meanwhile", places_of(world, names[1]), ["Success"]
        yield "the file itself was not filed meanwhile", "Success" in places_of(world, names[0]), False
    _well_again(world)
    yield from _all_is_well(world, names, effects)


def _every_call_about_the_first(action: Action, state: State, world: World, prefix: str) -> Iterator[Promise]:
    names = _put_two(world, prefix)
    effects = len(world.fno.effects)

    def refuse(run: Run) -> bool:
        if run.file.name != names[0]:
            return False
        world.faults.add(Fault("graph", "*", f"/items/{run.file.item_id}", times=None, do=action))
        return True

    _when_in(world, state, refuse)
    minutes_go_by(world, SHORT_MIN)
    yield "the other file was imported meanwhile", places_of(world, names[1]), ["Success"]
    world.faults.clear()
    yield from _all_is_well(world, names, effects)


# -- submits that F&O refuses


def _refused_submits() -> Iterator[Scenario]:
    answers: Mapping[str, Action] = {
        "400, about the request": faults.status(400, body=BAD_REQUEST),
        "500": faults.status(500, body={"Message": "An error has occurred."}),
        "503": faults.status(503),
        "429": faults.status(429, {"Retry-After": "30"}),
    }
    for what, action in answers.items():
        fault = Fault("finance_operations", "POST", r"(Import|Export)\w+Package", times=None, do=action)
        for of_what, play in (("one file", _one_file), ("two files", _two_files), ("an export", _an_export)):
            yield Scenario(f"F&O refuses every submit for an hour: {what}; {of_what}", partial(play, fault, LONG_MIN))


def _one_file(fault: Fault, minutes: int, world: World, prefix: str) -> Iterator[Promise]:
    world.put(f"{prefix}_1.zip", build_package(rows=ROWS))
    yield from _until_the_fault_is_gone(world, [f"{prefix}_1.zip"], fault, minutes)


def _two_files(fault: Fault, minutes: int, world: World, prefix: str) -> Iterator[Promise]:
    yield from _until_the_fault_is_gone(world, _put_two(world, prefix), fault, minutes)


def _until_the_fault_is_gone(world: World, names: list[str], fault: Fault, minutes: int) -> Iterator[Promise]:
    effects = len(world.fno.effects)
    world.faults.add(fault)
    minutes_go_by(world, minutes)
    yield "no file has failed meanwhile", [places_of(world, name) for name in names if name in world.files("Error")], []
    yield "a person was told", world.mails() != [], True
    world.faults.clear()
    _submit_again(world)
    yield from _all_is_well(world, names, effects)


def _an_export(fault: Fault, minutes: int, world: World, _prefix: str) -> Iterator[Promise]:
    world.faults.add(fault)
    world.start_exports()
    minutes_go_by(world, minutes)
    yield "a person was told", world.mails() != [], True
    world.faults.clear()
    _submit_again(world)
    yield from _export_is_well(world)


def _submit_again(world: World) -> None:
    """Do what a person is asked for after five lost submits, if the app has asked."""
    for row in world.services.index.open_rows():
        run = world.services.store.run_at(row.address)
        if run and available_actions.may_submit_again(run):
            actions.submit_again(row.address, THE_PERSON, world.services)


# -- records that are damaged

_HOW: Final = ("cut short", "of a newer version", "without metadata")


def _damaged_records() -> Iterator[Scenario]:
    for state in sorted(states_to_save(Direction.IMPORT), key=PROGRESS.__getitem__):
        for how, dies in (*((how, True) for how in _HOW), (_HOW[0], False)):
            worker = "its worker dies" if dies else "its worker goes on"
            name = f"the record of an import is damaged in {state}, {how}; {worker}"
            yield Scenario(f"{name}; restored", partial(_damaged_import, state, how, dies=dies, is_restored=True))
            yield Scenario(f"{name}; put aside", partial(_damaged_import, state, how, dies=dies, is_restored=False))
    for state in sorted(states_to_save(Direction.EXPORT), key=PROGRESS.__getitem__):
        for dies in (True, False):
            worker = "its worker dies" if dies else "its worker goes on"
            name = f"the record of an export is damaged in {state}; {worker}"
            yield Scenario(f"{name}; restored", partial(_damaged_export, state, dies=dies, is_restored=True))
            yield Scenario(f"{name}; put aside", partial(_damaged_export, state, dies=dies, is_restored=False))


def _damaged_import(
    state: State, how: str, world: World, prefix: str, *, dies: bool, is_restored: bool
) -> Iterator[Promise]:
    name = f"{prefix}_1.zip"
    effects = len(world.fno.effects)
    world.put(name, build_package(rows=ROWS))
    with _damaged_in(world, state, how, dies=dies) as restore:
        yield "a person was told", [mail.subject for mail in world.mails() if "damaged" in mail.subject] != [], True
        if is_restored:
            restore()
        else:
            _put_aside(world)
            minutes_go_by(world, DAMAGED_FOR_MIN)
            _do_by_hand_what_is_left(world, name, effects)
        yield from _all_is_well(world, [name], effects, has_ended_runs=is_restored)


def _damaged_export(state: State, world: World, _prefix: str, *, dies: bool, is_restored: bool) -> Iterator[Promise]:
    world.start_exports()
    with _damaged_in(world, state, "cut short", dies=dies) as restore:
        yield "a person was told", [mail.subject for mail in world.mails() if "damaged" in mail.subject] != [], True
        if is_restored:
            restore()
            yield from _export_is_well(world)
            return
        _put_aside(world)
        minutes_go_by(world, DAMAGED_FOR_MIN)
        for file in (world.folder / "Output").iterdir():
            file.unlink()
        yield "the next export begins", world.start_exports(), 1
        yield from _export_is_well(world)


@contextmanager
def _damaged_in(world: World, state: State, how: str, *, dies: bool) -> Iterator[Callable[[], None]]:
    """Damage the record of a run that has come into a state, and let some minutes pass; yield what restores it."""
    with BlobServiceClient.from_connection_string(world.connection) as blobs:
        container = blobs.get_container_client(world.container)
        kept: list[tuple[BlobClient, bytes, dict[str, str]]] = []

        def damage(run: Run) -> bool:
            blob = container.get_blob_client(f"open/{run.lane}/{run.sort_key}")
            kept.append((blob, blob.download_blob().readall(), dict(blob.get_blob_properties().metadata or {})))
            _damage(*kept[0], how)
            if dies:
                raise PowerCut
            return True

        def restore() -> None:
            (blob, content, metadata) = kept[0]
            blob.upload_blob(content, overwrite=True, metadata=metadata)

        _when_in(world, state, damage)
        minutes_go_by(world, DAMAGED_FOR_MIN)
        assert kept, "no run came into the state"
        yield restore


def _damage(blob: BlobClient, content: bytes, metadata: dict[str, str], how: str) -> None:
    less = {name: value for name, value in metadata.items() if name != "whole"}
    match how:
        case "cut short":
            blob.upload_blob(content[: len(content) // 2], overwrite=True, metadata=less)
        case "of a newer version":
            newer = json.loads(content) | {"format": 99}
            blob.upload_blob(json.dumps(newer).encode(), overwrite=True, metadata=less)
        case _:
            blob.upload_blob(content, overwrite=True)


def _put_aside(world: World) -> None:
    """Do what the alert of a damaged record asks a person for."""
    for row in world.services.index.open_rows():
        if row.damage or _cannot_be_read(row.address, world):
            actions.put_aside(row.address, THE_PERSON, world.services)


def _cannot_be_read(address: str, world: World) -> bool:
    try:
        world.services.store.run_at(address)
    except ValueError:
        return True
    return False


def _do_by_hand_what_is_left(world: World, name: str, effects: int) -> None:
    """Do what a person does who has looked into F&O: file what was imported, put back what was not."""
    if name in world.files("Processing"):
        there = "Success" if len(world.fno.effects) > effects else "Input"
        (world.folder / "Processing" / name).replace(world.folder / there / name)


# -- words of others that fit into no header


def _other_scripts() -> Iterator[Scenario]:
    words = "every answer holds words in other scripts, and F&O names executions itself"
    yield Scenario(f"{words}; two files", partial(_files_in_other_scripts, "", "Success"))
    yield Scenario(f"{words}; a file that fails", partial(_files_in_other_scripts, "Failed", "Error"))
    yield Scenario(f"{words}; an export", _export_in_other_scripts)


def _files_in_other_scripts(outcome: str, folder: str, world: World, prefix: str) -> Iterator[Promise]:
    names = [f"{prefix}_Ключ_客户_{number}.zip" for number in (1, 2)]
    with _named_in_other_scripts(world, outcome):
        for name in names:
            world.put(name, build_package(rows=ROWS))
        minutes = _until_all_is_over(world, lambda: world.files("Input") != [])
        yield f"all was over within {WITHIN_MIN} minutes", minutes < WITHIN_MIN, True
        yield f"each file is in {folder}", [places_of(world, name) for name in names], [[folder]] * len(names)
        outcomes = [run.outcome for run in world.ended_runs()]
        yield "each run has ended once", outcomes, [Outcome(outcome or "Succeeded")] * len(names)
        reports = [name for name in world.files("Error") if name.endswith(".report.txt")]
        yield "a report lies beside each failed file", len(reports), len(names) if outcome else 0
        yield from left_over(world)


def _export_in_other_scripts(world: World, _prefix: str) -> Iterator[Promise]:
    with _named_in_other_scripts(world, ""):
        world.start_exports()
        yield from _export_is_well(world)


@contextmanager
def _named_in_other_scripts(world: World, outcome: str) -> Iterator[None]:
    world.fno.change(names_executions="Клиенты 客户 العملاء", outcome=outcome)
    try:
        with in_other_scripts():
            yield
    finally:
        world.fno.change(names_executions="", outcome="")


# -- files that wait for one that has failed

BAD_ROWS: Final = (("A", "x" * 300),)  # longer than their column
A_MENDED_FILE: Final = "a mended file settles it"
A_PERSON: Final = "a person skips it"
_ONCE: Final = (
    *(FaultKind.LOST, FaultKind.FORBIDDEN, FaultKind.ERROR_503, FaultKind.GARBAGE),
    *(FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER),
)
_LASTING: Final = (FaultKind.REFUSED, FaultKind.LOST, FaultKind.FORBIDDEN, FaultKind.ERROR_503, FaultKind.GARBAGE)


def _marks_of_failed_files() -> Iterator[Scenario]:
    calls = (
        ("PUT", "is made", A_MENDED_FILE),
        ("GET", "is listed", A_MENDED_FILE),
        ("DELETE", "is deleted", A_MENDED_FILE),
        ("DELETE", "is deleted", A_PERSON),
    )
    for method, what, settled in calls:
        kinds = [(kind, 1) for kind in _ONCE] + [(kind, None) for kind in _LASTING]
        if method == "GET":
            kinds += [(FaultKind.CUT, 1), (FaultKind.CUT, None)]
        for kind, times in kinds:
            when = "once" if times else f"for {DAMAGED_FOR_MIN} minutes"
            name = f"a file waits for a failed one, whose mark {what}: {kind}, {when}; {settled}"
            yield Scenario(name, partial(_after_failed, method, kind, times, settled), OPTIONS)


def _after_failed(
    method: str, kind: FaultKind, times: int | None, settled: str, world: World, prefix: str
) -> Iterator[Promise]:
    """Let a file fail for which another one waits, and settle it, while calls of its mark meet a fault."""

    def is_meant(request: SentRequest) -> bool:
        return request.method == method and "unresolved" in request.url

    failing, waiting = f"{prefix}_First.zip", f"{prefix}.zip"
    effects = len(world.fno.effects)
    for name, rows in ((failing, BAD_ROWS), (waiting, ROWS)):
        world.put(name, build_package(rows=rows))
    with befallen(kind, is_meant, lambda: world.services, times=times) as met:
        minutes_go_by(world, DAMAGED_FOR_MIN)
        if method == "DELETE":
            _settle(world, failing, settled)
            minutes_go_by(world, DAMAGED_FOR_MIN)
    yield "the fault befell the mark", met != [], True
    yield "a person was told", world.mails() != [], True
    if method != "DELETE":
        yield "the file still waits", world.files("Input"), [waiting]
        minutes_go_by(world, DAMAGED_FOR_MIN)
        yield "it also waits once the fault is gone", world.files("Input"), [waiting]
        _settle(world, failing, settled)
    elif settled == A_PERSON and _failed_run(world, failing):
        _settle(world, failing, settled)  # the person presses it again
    minutes = _until_all_is_over(world, lambda: world.files("Input") != [])
    yield f"all was over within {WITHIN_MIN} minutes", minutes < WITHIN_MIN, True
    names = [*([failing] if settled == A_MENDED_FILE else []), waiting]
    ended = sorted(
        (run for run in world.ended_runs() if run.outcome is Outcome.SUCCEEDED), key=lambda run: str(run.ended)
    )
    yield "each run has ended once, in this order", [run.file.name for run in ended], names
    yield "each file was imported once", _rows_taken(world, effects), [len(ROWS)] * len(names)
    yield "no mark is left", world.services.failed_files.of_flow("first"), []
    yield from left_over(world)


def _settle(world: World, name: str, how: str) -> None:
    """Settle a failed file, or try to: what a person has asked for in vain may be asked for again."""
    if how == A_MENDED_FILE:
        world.put(name, build_package(rows=ROWS))
        return
    failed = _failed_run(world, name)
    assert failed, "no run of the file is marked as failed"
    try:
        actions.skip(failed, THE_PERSON, world.services)
    except AppError:
        pass
    except PowerCut:
        world.services = world.new_process()


def _failed_run(world: World, name: str) -> str:
    """Return the address of the run for which others wait, "" if there is none."""
    marks = world.services.failed_files.of_flow("first")
    return next((mark.run for mark in marks if mark.file_name == name), "")


def _rows_taken(world: World, effects: int) -> list[int]:
    return [effect.rows for effect in world.fno.effects[effects:] if effect.rows]


# -- strictOrder

KILLS: Final = 3  # at most: of some writes there is one


def _strict_order() -> Iterator[Scenario]:
    states = sorted(states_to_save(Direction.IMPORT) - {State.FOUND}, key=PROGRESS.__getitem__)  # which a scan saves
    writes: list[tuple[str, Callable[[SentRequest], bool]]] = [
        *((f"saves {state}", partial(_saves, state)) for state in states),
        ("stops the lane", lambda sent: sent.method == "PUT" and "paused-at" in sent.url),
        ("marks the file for others", lambda sent: sent.method == "PUT" and "/unresolved/" in sent.url),
        ("writes the ended record", lambda sent: sent.method == "PUT" and "/ended/" in sent.url),
        ("deletes the open record", lambda sent: sent.method == "DELETE" and "/open/" in sent.url),
    ]
    for what, is_meant in writes:
        for kind in (FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER):
            name = f"strictOrder, and the first of two files fails in F&O: who {what} is {kind}"
            yield Scenario(name, partial(_strictly, is_meant, kind), OPTIONS)


def _saves(state: State, sent: SentRequest) -> bool:
    return sent.method == "PUT" and "/open/" in sent.url and sent.headers.get("x-ms-meta-state") == state.value


def _strictly(is_meant: Callable[[SentRequest], bool], kind: FaultKind, world: World, prefix: str) -> Iterator[Promise]:
    names = [f"{prefix}_1.zip", f"{prefix}_2.zip"]
    effects = len(world.fno.effects)
    for name, rows in zip(names, (BAD_ROWS, ROWS), strict=True):
        world.put(name, build_package(rows=rows))
    with befallen(kind, is_meant, lambda: world.services, times=KILLS) as met:
        minutes_go_by(world, LONG_MIN)
    yield "a worker was killed", met != [], True
    yield "the second file waits in Input", world.files("Input"), names[1:]
    yield "nothing of it was imported", _rows_taken(world, effects), []
    ended = world.ended_runs()
    yield "the first file has failed, once", [run.outcome for run in ended], [Outcome.FAILED]
    yield "a person was told", [mail.subject for mail in world.mails()] != [], True
    assert ended, "the first file's run has not ended"
    actions.skip(address_of(ended[0]), THE_PERSON, world.services)
    minutes = _until_all_is_over(world, lambda: world.files("Input") != [])
    yield f"all was over within {WITHIN_MIN} minutes", minutes < WITHIN_MIN, True
    yield "the second file was imported once", _rows_taken(world, effects), [len(ROWS)]
    outcomes = {run.file.name: run.outcome for run in world.ended_runs()}
    yield "it has succeeded", outcomes, dict(zip(names, (Outcome.FAILED, Outcome.SUCCEEDED), strict=True))
    yield from left_over(world)


# -- drain


def _drains() -> Iterator[Scenario]:
    for state in sorted(states_to_save(Direction.IMPORT), key=PROGRESS.__getitem__):
        name = f"the app drains for {SHORT_MIN} minutes from {state} on, and its worker dies"
        yield Scenario(name, partial(_drained, state))


def _drained(state: State, world: World, prefix: str) -> Iterator[Promise]:
    names = [f"{prefix}_1.zip", f"{prefix}_2.zip"]
    effects = len(world.fno.effects)
    world.put(names[0], build_package(rows=ROWS))

    def drain_and_die(_run: Run) -> bool:
        actions.drain(THE_PERSON, world.services)
        raise PowerCut

    _when_in(world, state, drain_and_die)
    minutes_go_by(world, 2)
    world.put(names[1], build_package(rows=ROWS))
    minutes_go_by(world, SHORT_MIN)
    is_with_fo = PROGRESS[state] > PROGRESS[State.SUBMITTING]  # there it dies before it submits
    yield "only what F&O has received has ended", world.files("Success"), names[:1] if is_with_fo else []
    yield "the second file was not touched", names[1] in world.files("Input"), True
    actions.end_drain(THE_PERSON, world.services)
    yield from _all_is_well(world, names, effects)


# -- time, and what is promised


def minutes_go_by(world: World, minutes: int, *, at_once: int = 0) -> None:
    """Let time pass as the host does: a lane is woken when it is due, the timer ticks.

    It does so each minute at first, later only now and then: nothing here waits for it. A process that dies is followed
    by a new one.
    """
    left = minutes
    while left > 0:
        step = at_once or (1 if minutes - left < EACH_MINUTE_FOR else min(left, SELDOM_MIN))
        left -= step
        try:
            tick_of_timer(world)
            _work(world, step)
        except PowerCut:
            world.services = world.new_process()
            world.let_leases_run_out()


def _work(world: World, minutes: int) -> None:
    """Wake lanes that are due until so much time has passed; one of which nothing comes waits for the next tick."""
    end = world.clock.now() + timedelta(minutes=minutes)
    in_vain: Counter[str] = Counter()
    for _ in range(MOST_WAKES * minutes):
        heads = world.heads()
        due = [(due, lane) for lane, due in heads.items() if due <= end and in_vain[lane] < TRIES_IN_VAIN]
        if not due or world.clock.now() >= end:
            world.clock.present = max(world.clock.present, end)
            return
        moment, lane = min(due)
        world.clock.present = max(world.clock.present, moment)
        with suppress(AppError):
            world.wake(lane)
        if world.heads().get(lane) == heads[lane]:
            in_vain[lane] += 1
            world.clock.advance(5)
            world.let_leases_run_out()
    raise AssertionError(f"the lanes were woken more than {MOST_WAKES} times a minute")


def _when_in(world: World, state: State, act: Callable[[Run], bool]) -> None:
    """Do something, once, when a run is in a state and its step is about to begin; act returns whether it was done."""
    attempt = worker._attempt

    def act_and_attempt(run: Run, lane: Lane, machine: StateMachine, services: Services) -> Run:
        if run.state is state:
            world.monkeypatch.setattr(worker, "_attempt", attempt)
            if not act(run):
                world.monkeypatch.setattr(worker, "_attempt", act_and_attempt)
        return attempt(run, lane, machine, services)

    world.monkeypatch.setattr(worker, "_attempt", act_and_attempt)


def _put_two(world: World, prefix: str) -> list[str]:
    """Put two files into Input, the first the older one."""
    names = [f"{prefix}_1.zip", f"{prefix}_2.zip"]
    for number, name in enumerate(names):
        file = world.put(name, build_package(rows=ROWS))
        os.utime(file, (1_700_000_000 + 10 * number,) * 2)
    return names


def _well_again(world: World) -> None:
    world.onedrive.knobs.take({"locked": {}, "held": [], "site_is_locked": False})


def _until_all_is_over(world: World, is_due: Callable[[], bool]) -> int:
    """Let time pass until nothing is open; return the minutes that it took."""
    minutes = 0
    while minutes < WITHIN_MIN and (is_due() or world.services.store.open_places()):
        step = 1 if minutes < EACH_MINUTE_FOR else SELDOM_MIN
        minutes_go_by(world, step, at_once=step)
        minutes += step
    return minutes


def _all_is_well(world: World, names: list[str], effects: int, *, has_ended_runs: bool = True) -> Iterator[Promise]:
    minutes = _until_all_is_over(world, lambda: world.files("Input") != [])
    yield f"all was over within {WITHIN_MIN} minutes", minutes < WITHIN_MIN, True
    taken = [effect.rows for effect in world.fno.effects[effects:]]
    yield "each file was imported once", taken, [len(ROWS)] * len(names)
    yield (
        "each file is in Success and nowhere else",
        [places_of(world, name) for name in names],
        [["Success"]] * len(names),
    )
    if has_ended_runs:
        ended = sorted((run.file.name, run.outcome) for run in world.ended_runs())
        yield "each run has ended as it should", ended, [(name, Outcome.SUCCEEDED) for name in names]
    yield from left_over(world)


def _export_is_well(world: World) -> Iterator[Promise]:
    minutes = _until_all_is_over(world, lambda: False)
    yield f"all was over within {WITHIN_MIN} minutes", minutes < WITHIN_MIN, True
    packages = [rows_of(file) for file in (world.folder / "Output").iterdir() if file.suffix == ".zip"]
    yield "the export is in Output, once", [count for count in packages if count], [len(ROWS)]
    outcomes = [run.outcome for run in world.ended_runs(Direction.EXPORT)]
    yield "the run has ended as it should", outcomes, [Outcome.SUCCEEDED]
    yield from left_over(world)
