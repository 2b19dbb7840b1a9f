"""The simulated F&O keeps the contract, and the app's client copes with what differs or goes wrong there."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from local_cloud import faults
from local_cloud.faults import FaultPlan
from local_cloud.finance_operations import FinanceOperationsSimulator
from local_cloud.finance_operations.executions import Status
from local_cloud.server import Server
from shared.clients.blobs.errors import SasExpired
from shared.clients.blobs.read import read_small
from shared.clients.blobs.write import empty_blob, stream_to_blob
from shared.clients.fno.client import ExecutionStatus, FinanceOperations, finance_operations_http
from shared.clients.fno.refusals import PackageUnreadable
from shared.clients.http.client import Http
from shared.clients.http.context import recording
from shared.errors import AnswerLost, FileRejected, NeedsPerson, NotFound, ProjectBusy, Refused, TryAgain
from shared.secret import SecretUrl
from tests.contract.finance_operations_contract import ENTITY, FinanceOperationsContract, FinanceOperationsTarget
from tests.contract.simulated import SimulatedFinanceOperations, SimulatedIdentity
from tests.packages import build_package
from tests.slow_blob import SlowBlob
from tests.world import wait_for


@pytest.fixture
def target(fno: SimulatedFinanceOperations) -> FinanceOperationsTarget:
    return FinanceOperationsTarget(
        fno=fno.client(),
        downloads=fno.opened(Http(service="blob storage", token=None, request_id_header="x-ms-request-id")),
        let_it_finish=lambda _: fno.clock.pass_by(61),
    )


class TestFinanceOperations(FinanceOperationsContract):
    """The contract, kept by the simulator."""


class TestOlderFinanceOperations(FinanceOperationsContract):
    """The same contract where answers have the shapes of older documents."""

    @pytest.fixture(autouse=True)
    def _as_of_old(self, fno: SimulatedFinanceOperations) -> None:
        fno.simulator.change(
            nested_values=True, write_url_as_object=True, malformed_errors=True, sas_version="2018-03-28"
        )


STARTS: dict[str, Callable[[FinanceOperationsTarget, str], str]] = {
    "ImportFromPackage": lambda target, execution_id: target.submit(execution_id=execution_id),
    "ExportToPackage": lambda target, execution_id: target.export(execution_id=execution_id),
}


# Shapes


def test_row_errors_keep_their_words_where_fo_writes_broken_json(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    package = build_package(rows=(("A", 'say "#ERROR" \\ and }, {"RecordId'), ("B", "#ERROR ä"), ("C", "good")))
    fno.simulator.change(malformed_errors=True)

    rows = target.fno.execution_errors(target.imported(package)).rows

    assert [row.record_id for row in rows] == ["A", "B"]
    assert 'say "#ERROR"' in rows[0].message
    assert "#ERROR ä" in rows[1].message
    assert all("validateWrite failed" in row.message for row in rows)
    assert all("\n" not in row.message for row in rows)


# Time


def test_an_execution_that_is_not_found_yet_is_found_later(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(not_found_s=20, details_not_found_s=10, unknown_s=5, not_run_s=40)
    execution_id = target.submit()

    with pytest.raises(NotFound):
        target.fno.execution_status(execution_id)
    assert target.fno.job_details(execution_id) == ()
    seen = []
    for seconds in (11, 10, 10, 10, 20):  # 11, 21, 31, 41, 61 in all
        fno.clock.pass_by(seconds)
        try:
            seen.append(str(target.fno.execution_status(execution_id)))
        except NotFound:
            seen.append("not found")
            assert target.fno.job_details(execution_id) != ()

    assert seen == ["not found", "Unknown", "NotRun", "Executing", "Succeeded"]


@pytest.mark.parametrize("outcome", ["Failed", "Canceled", "PartiallySucceeded", "Unknown"])
def test_every_outcome_is_told_as_it_is(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, outcome: str
) -> None:
    fno.simulator.change(outcome=outcome)

    status = target.fno.execution_status(target.imported())

    assert status == outcome
    assert status.is_final is (outcome != "Unknown")


def test_an_execution_that_a_person_cancels_is_canceled(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    execution_id = target.submit()
    fno.simulator.end_now(execution_id, Status.CANCELED)

    assert target.fno.execution_status(execution_id) is ExecutionStatus.CANCELED


def test_an_execution_that_the_history_has_forgotten_is_not_found(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    execution_id = target.imported()
    fno.clock.pass_by(8 * 24 * 3600)

    with pytest.raises(NotFound):
        target.fno.execution_status(execution_id)


def test_the_address_of_a_package_may_come_after_the_end_of_its_export(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    target.imported()
    fno.simulator.change(package_url_s=30)
    execution_id = target.export()
    target.let_it_finish(execution_id)
    assert target.fno.execution_status(execution_id) is ExecutionStatus.SUCCEEDED
    assert target.fno.exported_package_url(execution_id) is None

    fno.clock.pass_by(31)

    assert target.fno.exported_package_url(execution_id) is not None


def test_an_export_of_nothing_may_have_no_package(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    target.imported(build_package(rows=()))
    fno.simulator.change(empty_export="no_url")
    execution_id = target.export(company="DEMF")
    target.let_it_finish(execution_id)

    assert target.fno.execution_status(execution_id) is ExecutionStatus.SUCCEEDED
    assert target.fno.exported_package_url(execution_id) is None


def test_error_keys_are_there_after_a_while(target: FinanceOperationsTarget, fno: SimulatedFinanceOperations) -> None:
    fno.simulator.change(error_keys_s=12)
    execution_id = target.imported(build_package(rows=(("A", "#ERROR"),)))
    assert target.fno.error_keys_file_url(execution_id, ENTITY) is None
    assert target.fno.generate_error_keys_file(execution_id, ENTITY)
    assert target.fno.error_keys_file_url(execution_id, ENTITY) is None

    fno.clock.pass_by(13)

    url = target.fno.error_keys_file_url(execution_id, ENTITY)
    assert url is not None
    assert read_small(url, target.downloads, 100) == b"A"


# An id that is sent twice: what F&O does is documented nowhere


def test_a_repeated_id_that_fo_refuses_means_that_the_first_request_arrived(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(repeated_execution_id="refuse")
    execution_id = target.imported()

    for start in STARTS.values():
        with pytest.raises(AnswerLost, match="already"):
            start(target, execution_id)


def test_a_repeated_id_that_fo_takes_for_the_same_is_answered_with_it(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(repeated_execution_id="same")
    execution_id = target.imported()
    effects = len(fno.simulator.effects)

    assert target.submit(execution_id=execution_id) == execution_id

    fno.clock.pass_by(61)
    assert len(fno.simulator.effects) == effects


def test_a_repeated_id_that_fo_replaces_is_told(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(repeated_execution_id="new")
    execution_id = target.imported()

    other = target.submit(execution_id=execution_id)

    assert other != execution_id
    assert target.is_known(other)


# Contention


def test_imports_at_the_same_moment_fail_all_but_one_and_are_to_be_tried_again(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    """The one that got in is at its package until the others have been refused."""
    others = threading.Semaphore(0)
    blob = SlowBlob(build_package())

    def submit(url: SecretUrl, number: int) -> str:
        try:
            return target.submit(url=url, project=f"{target.project}-{number}")
        except ProjectBusy:
            others.release()
            return ""

    with Server(blob.app()) as server, ThreadPoolExecutor(4) as pool:
        url = SecretUrl(f"{server.url}/package?sig=x")
        calls = [pool.submit(submit, url, number) for number in range(4)]
        are_refused = all(others.acquire(timeout=60) for _ in range(3))
        blob.go_on.set()

        assert are_refused
        assert len(list(filter(None, (call.result() for call in calls)))) == 1


def test_an_export_waits_for_an_import_of_its_project(target: FinanceOperationsTarget) -> None:
    target.submit()

    with pytest.raises(ProjectBusy):
        target.export()


@pytest.mark.parametrize("action", STARTS)
@pytest.mark.parametrize("code", ["DMF1996", "DMF2039", "DMF042"])
def test_a_start_that_fo_refuses_for_what_passes_is_made_again_later(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, action: str, code: str
) -> None:
    target.imported()
    fno.simulator.change(refuse_starts=f"{code}: see the execution log.")

    with pytest.raises(ProjectBusy, match=code):
        STARTS[action](target, target.new_id())
    fno.simulator.change(refuse_starts="")

    assert target.is_known(STARTS[action](target, target.new_id()))


# Refusals: whose fault they are


def test_a_composite_entity_without_its_data_project_is_the_flows_and_told_with_what_to_do(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(composite_entities=(ENTITY,))

    with pytest.raises(NeedsPerson, match=r"Create the data project once in F&O .* set overwrite to false"):
        target.submit()
    target.imported(build_package(entity="Currencies"))  # a person creates it

    assert target.is_known(target.submit(overwrite=False))


@pytest.mark.parametrize("action", STARTS)
def test_a_start_that_is_refused_before_its_action_ran_blames_nobody_and_has_not_begun(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, action: str
) -> None:
    target.imported()
    body = {"error": {"code": "", "message": "x", "innererror": {"message": "InvokeAction - Model state is invalid."}}}
    fno.action_fault(action, faults.status(400, body=body))
    execution_id = target.new_id()

    with pytest.raises(Refused, match="Model state is invalid") as caught:
        STARTS[action](target, execution_id)

    assert caught.value.call is not None
    assert caught.value.call.status == 400
    assert not target.is_known(execution_id)


def test_a_package_that_is_refused_for_an_unknown_reason_blames_nobody(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(refuse_starts="Object reference not set to an instance of an object.")

    with pytest.raises(Refused, match=r"Object reference not set .* If it refuses others too"):
        target.submit()


def test_an_export_that_is_refused_for_any_reason_needs_a_person(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    target.imported()
    fno.simulator.change(refuse_starts="Object reference not set to an instance of an object.")

    with pytest.raises(NeedsPerson, match=r"Object reference not set .* Check the data project"):
        target.export()


# Keys to packages that run out


def test_a_key_that_has_run_out_while_the_package_was_fetched_is_to_be_asked_for_again(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(write_url_life_s=-60)
    place = target.fno.get_azure_write_url("late.zip")

    with pytest.raises(SasExpired):
        stream_to_blob([build_package()], place.url)
    with pytest.raises(SasExpired):
        empty_blob(place.url)


def test_a_key_that_has_run_out_before_fo_reads_the_package_is_no_fault_of_the_package(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    name = f"{target.project}.zip"
    stream_to_blob([build_package()], target.fno.get_azure_write_url(name).url)
    fno.simulator.change(write_url_life_s=-60)
    execution_id = target.new_id()

    with pytest.raises(PackageUnreadable):
        target.submit(url=target.fno.get_azure_write_url(name).url, execution_id=execution_id)

    assert not target.is_known(execution_id)


# Lost answers: nobody knows whether F&O has begun

LOST = {
    "the connection ends without an answer": (faults.lost_after(), True),
    "the answer is cut": (faults.cut_body(), True),
    "504 though it was done": (faults.status(504, handled=True), True),
    "503 though it was done": (faults.status(503, {"Retry-After": "7"}, handled=True), True),
    "the connection is reset before": (faults.reset_before(), False),
    "500 from a gateway": (faults.status(500, body="<html>"), False),
    "502": (faults.status(502), False),
    "503 in maintenance": (faults.status(503, {"Retry-After": "40"}, "The service is unavailable."), False),
    "408": (faults.status(408), False),
    "a gateway's page": (faults.garbage(), False),
    "an answer without an id": (faults.status(200, body={"value": ""}), False),
}


@pytest.mark.parametrize(("fault", "begun"), LOST.values(), ids=LOST)
@pytest.mark.parametrize("action", STARTS)
def test_a_start_whose_answer_is_lost_is_sent_once_and_can_be_looked_up(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, action: str, fault: faults.Action, begun: bool
) -> None:
    target.imported()
    fno.faults.forget_calls()
    fno.action_fault(action, fault)
    execution_id = target.new_id()

    with pytest.raises(AnswerLost):
        STARTS[action](target, execution_id)

    assert len(fno.statuses("POST", action)) == 1
    assert target.is_known(execution_id) is begun


@pytest.mark.parametrize("action", STARTS)
def test_a_start_that_takes_longer_than_we_wait_may_still_come_to_pass(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, action: str
) -> None:
    target.imported()
    fno.action_fault(action, faults.late(600))
    execution_id = target.new_id()
    impatient = FinanceOperationsTarget(
        fno=fno.client(submit_timeout_s=0.2),
        downloads=target.downloads,
        let_it_finish=target.let_it_finish,
        project=target.project,
    )

    with pytest.raises(AnswerLost, match="in time"):
        STARTS[action](impatient, execution_id)

    assert not target.is_known(execution_id)
    wait_for(fno.faults.let_go)
    wait_for(lambda: target.is_known(execution_id))


THROTTLED = {
    "for so long": (faults.status(429, {"Retry-After": "17"}), 17.0),
    "not saying for how long": (faults.status(429), 30.0),
}


@pytest.mark.parametrize(("fault", "wait_s"), THROTTLED.values(), ids=THROTTLED)
@pytest.mark.parametrize("action", STARTS)
def test_a_start_that_is_throttled_has_certainly_not_begun(
    target: FinanceOperationsTarget,
    fno: SimulatedFinanceOperations,
    action: str,
    fault: faults.Action,
    wait_s: float,
) -> None:
    target.imported()
    fno.action_fault(action, fault)

    with pytest.raises(TryAgain) as caught:
        STARTS[action](target, target.new_id())

    assert type(caught.value) is TryAgain
    assert caught.value.retry_after_s == wait_s


@pytest.mark.parametrize("action", STARTS)
def test_an_environment_that_is_out_of_reach_has_certainly_not_begun(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, action: str
) -> None:
    url = target.upload(build_package())
    unreachable = FinanceOperationsTarget(
        fno=fno.client(base_url="http://127.0.0.1:9"),
        downloads=target.downloads,
        let_it_finish=target.let_it_finish,
    )

    with pytest.raises(TryAgain, match="nothing was sent") as caught:
        unreachable.submit(url=url) if action == "ImportFromPackage" else unreachable.export()

    assert type(caught.value) is TryAgain


QUESTIONS: dict[str, Callable[[FinanceOperations, str], object]] = {
    "GetAzureWriteUrl": lambda fno, _: fno.get_azure_write_url("a.zip"),
    "GetExecutionSummaryStatus": lambda fno, execution_id: fno.execution_status(execution_id),
    "GetExportedPackageUrl": lambda fno, execution_id: fno.exported_package_url(execution_id),
    "GetExecutionSummaryPageUrl": lambda fno, execution_id: fno.execution_summary_page_url(execution_id),
    "GetExecutionErrors": lambda fno, execution_id: fno.execution_errors(execution_id),
    "GenerateImportTargetErrorKeysFile": lambda fno, execution_id: fno.generate_error_keys_file(execution_id, ENTITY),
    "GetImportTargetErrorKeysFileUrl": lambda fno, execution_id: fno.error_keys_file_url(execution_id, ENTITY),
    "GetImportStagingErrorFileUrl": lambda fno, execution_id: fno.staging_error_file_url(execution_id, ENTITY),
    "DataManagementExecutionJobDetails": lambda fno, execution_id: fno.job_details(execution_id),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_that_meets_maintenance_is_asked_again_later(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, question: str
) -> None:
    execution_id = target.imported()
    fno.fault("*", rf"{question}$", faults.status(503, {"Retry-After": "40"}, "The service is unavailable."))

    with pytest.raises(TryAgain) as caught:
        QUESTIONS[question](target.fno, execution_id)

    assert (type(caught.value), caught.value.retry_after_s) == (TryAgain, 40)
    QUESTIONS[question](target.fno, execution_id)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_whose_answer_is_lost_is_asked_again_at_once(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, question: str
) -> None:
    execution_id = target.imported()
    fno.faults.forget_calls()
    fno.fault("*", rf"{question}$", faults.lost_after())

    QUESTIONS[question](target.fno, execution_id)

    assert len(fno.statuses("GET" if "Details" in question else "POST", question)) == 2


@pytest.mark.parametrize("fault", [faults.garbage(), faults.cut_body()])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_that_is_answered_with_no_answer_is_asked_again_later(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, question: str, fault: faults.Action
) -> None:
    execution_id = target.imported()
    fno.fault("*", rf"{question}$", fault)

    with pytest.raises(TryAgain) as caught:
        QUESTIONS[question](target.fno, execution_id)

    assert not isinstance(caught.value, NotFound)


# Who may call


def test_an_app_that_fo_does_not_know_is_told_the_form_to_enter_it_in(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(registered_apps=("another-app",))

    with pytest.raises(Refused, match="Microsoft Entra ID applications") as caught:
        target.fno.get_azure_write_url("a.zip")

    assert caught.value.call is not None
    assert caught.value.call.status == 403


def test_an_app_that_fo_knows_is_let_in(target: FinanceOperationsTarget, fno: SimulatedFinanceOperations) -> None:
    fno.simulator.change(registered_apps=(fno.identity.entra.system_identity,))

    assert target.is_known(target.submit())


def test_a_token_that_is_refused_is_replaced_once_even_where_an_import_is_started(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    url = target.upload(build_package())
    fno.identity.desk.expire_all()

    target.submit(url=url)

    assert fno.statuses("POST", "ImportFromPackage") == [401, 200]


def test_a_token_for_another_service_needs_a_person(fno: SimulatedFinanceOperations) -> None:
    client = fno.client(token=fno.identity.token("https://graph.microsoft.com"))

    with pytest.raises(NeedsPerson, match="sign-in"):
        client.get_azure_write_url("a.zip")


def test_a_sign_in_page_means_a_wrong_address(target: FinanceOperationsTarget, fno: SimulatedFinanceOperations) -> None:
    fno.action_fault("GetAzureWriteUrl", faults.status(302, {"Location": "https://login.microsoftonline.com/"}))

    with pytest.raises(NeedsPerson, match="base URL"):
        target.fno.get_azure_write_url("a.zip")


def test_an_address_where_fo_is_not_needs_a_person(
    identity: SimulatedIdentity, azurite_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity.be_known(monkeypatch)
    with FinanceOperationsSimulator(azurite_connection, identity.desk, FaultPlan()) as another:
        http = finance_operations_http(identity.token(another.audience))
        with pytest.raises(NeedsPerson, match="Check the base URL") as caught:
            FinanceOperations(f"{another.url}/namespaces/AXSF", http).get_azure_write_url("a.zip")
        http.close()

        assert "No HTTP resource was found" in caught.value.message
        assert len(another.violations) == 1


def test_an_entity_that_this_environment_does_not_have_is_told_with_what_to_do(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(entities=("Customers V3",))

    with pytest.raises(FileRejected, match="refresh the entity list"):
        target.submit()


# For a support ticket


def test_every_call_is_recorded_with_fos_activity_id(target: FinanceOperationsTarget) -> None:
    with recording() as calls:
        execution_id = target.submit()
        target.fno.job_details(execution_id)

    of_fno = [call for call in calls if call.service == "F&O"]
    assert [call.operation for call in of_fno] == [
        "GetAzureWriteUrl",
        "ImportFromPackage",
        "DataManagementExecutionJobDetails",
    ]
    assert all(call.request_id and call.status == 200 for call in of_fno)


def test_companies_and_data_projects_are_known_by_name(target: FinanceOperationsTarget) -> None:
    target.imported()

    assert target.fno.has_company(target.company)
    assert not target.fno.has_company("ZZZZ")
    assert target.fno.has_data_project(target.project)
    assert not target.fno.has_data_project(f"{target.project} x' or Name ne '")


def test_a_refusal_names_the_call_and_shows_no_key(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    with pytest.raises(FileRejected) as caught:
        target.submit(b"no package")

    assert caught.value.call is not None
    assert caught.value.call.operation == "ImportFromPackage"
    assert caught.value.call.request_id
    assert "sig=" not in str(caught.value)


def test_a_failed_import_that_leaves_an_execution_can_be_seen(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(failed_import_leaves_execution=True)
    execution_id = target.new_id()

    with pytest.raises(FileRejected):
        target.submit(b"no package", execution_id=execution_id)

    target.let_it_finish(execution_id)
    assert target.fno.execution_status(execution_id) is ExecutionStatus.FAILED
    assert "PackageHeader" in target.fno.execution_errors(execution_id).rows[0].message
