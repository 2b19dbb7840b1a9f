"""Trouble that no file can cure fails no file: a person is told what to do, and all goes on by itself when it is cured.

What an answer means is tried on the clients, in ``tests/unit/clients``; here the files and the alerts are looked at.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.finance_operations.knobs import Behaviour, Speed
from local_cloud.onedrive import Knobs
from shared.errors import AppError
from shared.reservations.reservation import project_name
from shared.runs.states import Outcome, State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    IN_ONE_LANE,
    LOGIN,
    begin,
    ended_run,
    fno_fault,
    graph_fault,
    let_pass,
    of_fo,
    of_graph,
    ran,
)
from tests.world import PROJECT

WORLD_SETTINGS = IN_ONE_LANE


def refused_by_fo(body: Mapping[str, Any]) -> Fault:
    """Return what refuses every import with this error."""
    return fno_fault("ImportFromPackage", faults.status(400, body=body), times=None)


def refused_by_graph(method: str, path: str, code: int, words: str, said: str) -> Fault:
    """Return what refuses every call of a kind in Graph's shape of an error."""
    return graph_fault(method, path, faults.status(code, body=of_graph(words, said)), times=None)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something that no file can cure."""

    fault: Fault
    advice: str  # in an alert
    minutes: int = 8  # until a second file has met it, if that is what it takes
    settings: Mapping[str, str] = field(default_factory=dict)


TROUBLES: Final = {
    # https://github.com/MicrosoftDocs/dynamics-365-unified-operations-public/issues/1403
    "F&O rejects the call": Trouble(
        fault=refused_by_fo(of_fo("InvokeAction - Model state is invalid.")), advice="check the base URL"
    ),
    # https://github.com/MicrosoftDocs/dynamics-365-unified-operations-public/issues/1335
    "F&O needs the data project first": Trouble(
        fault=refused_by_fo(
            ran("A data project must exist before importing a package consisting of a composite data entity.")
        ),
        advice="Create the data project once in F&O",
    ),
    "the company of the settings is not there": Trouble(
        fault=refused_by_fo(ran("Legal entity OTH does not exist.")),
        advice="The settings of flow import name the company OTH",
        settings={"IMPORT_COMPANY": "OTH"},
    ),
    # https://github.com/OneDrive/onedrive-api-docs/issues/1038
    # https://github.com/SharePoint/sp-dev-docs/issues/10819
    "the library wants a column": Trouble(
        fault=refused_by_graph("PATCH", "/items/", 400, "invalidRequest", "List data validation failed."),
        advice="column",
    ),
    "the library is full": Trouble(
        fault=refused_by_graph("PATCH", "/items/", 507, "quotaLimitReached", "Insufficient Space Available"),
        advice="space",
    ),
    "F&O refuses the token": Trouble(fault=fno_fault("", faults.status(401), times=None), advice="401"),
    "F&O sends to a sign-in page": Trouble(fault=fno_fault("", LOGIN, times=None), advice="base URL"),
    "Graph refuses the token": Trouble(fault=graph_fault("*", "/drives/", faults.status(401), times=None), advice=""),
    "a proxy answers with a page": Trouble(
        fault=fno_fault("ImportFromPackage", faults.status(400, body="<html>Bad Request</html>"), times=None),
        advice="proxy or firewall",
    ),
}


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=list(TROUBLES))
def test_no_file_fails_a_person_is_told_what_to_do_and_all_goes_on_when_it_is_cured(
    make_world: MakeWorld, trouble: Trouble
) -> None:
    behaviour = Behaviour(legal_entities=("USMF", "OTH"))
    world = make_world(settings=trouble.settings, behaviour=behaviour)
    lane = begin(world, "USMF_1.zip", "USMF_2.zip")
    world.faults.add(trouble.fault)

    let_pass(world, lane, timedelta(minutes=trouble.minutes))

    assert world.ended_runs() == []
    assert world.files("Error") == world.files("Success") == []
    with suppress(AppError):  # of the scan
        do_duties(world.services)
    mails = world.mails()
    assert any(trouble.advice.casefold() in mail.content.casefold() for mail in mails), [m.content for m in mails]
    assert len(mails) <= 2

    world.faults.clear()
    world.run_until_quiet(at_most_s=3600)

    assert [rows for _, rows in world.imports()] == [1, 1]
    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED] * 2
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]


def test_a_report_that_finds_no_space_in_the_library_waits_for_it(make_world: MakeWorld) -> None:
    world = make_world(knobs=Knobs(quota_full=True))
    lane = begin(world, content=b"Dear Sir or Madam")

    let_pass(world, lane, timedelta(minutes=5))

    assert any("space" in mail.content or "full" in mail.content or "quota" in mail.content for mail in world.mails())
    assert [run.state for run in world.all_open_runs()] == [State.FINISHED]
    world.onedrive.knobs.quota_full = False
    world.run_until_quiet(at_most_s=3600)
    assert world.files("Error") == ["USMF_1.zip", "USMF_1.zip.report.txt"]


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("refused", [False, True], ids=["it can be moved", "its move is refused"])
@pytest.mark.parametrize("kind", ["malware", "empty"])
def test_a_file_with_malware_or_without_content_goes_to_error_and_is_set_aside_only_if_that_is_refused(
    make_world: MakeWorld, kind: str, *, refused: bool
) -> None:
    knobs = Knobs(malware=["USMF_1.zip"] if kind == "malware" else [])
    world = make_world(knobs=knobs)
    lane = begin(world, content=b"" if kind == "empty" else None)
    world.clock.advance(11 * 60)  # long-empty by then
    begin(world, "USMF_2.zip")
    if refused:
        world.onedrive.knobs.locked = {"USMF_1.zip": "resourceLocked"}

    let_pass(world, lane, timedelta(minutes=6))

    assert world.files("Success") == ["USMF_2.zip"]
    if refused:
        (run,) = world.all_open_runs()
        assert run.state is State.FINISHED
        assert run.is_aside
        assert run.outcome is Outcome.REJECTED
        assert any("set aside" in mail.content for mail in world.mails())
        world.onedrive.knobs.locked = {}
        world.run_until_quiet(at_most_s=3600)
    ended = ended_run(world, "USMF_1.zip")
    assert ended.outcome is Outcome.REJECTED
    assert kind in ended.reason
    assert "USMF_1.zip" in world.files("Error")
    assert world.imports() == [("USMF", 1)]


def test_a_project_is_not_kept_by_a_run_that_gets_no_key_to_its_package(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(write_url_life_s=240.0))
    busy = faults.status(400, body=ran("the project is already running"))
    world.faults.add(fno_fault("ImportFromPackage", busy, times=1))
    world.faults.add(fno_fault("GetAzureWriteUrl", faults.status(503), nth=2, times=None))
    lane = begin(world)

    let_pass(world, lane, timedelta(minutes=3))

    (run,) = world.all_open_runs()
    assert run.state is State.CLAIMED
    assert run.attempts > 1
    assert world.services.reservations.read(world.fno.url, project_name(PROJECT)) is None
    world.faults.clear()
    world.run_until_quiet(at_most_s=3600)
    assert world.imports() == [("USMF", 1)]


def test_whoever_waits_for_the_import_lock_beyond_the_stuck_limit_says_so(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.azure_storage.import_lock.LOCK_WAIT_S", 0.0)
    monkeypatch.setattr("shared.runs.worker.LOCK_RETRY_S", 60.0)
    world = make_world(settings={"IMPORT_STUCK_AFTER_MINUTES": "20"})
    lane = begin(world)
    with world.new_process().import_lock(world.fno.url):
        let_pass(world, lane, timedelta(minutes=18))
        assert world.mails() == []
        let_pass(world, lane, timedelta(minutes=5))

    (mail,) = world.mails()
    assert "has waited for its turn to call ImportFromPackage" in mail.content
    world.run_until_quiet(at_most_s=600)
    assert world.imports() == [("USMF", 1)]
