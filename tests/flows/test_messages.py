"""Wake-ups are hints: doubled, late, out of order, lost, emptied by hand, given up on by the host, no file is lost."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.finance_operations.knobs import Speed
from shared.alerts import poison_messages
from shared.azure_storage.queue_names import OLDER_QUEUES, WORK
from shared.runs.addresses import moment_of
from shared.runs.states import Direction, Outcome, State
from shared.scan import scan_requests
from shared.scan.scan_requests import request_message
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import ALERTS, begin, import_file, imports_of, put_into
from tests.packages import build_package
from tests.world import PROJECT, World

WORLD_SETTINGS = ALERTS
TWO_LANES: Final = imports_of("customers", "vendors")
EACH: Final = 2  # packages of each lane
MINUTE_S: Final = 60.0
# Of the clock's time, for all files: each needs the minute's look for each of its steps if messages do not come at all.
WITHIN_S: Final = 4 * 3600.0

# What older versions were woken by.
OLDER: Final = (("inbound-looks", "look now 0"), ("inbound-work", "in-3"), ("outbound-work", "out-2"))

# For one package, with what doubled ones add; more would be chains that multiply.
MOST_MESSAGES: Final = 8


class Delivery:
    """Delivers what a world sends as its queues would, or worse, and runs the minute's timer.

    copies: how often each message comes. late_s: how late. shuffled: chooses among those that are visible; the oldest
    first without it. lost: asked of each message, but for those of the timer: were they lost too, nothing could go on.
    """

    def __init__(
        self,
        world: World,
        *,
        copies: int = 1,
        late_s: float = 0.0,
        shuffled: random.Random | None = None,
        lost: Callable[[str], bool] = lambda _text: False,
    ) -> None:
        self.world = world
        self._copies = copies
        self._late_s = late_s
        self._shuffled = shuffled
        self._lost = lost
        self._taken = 0  # of what the world has sent
        self._waiting: list[tuple[float, str]] = []  # when each is visible, in seconds of the world's clock
        self._next_minute = world.clock.seconds()

    def until_all_has_ended(self) -> None:
        """Deliver and let time pass until no file is in Input and no run is open."""
        give_up = self.world.clock.seconds() + WITHIN_S
        for _ in self._turns():
            if self._visible() or any(self.world.folder.glob("**/Input/*")):
                continue
            if not self.world.heads():
                return
            assert self.world.clock.seconds() < give_up, [run.steps[-3:] for run in self.world.open_runs()]

    def until_nothing_is_left(self) -> None:
        """Deliver also what comes after the end; the timer makes no messages any more."""
        for _ in self._turns():
            if not self._waiting:
                return

    def empty_by_hand(self) -> None:
        """Forget all messages, also delayed ones."""
        self._take()
        self._waiting.clear()

    def _turns(self) -> Iterator[None]:
        while True:
            self._take()
            yield
            self._turn()

    def _visible(self) -> list[tuple[float, str]]:
        return [entry for entry in self._waiting if entry[0] <= self.world.clock.seconds()]

    def _take(self, *, by_timer: bool = False) -> None:
        """Take over what was sent since the last time."""
        now = self.world.clock.seconds()
        for text, delay_s in self.world.wakes.sent[self._taken :]:
            if by_timer or not self._lost(text):
                self._waiting += [(now + delay_s + self._late_s, text)] * self._copies
        self._taken = len(self.world.wakes.sent)

    def _turn(self) -> None:
        """Deliver one message that is visible; where none is, let time pass until one is or the timer runs."""
        if visible := self._visible():
            entry = self._shuffled.choice(visible) if self._shuffled else visible[0]
            self._waiting.remove(entry)
            self.world.deliver(entry[1])
            return
        soonest = min([self._next_minute, *(at for at, _ in self._waiting)])
        self.world.clock.advance(max(soonest - self.world.clock.seconds(), 0.0))
        if self.world.clock.seconds() >= self._next_minute:
            self._next_minute += MINUTE_S
            do_duties(self.world.services)
            self._take(by_timer=True)


def put_packages(world: World) -> None:
    """Copy packages into both Input folders, some seconds of age between them."""
    for lane in ("Customers", "Vendors"):
        for number in range(EACH):
            name = f"USMF_{lane}_{number}.zip"
            put_into(world, f"{lane}/Input", name).write_bytes(build_package(data_project=lane, entity=name))


def assert_all_ended_once_in_order(world: World) -> None:
    for lane in ("Customers", "Vendors"):
        names = [f"USMF_{lane}_{number}.zip" for number in range(EACH)]
        assert sorted(file.name for file in (world.folder / lane / "Success").iterdir()) == names
        runs = [run for run in world.ended_runs(Direction.IMPORT) if run.flow_name == lane.lower()]
        # The oldest first; of those of one second the first by name.
        in_order = sorted(runs, key=lambda run: (moment_of(run.sort_key).replace(microsecond=0), run.file.name))
        assert [run.outcome for run in runs] == [Outcome.SUCCEEDED] * EACH
        effects = [effect.entity for effect in world.fno.effects if effect.data_project == lane]
        assert effects == [run.file.name for run in in_order]
    assert Counter(effect.entity for effect in world.fno.effects).most_common(1)[0][1] == 1
    assert world.calls("ImportFromPackage") == 2 * EACH


BADLY_DELIVERED: Final[Mapping[str, Mapping[str, Any]]] = {
    "three times": {"copies": 3},
    "five minutes late": {"late_s": 300.0},
    "in any order, twice": {"copies": 2, "shuffled": random.Random(4)},
    "never, but for those of the timer": {"lost": lambda _text: True},
}


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("how", BADLY_DELIVERED)
def test_every_package_is_imported_once_and_in_order_although_messages_come(make_world: MakeWorld, how: str) -> None:
    world = make_world(settings={"INTEGRATIONS": TWO_LANES}, speed=Speed(seconds_per_execution=2.0))
    put_packages(world)
    began = world.clock.seconds()
    delivery = Delivery(world, **BADLY_DELIVERED[how])

    delivery.until_all_has_ended()
    delivery.until_nothing_is_left()

    assert_all_ended_once_in_order(world)
    by_timer = 2 * (world.clock.seconds() - began) / MINUTE_S  # one a lane and minute at most
    assert len(world.wakes_of_lanes()) <= 2 * EACH * MOST_MESSAGES + by_timer


# What keeps a run in a state long enough for its queue to be emptied.
HELD_IN: Final[Mapping[str, tuple[State, Fault | None]]] = {
    "Input": (State.FOUND, Fault("graph", "PATCH", "/items/", do=faults.status(503))),
    "Processing": (State.CLAIMED, Fault("finance_operations", "POST", "GetAzureWriteUrl", do=faults.status(503))),
    "Processing, uploaded": (
        State.CLAIMED,
        Fault("finance_operations", "POST", "ImportFromPackage", do=faults.status(429)),
    ),
    "doubt whether F&O has it": (
        State.SUBMITTING,
        Fault("finance_operations", "POST", "ImportFromPackage", do=faults.reset_before()),
    ),
    "F&O, which takes its time": (State.EXECUTING, None),
    "Processing, imported": (State.FINISHED, Fault("graph", "PATCH", "/items/", nth=2, do=faults.status(503))),
}


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("where", HELD_IN)
def test_a_queue_that_is_emptied_by_hand_costs_minutes_and_no_file_in(world: World, where: str) -> None:
    state, fault = HELD_IN[where]
    world.put("USMF_1.zip")
    if fault:
        world.faults.add(fault)
    delivery = Delivery(world)
    scan_requests.handle_request(request_message(world.clock.now()), world.services)
    while not world.open_runs() or world.open_runs()[0].state is not state:
        world.clock.present = max(world.clock.present, *world.heads().values())
        world.wake(next(iter(world.heads())))

    delivery.empty_by_hand()
    delivery.until_all_has_ended()

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]


@pytest.mark.parametrize("how", ["three times", "never, but for those of the timer"])
def test_an_export_is_delivered_once_although_messages_come(make_world: MakeWorld, how: str) -> None:
    world = make_world(settings={"EXPORT_DATA_PROJECT": PROJECT, "EXPORT_COMPANY": "USMF"})
    import_file(world, "USMF_1.zip")
    world.start_exports()

    Delivery(world, **BADLY_DELIVERED[how]).until_all_has_ended()

    assert [run.outcome for run in world.ended_runs(Direction.EXPORT)] == [Outcome.SUCCEEDED]
    assert world.calls("ExportToPackage") == 1


@pytest.mark.parametrize("text", ["in-0000", "look", "", "{}", "ä" * 20])
def test_a_message_that_means_nothing_does_nothing(world: World, text: str) -> None:
    begin(world)

    world.wake(text)
    world.wake(f"in-{text}")

    assert [run.state for run in world.open_runs()] == [State.FOUND]


# What the host gave up on


def test_a_message_that_the_host_gave_up_on_is_told_and_the_minutes_scan_saves_its_run(world: World) -> None:
    world.put("USMF_1.zip")

    def given_up(text: str) -> bool:
        world.give_up_on(WORK, text)
        return True

    Delivery(world, lost=given_up).until_all_has_ended()
    do_duties(world.services)

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]
    (mail,) = world.mails()  # one for all of one lane
    (run,) = world.ended_runs()
    assert mail.subject == "The queue work has poison messages"
    assert run.lane in mail.content
    assert "The function work failed" in mail.content


def test_what_is_given_up_again_and_again_is_told_once_a_day_and_logged_each_time(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        world.give_up_on(WORK, request_message(world.clock.now()))
        do_duties(world.services)
        do_duties(world.services)
        world.clock.advance(MINUTE_S)
    assert len(world.mails()) == 1
    assert caplog.text.count('"message.poison"') == 3

    world.clock.advance(poison_messages.REPORT_AGAIN_AFTER.total_seconds())
    world.give_up_on(WORK, request_message(world.clock.now()))
    do_duties(world.services)
    assert len(world.mails()) == 2


def test_each_lane_that_is_given_up_on_is_told(world: World) -> None:
    for text in ("in-1", "in-2\nout-1", "scan now 0"):
        world.give_up_on(WORK, text)
        do_duties(world.services)

    assert [mail.subject.split()[2] for mail in world.mails()] == [WORK] * 3
    assert "in-2" in world.mails()[1].content
    assert "in-1" not in world.mails()[1].content


def test_what_an_older_version_was_given_up_on_is_told_within_the_hour(world: World) -> None:
    do_duties(world.services)

    for queue, text in OLDER:
        world.give_up_on(queue, text)
    do_duties(world.services)
    assert world.mails() == []  # nothing comes to these queues any more, so they are not looked into every minute

    world.clock.advance(poison_messages.READ_OLDER_EVERY.total_seconds())
    do_duties(world.services)
    told = "\n".join(mail.content for mail in world.mails())
    assert [function for function in OLDER_QUEUES.values() if f"The function {function} failed" in told] == list(
        OLDER_QUEUES.values()
    )


def test_a_given_up_message_that_could_not_be_told_is_told_when_mail_goes_again(world: World) -> None:
    world.faults.add(Fault("graph", "POST", "sendMail", do=faults.status(503)))

    world.give_up_on(WORK, "in-1")
    do_duties(world.services)
    assert world.onedrive.mails == []
    do_duties(world.services)

    assert len(world.onedrive.mails) == 1
