"""Ids, messages and names that others wrote, on a file's whole way: it is filed, and nothing of it breaks a place.

That each escape holds for itself is tested in ``tests/hostile/test_escapes.py``.
"""

from typing import Final

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Behaviour
from operations import list_view, reruns, run_view
from operations.actions import Requester
from operations.filters import Filters
from shared.clients.fno.client import ExecutionStatus, FinanceOperations
from shared.errors import NeedsPerson
from shared.imports import report
from shared.runs.states import Outcome
from tests.flows.conftest import MakeTold, MakeWorld
from tests.flows.trouble import fno_fault, graph_fault, import_file, look_and_finish, of_graph
from tests.packages import build_package
from tests.world import World

# As F&O was seen to name executions, and as nobody has seen it yet.
NAMES: Final = {
    "letters outside of Latin-1": "Импорт-клиентов-2026-05-04T07:14:36",
    "blanks and slashes": "ExportPackage-5/5/2026 09:19:44 am",
    "line breaks and quotes": "Import\r\nX-Injected: yes\x0b'\"%0d<b>",
    "a hundred letters of four scripts": "日Жאé" * 25,
}


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_a_file_is_filed_whatever_f_and_o_names_its_execution(make_world: MakeWorld, name: str) -> None:
    world = make_world(behaviour=Behaviour(names_executions=name))
    world.put("USMF_1.zip")
    world.put("USMF_2.zip", build_package(rows=(("A", "Alpha"), ("B", "#ERROR here"))))

    look_and_finish(world)

    assert world.files("Success") == ["USMF_1.zip"]
    assert {"USMF_2.zip", "USMF_2.zip.report.txt", "USMF_2.zip.errors.csv"} <= set(world.files("Error"))
    assert "has a bug" not in world.written()
    assert all(run.execution_id.startswith(name) for run in world.ended_runs())
    shown = list_view.list_runs(Filters(text=name[:20]), "", world.services)
    assert len(shown.ended) == 2


@pytest.mark.parametrize("is_unknown", [False, True], ids=["with an error", "Unknown"])
def test_an_id_that_f_and_o_answered_with_and_does_not_know_is_followed_under_the_one_that_was_sent(
    world: World, is_unknown: bool
) -> None:
    """GetExecutionSummaryStatus may say Unknown, instead of an error, of an id that F&O has never seen."""
    answered = "Импорт-клиентов-2026-05-04T07:14:36-E7A4"
    do = faults.status(200, body={"value": answered}, handled=True)
    world.faults.add(fno_fault("ImportFromPackage", do, times=None))
    ask = FinanceOperations.execution_status

    def unknown(fno: FinanceOperations, execution_id: str) -> ExecutionStatus:
        return ExecutionStatus.UNKNOWN if execution_id == answered else ask(fno, execution_id)

    if is_unknown:
        world.monkeypatch.setattr(FinanceOperations, "execution_status", unknown)

    import_file(world, "USMF_1.zip")

    (run,) = world.ended_runs()
    assert (world.files("Success"), run.outcome) == (["USMF_1.zip"], Outcome.SUCCEEDED)
    assert is_unknown or {each.execution_id for each in run.submissions} == {answered, run.execution_id}
    assert run.execution_id != answered
    assert run.ended is not None
    assert not is_unknown or (run.ended - run.opened).total_seconds() < 120
    assert len(world.imports()) == 1


SECRETS: Final = (
    "https://acme.blob.core.windows.net/c/x?sv=1&sig=the-first-secret",
    "AccountName=acme;AccountKey=the-second-secret==;EndpointSuffix=core.windows.net",
    '{\\"access_token\\":\\"the-third-secret\\"}',
    "https://hooks.slack.com/services/T0/B0/the-fourth-secret",
    "https://acme.webhook.office.com/webhookb2/1@2/IncomingWebhook/the-fifth-secret/3",
)


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("quoted", SECRETS, ids=range(len(SECRETS)))
def test_a_secret_in_a_row_error_is_in_no_record_page_alert_or_report(make_told: MakeTold, quoted: str) -> None:
    world = make_told()
    rows = f'[{{"RecordId":"1","Field":"A","ErrorMessage":"Cannot read {quoted}"}}]'
    world.faults.add(fno_fault("GetExecutionErrors", faults.status(200, body={"value": rows}), times=None))

    import_file(world, "USMF_1.zip", build_package(rows=(("B", "#ERROR here"),)))
    world.deliver_alerts()

    beside = b"".join(
        path.read_bytes() for path in (world.folder / "Error").iterdir() if path.suffix in (".txt", ".csv")
    ).decode()
    (run,) = world.ended_runs()
    (line,) = list_view.list_runs(Filters(), "", world.services).ended
    page = run_view.find_run(line.run.address, world.services)
    everywhere = "\n".join([world.written(), beside, repr(run), repr(line), repr(page)])
    assert "Cannot read" in run.reason
    assert "Cannot read" in beside
    assert "-secret" not in everywhere


# Reports


def test_a_persons_own_file_of_the_reports_name_stays_and_the_report_gets_the_runs_id(world: World) -> None:
    theirs = world.folder / "Error" / "USMF_1.zip.report.txt"
    theirs.write_text("a person's own notes")

    import_file(world, "USMF_1.zip", b"Dear Sir or Madam")

    (run,) = world.ended_runs()
    assert theirs.read_text() == "a person's own notes"
    own = f"USMF_1.zip.report ({run.run_id}).txt"
    assert own in world.files("Error")
    assert run.run_id in (world.folder / "Error" / own).read_text("utf-8-sig")
    assert run.report_url.endswith("txt")


def test_two_files_that_differ_in_their_endings_have_a_report_each(world: World) -> None:
    for name in ("USMF_1.zip", "USMF_1.ZIP.zip", "USMF_1.report.zip"):
        world.put(name, f"{name} is no zip".encode())

    look_and_finish(world)

    assert {f"{run.file.name}.report.txt" for run in world.ended_runs()} <= set(world.files("Error"))


def test_a_report_whose_host_was_killed_before_it_was_saved_is_there_once(world: World) -> None:
    world.put("USMF_1.zip", b"Dear Sir or Madam")
    save, killed = world.services.store.end, [True]

    def end(run: object) -> None:
        if killed.pop() if killed else False:
            raise RuntimeError("the host is killed")
        save(run)  # type: ignore[arg-type]

    world.monkeypatch.setattr(world.services.store, "end", end)
    with pytest.raises(RuntimeError, match="killed"):
        look_and_finish(world)
    world.services = world.new_process()
    look_and_finish(world)

    assert sorted(world.files("Error")) == ["USMF_1.zip", "USMF_1.zip.report.txt"]


def test_a_report_that_a_person_has_open_holds_no_run_up_that_would_replace_it(world: World) -> None:
    import_file(world, "USMF_1.zip", b"Dear Sir or Madam")
    (first,) = list_view.list_runs(Filters(), "", world.services).ended
    reruns.run_again(first.run.address, Requester(by="Ada", why=""), world.services)
    locked = faults.status(423, body=of_graph("resourceLocked", "The file is open."))
    world.faults.add(graph_fault("PUT", r"USMF_1\.zip\.report\.txt", locked, times=None))
    began = world.clock.now()

    world.run_until_quiet(at_most_s=7200)

    assert (world.clock.now() - began).total_seconds() < 60
    second = next(run for run in world.ended_runs() if run.rerun_of)
    assert f"USMF_1.zip.report ({second.run_id}).txt" in world.files("Error")


def test_a_persons_file_of_an_older_reports_name_that_cannot_be_read_holds_no_report_up(world: World) -> None:
    (world.folder / "Error" / "USMF_1.report.txt").write_text("a person's own notes")
    world.faults.add(graph_fault("PUT", "report", faults.status(503)))
    world.monkeypatch.setattr(report, "read_small", refuse_to_read)

    import_file(world, "USMF_1.zip", b"Dear Sir or Madam")

    assert "USMF_1.zip.report.txt" in world.files("Error")


def refuse_to_read(*_: object) -> bytes:
    raise NeedsPerson("a label keeps the file from being downloaded")
