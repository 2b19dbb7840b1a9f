"""The present version goes on from what an older one left behind: it loses and doubles no file, package or alert.

``tests/fixtures/saved_2026_11_29`` describes what was left, flow by flow. The tests look at what people and other
systems see in the end: where files are, what took effect in F&O, what was delivered, told and listed. They know no
states, so they hold for a version with others, too.
"""

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

import pytest

from local_cloud.finance_operations.executions import Operation
from operations import actions, list_view, reruns, run_view
from operations.actions import Requester
from operations.filters import Filters
from shared.runs.rows import RunRow
from tests.conftest import clean_environment
from tests.packages import Entity, build_package
from tests.saved_state import SAVED_2026_11_29, SavedState, SavedWorld, saved_world

# Seconds: the first test lets a day pass, which is too long for the quick run.
pytestmark = [pytest.mark.timeout(300), pytest.mark.quick(cases=0)]

ANNA: Final = Requester(by="anna@contoso.com", why="it goes on")
PAUSED: Final = ("paused", "paused-empty", "out-paused")
DAY: Final = timedelta(days=1)
SUCCEEDED: Final = ("Succeeded",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What must have become of the files of an import. A file's number is how many rows it holds."""

    success: Sequence[str] = ()  # file numbers, or names
    error: Sequence[str] = ()
    rows: Sequence[int] = ()  # that took effect in F&O, by execution: each file once
    executions: int | None = None  # that F&O was given in all; as many as took effect, unless told
    outcomes: Sequence[str] = SUCCEEDED


def done(*numbers: int) -> Import:
    return Import(success=[str(each) for each in numbers], rows=numbers, outcomes=SUCCEEDED * len(numbers))


def partly(number: int = 3) -> Import:
    """One row fails."""
    return Import(error=[str(number)], rows=[number - 1], outcomes=["PartiallySucceeded"])


GONE: Final = Import(outcomes=["Withdrawn"])

IMPORTS: Final[dict[str, Import]] = {
    "found-new": done(1, 2, 3),
    "found-troubled": done(1, 2),
    "found-moved": done(1),
    "found-uploaded": done(1),
    "found-incomplete": done(1),  # its content comes after the update
    "found-taken-away": GONE,
    "found-changed": Import(success=["1"], rows=[2]),  # the rows of the file that was put in its place
    "found-long-name": Import(success=[f"USMF_{'äöüß' * 29}.zip"], rows=[1]),
    "found-twice": done(1, 2),
    # Imported in part before the update, given up once, and run again.
    "again": Import(error=["3"], rows=[2, 2], outcomes=["PartiallySucceeded", "GivenUp", "PartiallySucceeded"]),
    "again-not-opened": Import(error=["3"], rows=[2, 2], outcomes=["PartiallySucceeded"] * 2),
    "claimed-troubled": done(1),
    "claimed-large": done(1),
    "claimed-refused": done(1),
    "claimed-after-fence": done(1),
    "claimed-taken-away": GONE,
    "uploaded-busy": Import(success=["1"], rows=[5, 1]),  # five came from somebody else
    "uploaded-large": done(1),
    "uploaded-throttled": done(1),
    "submitting-begun": done(1),
    "submitting-never-sent": done(1),
    "submitting-answer-lost": done(1),
    "submitting-reset": done(1),
    "submitting-missing": done(1),
    "submitting-missing-shows-up": done(1),
    "submitting-unfenced": done(1),
    "submitting-fenced": done(1),
    "submitting-fenced-shows-up": done(1),
    "submitting-filed": done(1),
    "submitting-ended": done(1),
    "executing": done(1, 2, 3),
    "executing-own-id": done(1),
    "executing-stuck": done(1),
    "executing-done-partly": partly(),
    "executing-not-found": done(1),
    "by-manifest": done(1),
    "finished-succeeded": done(1),
    "finished-failed": Import(error=["2"], executions=1, outcomes=["Failed"]),
    "finished-failed-moved": partly(),
    "finished-waiting": partly(),
    "finished-rejected": Import(error=["1"], outcomes=["Rejected"]),
    "finished-marked": partly(),
    "finished-given-up": Import(error=["1"], rows=[1], outcomes=["GivenUp"]),  # F&O went on with it
    "finished-given-up-found": Import(error=["1"], outcomes=["GivenUp"]),
    "paused": done(1, 2),
    "paused-empty": done(1),  # a file that came after the update
    "alert-over": done(1),
    "ended": Import(
        success=["succeeded"],
        error=["unknown", "partly", "failed", "canceled", "rejected", "given-up", "told-by-half"],
        rows=[1, 2, 2],
        executions=6,
        outcomes=[
            *("Unknown", "Succeeded", "PartiallySucceeded", "Failed", "Canceled", "Rejected", "GivenUp", "Withdrawn"),
            "Failed",
        ],
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What must have come of an export."""

    keys: Sequence[str] = ("1",)  # of rows that were delivered, each in one package
    executions: Sequence[int] = (1,)  # that F&O was asked for in all, or how many these may be
    outcomes: Sequence[str] = SUCCEEDED


EXPORTS: Final[dict[str, Export]] = {
    "out-planned": Export(),
    "out-planned-busy": Export(keys=["1", "imported meanwhile-1"]),
    "out-planned-again": Export(executions=[1, 2]),  # the second is not needed where the first is seen in time
    "out-submitting-begun": Export(),
    "out-submitting-never-sent": Export(),
    "out-submitting-missing": Export(),
    "out-submitting-missing-shows-up": Export(),
    "out-executing": Export(),
    "out-executing-own-id": Export(),
    "out-ready": Export(),
    "out-ready-no-address": Export(),
    "out-ready-uploaded": Export(),
    "out-ready-second": Export(keys=["1", "2"], executions=[2]),
    "out-given-up": Export(keys=[], outcomes=["GivenUp"]),
    "out-noted": Export(),
    "out-paused": Export(),
    "out-scheduled": Export(keys=["1", "2"]),
    "out-carried": Export(keys=["1", "2"]),
    "out-ended": Export(
        keys=["2", "3"],
        executions=[7],
        outcomes=[
            *("Unknown", "Succeeded", "PartiallySucceeded", "Succeeded", "Failed", "Canceled", "GivenUp"),
        ],
    ),
}
EVERY: Final = {"out-scheduled": timedelta(hours=1), "out-carried": timedelta(minutes=30)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How often each channel must have heard of a trouble since the update, as new and as over."""

    mail_new: int = 1
    mail_over: int = 0
    webhook_new: int = 1
    webhook_over: int = 0


NEWS: Final = Told()
OVER: Final = Told(mail_new=0, mail_over=1, webhook_new=0, webhook_over=1)
# By how an alert's title begins.
TOLD: Final[dict[str, Told]] = {
    "executing-stuck, ": OVER,
    "found-troubled, ": OVER,
    "uploaded-busy, ": OVER,
    "OneDrive cannot be watched": OVER,
    "alert-over, ": Told(mail_new=0, webhook_new=0, webhook_over=1),
    "ended, USMF_ended_told-by-half.zip: Failed": Told(mail_new=0),
    "again, USMF_again_3.zip: PartiallySucceeded": NEWS,
    "again-not-opened, USMF_again-not-opened_3.zip: PartiallySucceeded": NEWS,
    "executing-done-partly, ": NEWS,
    "finished-failed, ": NEWS,
    "finished-failed-moved, ": NEWS,
    "finished-waiting, ": NEWS,
    "finished-rejected, ": NEWS,
    # The mail had heard of one before the update.
    "Messages of inbound-work were given up": Told(mail_new=0),
    "The queue inbound-work has poison messages": NEWS,
    "The queue outbound-work has poison messages": NEWS,
    "The queue inbound-looks has poison messages": NEWS,
}
# The process had kept its alert and died before it ended the run; ending it may keep the alert again.
TOLD_PERHAPS_TWICE: Final = "finished-marked, "
# Nobody was told of these before the update. Everybody must hear that they are over, and may hear of them before.
TOLD_IN_THE_END: Final = ("claimed-troubled, ", "out-planned-again, ")


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """The world when all is done, and how it was before."""

    here: SavedWorld
    before: dict[str, bytes]  # each file of the drive and its content
    while_paused: dict[str, bytes]
    effects_while_paused: Counter[str]
    runs: Sequence[RunRow]  # all that the history lists

    def runs_of(self, flow: str) -> list[RunRow]:
        """Return the runs of a flow, the first one first."""
        return sorted((row for row in self.runs if row.integration == flow), key=lambda row: row.opened)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory, azurite_connection: str) -> Iterator[After]:
    """The world a day after everything that was left has been done."""
    home = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as monkeypatch:
        clean_environment(monkeypatch)
        with saved_world(SAVED_2026_11_29, home, azurite_connection, monkeypatch) as here:
            yield gone_on(here)


def gone_on(here: SavedWorld) -> After:
    """Let everything happen. In the end a person resumes the paused lanes and presses Run again."""
    world, before = here.world, files_of(here)
    world.fno.change(busy_project="refuse")  # somebody else's import into a data project of the app is not to break
    for flow in ("found-incomplete", "paused-empty"):
        (world.folder / flow / "Input" / f"USMF_{flow}_1.zip").write_bytes(a_package(flow))
    here.host.run(until=lambda: is_done(here, but=PAUSED), at_most=timedelta(hours=8))
    while_paused = files_of(here)
    effects_while_paused = Counter(effect.data_project for effect in world.fno.effects)
    for flow in PAUSED:
        assert actions.resume(flow, ANNA, world.services)
    (failed,) = runs_listed(here, "again-not-opened")
    for _ in range(2):
        pressed = reruns.run_again(failed.address, ANNA, world.services)
        assert pressed
        assert pressed.done, pressed.message
    a_day_later = world.clock.now() + DAY
    here.host.run(until=lambda: world.clock.now() > a_day_later and is_done(here), at_most=2 * DAY, every=DAY / 8)
    return After(
        here=here,
        before=before,
        while_paused=while_paused,
        effects_while_paused=effects_while_paused,
        runs=runs_listed(here),
    )


def a_package(flow: str) -> bytes:
    """Return a package of one row, such as the other ones are."""
    rows = Entity(name=f"Rows of {flow}", columns=("KEY", "VALUE"), rows=[("1-1", "good")])
    return build_package(data_project=flow, entities=[rows])


def is_done(here: SavedWorld, *, but: Sequence[str] = ()) -> bool:
    """Return whether no run is open, but for those of some flows."""
    under_way = list_view.list_runs(Filters(), "", here.world.services).under_way
    return all(line.run.integration in but for line in under_way)


def files_of(here: SavedWorld) -> dict[str, bytes]:
    """Return every file of the drive by its path."""
    folder = here.world.folder
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def runs_listed(here: SavedWorld, flow: str = "") -> list[RunRow]:
    """Return every run that the page of all runs shows, page by page."""
    rows, behind = [], ""
    while True:
        page = list_view.list_runs(Filters(flow=flow), behind, here.world.services)
        rows += [line.run for line in (*page.under_way, *page.ended)]
        behind = page.position
        if not behind:
            return rows


# Imports


def test_the_table_names_every_flow_of_the_saved_state() -> None:
    assert set(SavedState(SAVED_2026_11_29).flows) == {*IMPORTS, *EXPORTS}


def test_every_open_run_has_ended(after: After) -> None:
    assert after.here.blobs("open/") == []
    assert [row.file_name for row in after.runs if row.ended is None] == []


def test_each_file_lies_once_where_it_must(after: After) -> None:
    assert {flow: packages_of(after, flow) for flow in IMPORTS} == {
        flow: sorted(
            [f"Success/{_name(flow, each)}" for each in must.success]
            + [f"Error/{_name(flow, each)}" for each in must.error]
        )
        for flow, must in IMPORTS.items()
    }


def packages_of(after: After, flow: str) -> list[str]:
    paths = (path.partition("/") for path in files_of(after.here) if path.endswith(".zip"))
    return sorted(path for top, _, path in paths if top == flow)


def _name(flow: str, number: str) -> str:
    return number if number.endswith(".zip") else f"USMF_{flow}_{number}.zip"


def test_nothing_is_imported_twice_and_nothing_is_left_out(after: After) -> None:
    effects = after.here.world.fno.effects

    assert {flow: [each.rows for each in effects if each.data_project == flow] for flow in IMPORTS} == {
        flow: list(must.rows) for flow, must in IMPORTS.items()
    }


def test_f_and_o_is_given_each_file_once(after: After) -> None:
    given = Counter(each.data_project for each in after.here.world.fno.executions)

    assert {flow: given[flow] for flow in IMPORTS} == {
        flow: len(must.rows) if must.executions is None else must.executions for flow, must in IMPORTS.items()
    }


def test_beside_each_failed_file_lies_one_report(after: After) -> None:
    reports = [path for path in files_of(after.here) if path.endswith(".report.txt")]

    # One that the older version had written keeps its name; a new one has the file's whole name before its ending.
    assert sorted(path.replace(".zip.report.txt", ".report.txt") for path in reports) == sorted(
        f"{flow}/Error/{_name(flow, each).removesuffix('.zip')}.report.txt"
        for flow, must in IMPORTS.items()
        for each in must.error
    )


def test_f_and_os_error_keys_which_were_waited_for_lie_beside_the_file(after: After) -> None:
    name = "finished-waiting/Error/USMF_finished-waiting_3.zip.Rows of finished-waiting.error-keys.txt"

    assert files_of(after.here)[name] == b"3-3"


def test_what_was_filed_or_delivered_before_lies_where_it_lay(after: After) -> None:
    now, not_done = files_of(after.here), ("again/", "again-not-opened/", "finished-marked/")
    was_done = [
        path
        for path in after.before
        if path.split("/")[1] in ("Success", "Error", "Output") and not path.startswith(not_done)
    ]

    assert len(was_done) > 20
    assert [path for path in was_done if now.get(path) != after.before[path]] == []


# Exports


def test_each_exported_row_is_delivered_in_one_package(after: After) -> None:
    found = files_of(after.here)

    assert {
        flow: sorted(key for path in packages_of(after, flow) for key in keys(found[f"{flow}/{path}"]))
        for flow in EXPORTS
    } == {flow: list(must.keys) for flow, must in EXPORTS.items()}


def test_f_and_o_is_asked_for_each_export_once(after: After) -> None:
    executions = after.here.world.fno.executions
    asked = Counter(each.data_project for each in executions if each.operation is Operation.EXPORT)

    wrong = {flow: asked[flow] for flow, must in EXPORTS.items() if asked[flow] not in must.executions}
    assert {flow: count for flow, count in wrong.items() if flow not in EVERY} == {}


def keys(package: bytes) -> list[str]:
    """Return the keys of the rows of an exported package."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".csv"))
        lines = archive.read(name).decode("utf-8-sig").splitlines()
    return [line["KEY"] for line in csv.DictReader(lines)]


def test_an_export_begins_no_sooner_than_its_time_after_the_last_one(after: After) -> None:
    for flow, every in EVERY.items():
        opened = [row.opened for row in after.runs_of(flow)]
        assert len(opened) > 2
        assert min(later - earlier for earlier, later in pairwise(opened)) >= every


# What people have stopped


def test_a_paused_lane_stands_still_until_a_person_resumes_it(after: After) -> None:
    assert after.while_paused["paused/Processing/USMF_paused_1.zip"]
    assert after.while_paused["paused/Input/USMF_paused_2.zip"]
    assert after.while_paused["paused-empty/Input/USMF_paused-empty_1.zip"]
    assert [path for path in after.while_paused if path.startswith("out-paused/")] == []
    assert after.effects_while_paused["paused"] == 1  # F&O had begun it
    assert after.effects_while_paused["paused-empty"] == 0


# The history


def test_the_history_tells_how_each_run_has_ended(after: After) -> None:
    outcomes = {flow: sorted(str(row.outcome) for row in after.runs_of(flow)) for flow in {*IMPORTS, *EXPORTS}}
    must = {flow: sorted(each.outcomes) for flow, each in IMPORTS.items()}
    must |= {flow: sorted(each.outcomes) for flow, each in EXPORTS.items()}

    for flow in EVERY:
        assert set(outcomes.pop(flow)) == set(must.pop(flow))
    if "Withdrawn" in outcomes["found-twice"]:  # of two runs of one file only one has to be left
        outcomes["found-twice"].remove("Withdrawn")
    assert outcomes == must


def test_every_run_that_was_kept_is_still_known_by_its_id(after: After) -> None:
    kept = {
        (part_name(blob["name"]), blob["json"]["run_id"])
        for part in after.here.saved.parts()
        for blob in part.get("blobs", ())
        if blob["name"].startswith(("open/", "ended/")) and "json" in blob
    }
    listed = Counter(row.run_id for row in after.runs)

    assert set(listed.values()) == {1}
    lost = [where for where, run_id in kept if run_id not in listed]
    assert len(kept) > 80
    assert len(lost) <= 1  # of the two runs of one file
    assert all("found-twice" in where for where in lost)


def part_name(blob: str) -> str:
    return blob.split("/")[1]


def shown(address: str, after: After) -> run_view.RunView:
    """Return the page of a run."""
    view = run_view.find_run(address, after.here.world.services)
    assert isinstance(view, run_view.RunView), address
    return view


def test_every_run_can_be_read_step_by_step(after: After) -> None:
    for row in after.runs:
        view = shown(row.address, after)
        assert view.outcome is row.outcome
        assert view.steps, row


def test_a_run_that_was_run_again_is_shown_with_those_that_followed(after: After) -> None:
    first, second, third = (shown(row.address, after) for row in after.runs_of("again"))

    assert [rerun.result for rerun in first.reruns] == ["Cancelled by a person", "PartiallySucceeded"]
    assert second.rerun_of == first.address
    assert third.steps[0].record.by == "anna@contoso.com"
    assert shown(third.rerun_of, after).run_id == second.run_id


def test_the_address_of_a_run_in_an_alert_of_before_is_still_good(after: After) -> None:
    alerts = [
        blob["json"]
        for part in after.here.saved.parts(after.here.addresses)
        for blob in part.get("blobs", ())
        if blob["name"].startswith("alerts/") and blob["json"]["run_address"]
    ]

    assert len(alerts) > 5
    for alert in alerts:
        assert shown(alert["run_address"], after).run_id == alert["run_id"]


# What people are told


def test_people_are_told_what_they_have_not_heard_and_nothing_twice(after: After) -> None:
    mail, webhook = mails(after), posts(after)

    assert {
        title: Told(
            mail_new=count(mail, title),
            mail_over=count(mail, f"Resolved: {title}"),
            webhook_new=count(webhook, title),
            webhook_over=count(webhook, f"Resolved: {title}"),
        )
        for title in TOLD
    } == TOLD


def test_what_nobody_had_heard_of_is_told(after: After) -> None:
    for said in (mails(after), posts(after)):
        assert count(said, TOLD_PERHAPS_TWICE) in (1, 2)
        assert [count(said, f"Resolved: {title}") for title in TOLD_IN_THE_END] == [1, 1]
        assert max(count(said, title) for title in TOLD_IN_THE_END) <= 1


def test_nothing_else_is_told_and_nothing_is_left_to_tell(after: After) -> None:
    titles = (*TOLD, *TOLD_IN_THE_END, TOLD_PERHAPS_TWICE)
    known = tuple(f"{word}{title}" for title in titles for word in ("", "Resolved: "))

    assert [line for line in (*mails(after), *posts(after)) if not line.startswith(known)] == []
    assert after.here.blobs("alerts/") == []


def count(said: Sequence[str], title: str) -> int:
    return sum(line.startswith(title) for line in said)


def mails(after: After) -> list[str]:
    """Return the title of each trouble that a mail was about, of digests one by one."""
    lines: list[str] = []
    for mail in after.here.world.onedrive.mails:
        is_digest = re.match(r"\d+ alerts: ", mail.subject)
        lines += (
            [line[2:] for line in mail.content.splitlines() if line.startswith("- ")] if is_digest else [mail.subject]
        )
    return lines


def posts(after: After) -> list[str]:
    """Return the title of each trouble that the webhook heard of."""
    return [alert["title"] for alert in posted(after)]


def posted(after: After) -> list[dict[str, Any]]:
    return [alert for delivery in after.here.webhook.deliveries for alert in delivery.content["alerts"]]


def test_messages_that_the_host_gave_up_on_are_told_with_their_words_and_taken_away(after: After) -> None:
    texts = [
        alert["text"] for alert in posted(after) if "given up" in alert["title"] or "poison messages" in alert["title"]
    ]
    told_before = after.here.addresses.put_into("in-found-troubled-{{lane project found-troubled}}")
    poison = [each for each in after.here.saved.messages(after.here.addresses) if each.is_poison]

    assert len(poison) == 5
    for message in poison:
        assert sum(message.text in text for text in texts) == 1, message.text
    assert sum(told_before in text for text in texts) == 1  # which is the one from before the update
    for queue in ("inbound-looks", "inbound-work", "outbound-work"):
        assert after.here.world.services.queue.length(queue).given_up == 0


# Graph's subscription


def test_the_subscription_is_kept_and_renewed_and_no_other_one_is_made(after: After) -> None:
    (saved,) = (each for part in after.here.saved.parts() for each in part.get("subscriptions", ()))
    world = after.here.world
    calls = [call for call in world.faults.calls if "/subscriptions" in call.path]

    assert [each.subscription_id for each in world.onedrive.subscriptions] == [saved["subscription_id"]]
    assert world.onedrive.subscriptions[0].expires_s > saved["expires_s"]
    assert {call.method for call in calls} == {"PATCH"}
