"""What the scenarios of trouble share: faults, somebody who acts in the middle of a run, time that passes."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.faults import Action, Fault
from local_cloud.receivers import Receivers
from operations import actions, run_view
from operations.actions import ActionResult, Requester
from shared.app import Services
from shared.clients.blobs.write import stream_to_blob
from shared.errors import AppError
from shared.package_memory import LARGE_BYTES, ROOM_BYTES
from shared.runs import worker
from shared.runs.addresses import address_of
from shared.runs.machine import StateMachine
from shared.runs.run import Run
from shared.runs.states import State
from shared.runs.store import Lane
from shared.scan import scan
from tests.alerts import an_alert
from tests.faults.interception import PowerCut
from tests.packages import build_package, package_named
from tests.world import ENTITY, PROJECT, World

ALERTS: Final = {"ALERT_RECIPIENT": "ops@contoso.com", "ALERT_SENDER": "app@contoso.com"}
IN_ONE_LANE: Final = {"IMPORT_DATA_PROJECT": PROJECT, **ALERTS}
ME: Final = Requester(by="Ada", why="a reason")
DEADLOCK: Final = "Transaction was deadlocked on lock resources with another process (DMF2025)"
LOGIN: Final = faults.status(302, {"Location": "https://login.microsoftonline.com/common/oauth2/authorize"})


def of_fo(words: str) -> dict[str, Any]:
    """Return an error in the shape that F&O gives it."""
    inner = {"message": words, "type": "System.InvalidOperationException", "stacktrace": ""}
    return {"error": {"code": "", "message": "An error has occurred.", "innererror": inner}}


def ran(words: str, *, action: str = "ImportFromPackage") -> dict[str, Any]:
    """Return the error of an action that ran and failed."""
    return of_fo(f"Exception occurred while executing action {action} on Entity DataManagementDefinitionGroup: {words}")


def of_graph(code: str, words: str) -> dict[str, Any]:
    """Return an error in the shape that Graph gives it."""
    return {"error": {"code": code, "message": words, "innerError": {"request-id": "0"}}}


ON_HOLD: Final = of_graph("accessDenied", "This item is on hold and cannot be moved.")


def imports_of(*names: str) -> str:
    """Return the setting INTEGRATIONS with imports of these names, each with a folder and a data project of its own."""
    return json.dumps(
        {
            "imports": [
                {"name": name, "inputFolder": f"{name.title()}/Input", "dataProject": name.title()} for name in names
            ]
        }
    )


def one_import(**keys: Any) -> dict[str, str]:
    """Return settings of one import from Input, with these keys."""
    flow = {"name": "import", "inputFolder": "Input", **keys}
    return {"INTEGRATIONS": json.dumps({"imports": [flow]}), "IMPORT_DATA_PROJECT": "", **ALERTS}


def numbered_imports(count: int) -> str:
    """Return the setting INTEGRATIONS with so many imports, each with a folder and a data project of its number."""
    return json.dumps(
        {
            "imports": [
                {"name": f"flow-{number}", "inputFolder": f"{number}/Input", "dataProject": f"P{number}"}
                for number in range(count)
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


def report_errors(world: World, messages: Sequence[str]) -> None:
    """Let F&O report these errors of every execution."""
    rows = [{"RecordId": "", "Field": "", "ErrorMessage": message} for message in messages]
    answer = faults.status(200, body={"value": json.dumps(rows)})
    world.faults.add(fno_fault("GetExecutionErrors", answer, times=None))


def refuse_moves(world: World, *names: str, do: Action | None = None) -> None:
    """Let OneDrive refuse to move these files; none: every file."""
    ids = [run.file.item_id for run in world.all_open_runs() if run.file.name in names]
    path = f"/items/({'|'.join(ids)})$" if names else "/items/"
    world.faults.add(graph_fault("PATCH", path, do or faults.status(403, body=ON_HOLD), times=None))


def begin(world: World, *names: str, content: bytes | None = None) -> str:
    """Put packages (good ones, unless told) into Input, let them be seen, and return their lane."""
    for name in names or ("USMF_1.zip",):
        world.put(name, content)
    world.look()
    (lane,) = world.heads()
    return lane


def two_scans_at_once(world: World, between: Any) -> None:
    """Let a scan begin and find, something happen and another process scan, and only then the first one open its runs.

    Both know of no open run.
    """
    first, opening = world.services, scan._open_runs_for

    def late(files: Any, open_runs: Any, _services: Any) -> list[str]:
        world.monkeypatch.setattr(scan, "_open_runs_for", opening)
        between()
        second = world.new_process()
        scan.open_new_runs(second)
        return opening(files, open_runs, first)

    world.monkeypatch.setattr(scan, "_open_runs_for", late)
    scan.open_new_runs(first)


def put_into(world: World, folder: str, name: str = "USMF_1.zip") -> Path:
    """Copy a good package into a folder of the drive, which is made if it is not there yet."""
    (world.folder / folder).mkdir(parents=True, exist_ok=True)
    file = world.folder / folder / name
    file.write_bytes(package_named(name))
    return file


def by_hand(world: World, data_project: str, execution_id: str) -> None:
    """Let a person import a package into a data project."""
    fno = world.services.finance_operations(world.fno.url)
    url = fno.get_azure_write_url(f"{execution_id}.zip").url
    stream_to_blob([build_package(data_project=data_project)], url)
    fno.import_from_package(package_url=url, data_project=data_project, execution_id=execution_id, legal_entity="USMF")
    world.faults.forget_calls()


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


def wake_and_die(world: World, lane: str, at: str) -> None:
    """Wake a lane, and let the process die where it would call this."""

    def die(*_: object, **__: object) -> None:
        raise PowerCut

    with world.monkeypatch.context() as patched:
        patched.setattr(at, die)
        with pytest.raises(PowerCut):
            world.wake(lane)


def restart(world: World, **settings: str) -> None:
    """Start the app anew over the same storage, with these settings in place of what they were."""
    world._more_settings |= settings
    world.services = world.new_process()


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


def minutes_of_alerts(world: World, minutes: int) -> None:
    """Let time pass, with what the minute's timer does last."""
    for _ in range(minutes):
        world.clock.advance(60)
        world.deliver_alerts()


def many_alerts(world: World, count: int, first: int = 0) -> None:
    """Put alerts of failed runs into the outbox; their keys are numbered from ``first`` on, as ended-0000."""
    for number in range(first, first + count):
        world.services.outbox.put(an_alert(key=f"ended-{number:04}", since=world.clock.now()))


def tick(world: World, *, minutes: int = 1, fails_with: type[Exception] = AppError) -> None:
    """Let the minute's timer run, whatever of this kind it meets, and time pass after each."""
    for _ in range(minutes):
        with suppress(fails_with):  # the invocation fails at its end
            do_duties(world.services)
        world.clock.advance(60)


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


def sure[T](answer: T | None) -> T:
    """Return what is there, and fail the test if it is not."""
    assert answer is not None
    return answer


def shown(world: World, address: str) -> run_view.RunView:
    """Return the page of a run."""
    view = run_view.find_run(address, world.services)
    assert isinstance(view, run_view.RunView)
    return view


def offered(world: World, address: str) -> set[str]:
    """Return what a person may do about a run, as its page offers it."""
    return {offer.verb.value for offer in shown(world, address).actions}


def cancel(world: World, run: Run) -> ActionResult:
    """Cancel an open run, as a person does from its page."""
    return sure(actions.cancel(address_of(run), ME, world.services))


def open_run(world: World, name: str) -> Run:
    """Return the open run of a file."""
    return next(run for run in world.all_open_runs() if run.file.name == name)


def ended_run(world: World, name: str) -> Run:
    """Return the ended run of a file."""
    (run,) = [run for run in world.ended_runs() if run.file.name == name]
    return run


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


def damage(world: World, place: str, how: str) -> None:
    """Damage the record of an open run."""
    with records(world) as container:
        blob = container.get_blob_client(f"open/{place}")
        content = json.loads(blob.download_blob().readall())
        metadata: dict[str, str] | None = dict(blob.get_blob_properties().metadata or {})
        assert metadata is not None
        metadata.pop("whole", None)
        body: bytes | None = None
        match how:
            case "newer":
                content["format"] = 99
            case "unknown state":
                content["state"] = "teleporting"
                metadata["state"] = "teleporting"
            case "no metadata":
                metadata = None
            case "no row":
                del metadata["row"]
            case "broken JSON":
                body = b'{"format": 2, "run_id'
            case "wrong types":
                content["submissions"] = "none"
        blob.upload_blob(body or json.dumps(content).encode(), overwrite=True, metadata=metadata)


@contextmanager
def room_taken(world: World) -> Iterator[None]:
    """Let packages of other lanes take all room of the process's memory while the block runs."""
    with ExitStack() as stack:
        for _ in range(ROOM_BYTES // LARGE_BYTES):
            stack.enter_context(world.services.room.taken(LARGE_BYTES))
        yield


def detail(entity: str = ENTITY, *, target: str = "NotStarted", created: int = 0, updated: int = 0) -> dict[str, Any]:
    """Return what F&O tells of one entity of an execution."""
    return {
        "EntityName": entity,
        "StagingStatus": "Error",
        "TargetStatus": target,
        "StagingRecordsCreatedCount": 0,
        "TargetRecordsCreatedCount": created,
        "TargetRecordsUpdatedCount": updated,
    }


def end_in_contention(world: World, *details: dict[str, Any], words: str = DEADLOCK, times: int | None = 1) -> None:
    """Let the next executions, all by default of one, end as Failed with these errors and details."""
    failed = faults.status(200, body={"value": "Failed"})
    errors = faults.status(200, body={"value": json.dumps([{"RecordId": "", "Field": "", "ErrorMessage": words}])})
    world.faults.add(fno_fault("GetExecutionSummaryStatus", failed, times=times))
    world.faults.add(fno_fault("GetExecutionErrors", errors, times=times))
    told = faults.status(200, body={"value": list(details)})
    world.faults.add(fno_fault("DataManagementExecutionJobDetails", told, times=times))
