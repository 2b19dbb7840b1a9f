"""What processes note of themselves, and what the health page makes of it."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from inbound_trigger.keep_watch import do_duties
from shared.errors import AppError
from shared.health import processes
from shared.health.health import Grade
from shared.health.processes import CHECKPOINT, FORGET_AFTER, RECORD_EVERY, read_process_records, record_process
from shared.thread_pool import RUNTIME
from tests.flows.conftest import MakeWorld
from tests.health import check_named, health_of
from tests.world import World


def run_with(world: World, threads: int | None) -> None:
    """Let this process be one that Azure's runtime has loaded, with so many threads; None: one that it has not."""
    runtime = SimpleNamespace(get_threadpool_executor=lambda: SimpleNamespace(_max_workers=threads))
    if threads is None:
        world.monkeypatch.delitem(sys.modules, RUNTIME, raising=False)
    else:
        world.monkeypatch.setitem(sys.modules, RUNTIME, runtime)


def noted(world: World) -> dict[str, int]:
    return {note.function: note.threads for note in read_process_records(world.services)}


def writes(world: World) -> list[str]:
    """Return where the names of notes are noted that are written from now on."""
    written: list[str] = []
    write = world.services.checkpoints.write

    def noting(name: str, mark: Any) -> None:
        written.append(name)
        write(name, mark)

    world.monkeypatch.setattr(world.services.checkpoints, "write", noting)
    return written


def test_a_read_process_records_its_threads_once_for_each_function_and_again_after_a_day(world: World) -> None:
    run_with(world, 64)
    written = writes(world)

    for _ in range(3):
        record_process("receive", world.services)
        record_process("send", world.services)

    assert written == [CHECKPOINT, CHECKPOINT]
    assert noted(world) == {"receive": 64, "send": 64}
    world.clock.advance(RECORD_EVERY.total_seconds())
    record_process("send", world.services)
    assert written == [CHECKPOINT, CHECKPOINT, CHECKPOINT]


def test_a_function_that_no_process_runs_any_more_is_forgotten(world: World) -> None:
    run_with(world, 64)
    record_process("of an older version", world.services)
    world.clock.advance(FORGET_AFTER.total_seconds())
    assert noted(world) == {}

    record_process("send", world.services)

    assert set(world.services.checkpoints.read(CHECKPOINT).content) == {"send"}


def test_a_process_that_the_runtime_has_not_loaded_notes_nothing(world: World) -> None:
    run_with(world, None)

    record_process("send", world.services)

    assert noted(world) == {}


def test_storage_in_trouble_fails_no_function_and_is_not_asked_each_time(world: World) -> None:
    run_with(world, 64)
    asked: list[str] = []

    def fail(name: str, **_: object) -> None:
        asked.append(name)
        raise AppError("storage is in trouble")

    world.monkeypatch.setattr(world.services.checkpoints, "read", fail)

    for _ in range(3):
        record_process("send", world.services)

    assert asked == [CHECKPOINT]


def test_a_function_does_its_work_before_its_process_is_noted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_with(world, 64)
    monkeypatch.setattr(processes, "services", lambda: world.services)
    seen: list[dict[str, int]] = []

    @processes.records_process
    def send(text: str) -> str:
        seen.append(noted(world))
        return text

    assert send("a") == "a"
    assert seen == [{}]
    assert noted(world) == {"send": 64}


def test_a_note_that_is_damaged_is_passed_over(world: World) -> None:
    run_with(world, 64)
    mark = world.services.checkpoints.read(CHECKPOINT)
    mark.content = {"send": "many", "receive": "64 soon", "keep": ""}
    world.services.checkpoints.write(CHECKPOINT, mark)

    assert noted(world) == {}
    record_process("other", world.services)
    assert noted(world) == {"other": 64}


# -- what the health page tells


@pytest.mark.parametrize("threads", [64, 16])
def test_the_health_tells_the_threads_of_every_functions_process_and_of_its_own(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    world = make_world(settings={"PYTHON_THREADPOOL_THREAD_COUNT": str(threads)})
    do_duties(world.services)
    run_with(world, threads)
    record_process("send", world.services)

    health = health_of(world)

    check = check_named(health, "Threads")
    assert check.grade is Grade.OK
    assert f"{threads} in the process that ran this check, {threads} in the process of send" in check.message
    assert health.threads == threads
    assert [(note.function, note.threads) for note in health.processes] == [("send", threads)]


@pytest.mark.parametrize(("own", "other"), [(6, 64), (64, 6)])
def test_a_process_with_fewer_threads_than_the_settings_say_is_told(world: World, own: int, other: int) -> None:
    run_with(world, other)
    record_process("send", world.services)
    run_with(world, own)

    check = check_named(health_of(world), "Threads")

    assert check.grade is Grade.WARNING
    assert "PYTHON_THREADPOOL_THREAD_COUNT is 64" in check.message
    assert f"{other} in the process of send" in check.message
    assert "docs/operations.md" in check.advice
