"""What the scenarios of trouble share: faults, somebody who acts in the middle of a run, time that passes."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, Final

from azure.storage.blob import BlobServiceClient, ContainerClient

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.faults import Action, Fault
from local_cloud.receivers import Receivers
from operations import run_view
from shared.app import Services
from shared.package_memory import LARGE_BYTES, ROOM_BYTES
from shared.runs import worker
from shared.runs.machine import StateMachine
from shared.runs.run import Run
from shared.runs.states import State
from shared.runs.store import Lane
from tests.world import PROJECT, World

ALERTS: Final = {"ALERT_RECIPIENT": "ops@contoso.com", "ALERT_SENDER": "app@contoso.com"}
IN_ONE_LANE: Final = {"IMPORT_DATA_PROJECT": PROJECT, **ALERTS}
ON_HOLD: Final = {"error": {"code": "accessDenied", "message": "This item is on hold and cannot be moved."}}


def imports_of(*names: str) -> str:
    """Return the setting INTEGRATIONS with imports of these names, each with a folder and a data project of its own."""
    return json.dumps(
        {
            "imports": [
                {"name": name, "inputFolder": f"{name.title()}/Input", "dataProject": name.title()} for name in names
            ]
        }
    )


# One drive under two addresses, of which one may be in trouble.
TWO_DRIVES: Final = json.dumps(
    {
        "imports": [
            {"name": "ada", "drive": "users/ada@contoso.com/drive", "inputFolder": "Ada/Input", "dataProject": "A"},
            {"name": "bob", "drive": "users/bob@contoso.com/drive", "inputFolder": "Bob/Input", "dataProject": "B"},
        ]
    }
)

# The states of an import in which its step is still to be done, in their order; FOUND is the one it is opened in.
IMPORT_STATES: Final = (
    State.FOUND,
    State.CLAIMED,
    State.SUBMITTING,
    State.EXECUTING,
    State.FINISHED,
)


def fno_fault(path_regex: str, do: Action, *, nth: int = 1, times: int | None = 1) -> Fault:
    """Return a fault of F&O's calls whose path matches; "" for all of them."""
    return Fault("finance_operations", "*", path_regex, nth, times, do=do)


def graph_fault(method: str, path_regex: str, do: Action, *, nth: int = 1, times: int | None = 1) -> Fault:
    """Return a fault of one kind of Graph call; mails are not among those of "/drives/"."""
    return Fault("graph", method, path_regex, nth, times, do=do)


def as_soon_as(world: World, state: State, act: Callable[[Run], object]) -> None:
    """Let something happen, once, when a run has just come into a state and before its next step begins."""
    attempt = worker._attempt

    def act_and_attempt(run: Run, lane: Lane, machine: StateMachine, services: Services) -> Run:
        if run.state is state:
            world.monkeypatch.setattr(worker, "_attempt", attempt)
            act(run)
        return attempt(run, lane, machine, services)

    world.monkeypatch.setattr(worker, "_attempt", act_and_attempt)


def refuse_moves(world: World, *names: str, do: Action | None = None) -> None:
    """Let OneDrive refuse to move these files; none: every file."""
    ids = [run.file.item_id for run in world.all_open_runs() if run.file.name in names]
    path = f"/items/({'|'.join(ids)})$" if names else "/items/"
    world.faults.add(graph_fault("PATCH", path, do or faults.status(403, body=ON_HOLD), times=None))


def begin(world: World, *names: str) -> str:
    """Put files into Input, let them be seen, and return their lane."""
    for name in names or ("USMF_1.zip",):
        world.put(name)
    world.look()
    (lane,) = world.heads()
    return lane


def seen_in_turn(world: World, *names: str) -> str:
    """Let files appear one after the other, the first the oldest; return their lane."""
    for number, name in enumerate(names):
        os.utime(world.put(name), (1_700_000_000 + 10 * number,) * 2)
    world.look()
    (lane,) = world.heads()
    return lane


def wake_when_due(world: World, lane: str) -> None:
    """Let time pass until the lane's head is due, and wake it."""
    world.clock.present = max(world.clock.present, world.heads()[lane])
    world.wake(lane)


def let_pass(world: World, lane: str, time: timedelta) -> None:
    """Wake a lane whenever a run of it is due, until this much of the clock's time has passed or the lane is empty."""
    end = world.clock.now() + time
    while (due := world.heads().get(lane)) and due <= end:
        world.clock.present = max(world.clock.present, due)
        world.wake(lane)
    world.clock.present = max(world.clock.present, end)


def minutes_go_by(world: World, minutes: int, lane: str = "") -> None:
    """Let time pass, with the minute's timer and the wake-ups of a lane; the first one unless told."""
    lane = lane or next(iter(world.heads()), "")
    for _ in range(minutes):
        let_pass(world, lane, timedelta(minutes=1))
        do_duties(world.services)


def import_file(world: World, name: str, content: bytes | None = None) -> None:
    """Put a package (a good one, unless told) into Input and let everything run to its end."""
    world.put(name, content)
    look_and_finish(world)


def look_and_finish(world: World) -> None:
    """See what is in Input and let everything run to its end, within two hours of the clock's."""
    world.look()
    world.run_until_quiet(at_most_s=7200)


def heard(receivers: Receivers, kind: str = "") -> list[dict[str, Any]]:
    """Return every alert of a kind that the webhook took, those of digests one by one; of all kinds if it is empty."""
    alerts = [alert for delivery in receivers.deliveries for alert in delivery.content["alerts"]]
    return [alert for alert in alerts if alert["key"].startswith(kind)]


def offered(world: World, address: str) -> set[str]:
    """Return what a person may do about a run, as its page offers it."""
    view = run_view.find_run(address, world.services)
    assert isinstance(view, run_view.RunView)
    return {offer.verb.value for offer in view.actions}


def told_titles(receivers: Receivers) -> list[str]:
    """Return the titles of all alerts that the webhook took."""
    return [alert["title"] for alert in heard(receivers)]


@contextmanager
def records(world: World) -> Iterator[ContainerClient]:
    """Give out the container of the app's records, which is made if it is not there yet."""
    with BlobServiceClient.from_connection_string(world.connection) as blobs:
        container = blobs.get_container_client(world.container)
        if not container.exists():
            container.create_container()
        yield container


def write_record(world: World, name: str, content: bytes) -> None:
    """Write a record of the app, as somebody else or another version may have left it."""
    with records(world) as container:
        container.upload_blob(name, content, overwrite=True)


@contextmanager
def room_taken(world: World) -> Iterator[None]:
    """Let packages of other lanes take all room of the process's memory while the block runs."""
    with ExitStack() as stack:
        for _ in range(ROOM_BYTES // LARGE_BYTES):
            stack.enter_context(world.services.room.taken(LARGE_BYTES))
        yield
