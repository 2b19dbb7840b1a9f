"""The simulated F&O keeps the contract, and the app's client copes with what differs or goes wrong there."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from local_cloud import faults
from local_cloud.server import Server
from shared.clients.blobs.write import stream_to_blob
from shared.clients.fno.client import ExecutionStatus
from shared.clients.fno.refusals import PackageUnreadable
from shared.clients.http.context import recording
from shared.errors import AnswerLost, FileRejected, NeedsPerson, ProjectBusy, Refused, TryAgain
from shared.secret import SecretUrl
from tests.contract.finance_operations_contract import FinanceOperationsContract, FinanceOperationsTarget
from tests.contract.simulated import SimulatedFinanceOperations
from tests.fo_samples import QUESTIONS
from tests.packages import build_package
from tests.slow_blob import SlowBlob
from tests.world import wait_for


@pytest.fixture
def target(fno: SimulatedFinanceOperations) -> FinanceOperationsTarget:
    return fno.target()


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


# An id that is sent twice: what F&O does is documented nowhere


def test_a_repeated_id_that_fo_refuses_means_that_the_first_request_arrived(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(repeated_execution_id="refuse")
    execution_id = target.imported()

    for start in STARTS.values():
        with pytest.raises(AnswerLost, match="already"):
            start(target, execution_id)


# ImportFromPackageAsync


def test_an_asynchronous_import_is_known_and_ends_some_time_after_its_answer(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    good, broken = (
        target.fno.import_from_package_async(
            package_url=target.upload(package),
            data_project=target.project,
            execution_id=target.new_id(),
            legal_entity=target.company,
            overwrite=True,
            execute=True,
            fail_on_error=True,
            run_async_without_batch=False,
            threshold_to_run_in_batch=0,
        )
        for package in (build_package(), b"Dear Sir or Madam")
    )
    assert not target.is_known(good)

    fno.clock.pass_by(120)

    assert target.fno.execution_status(broken) is ExecutionStatus.FAILED
    assert "PackageHeader" in target.fno.execution_errors(broken).rows[0].message
    assert target.fno.job_details(broken) == ()


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


# Refusals: whose fault they are


def test_an_export_that_is_refused_for_any_reason_needs_a_person(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    target.imported()
    fno.simulator.change(refuse_starts="Object reference not set to an instance of an object.")

    with pytest.raises(NeedsPerson, match=r"Object reference not set .* Check the data project"):
        target.export()


# Keys to packages that run out


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
    impatient = replace(target, fno=fno.client(submit_timeout_s=0.2))

    with pytest.raises(AnswerLost, match="in time"):
        STARTS[action](impatient, execution_id)

    assert not target.is_known(execution_id)
    wait_for(fno.faults.let_go)
    wait_for(lambda: target.is_known(execution_id))


@pytest.mark.parametrize(
    ("fault", "wait_s"), [(faults.status(429, {"Retry-After": "17"}), 17.0), (faults.status(429), 30.0)]
)
@pytest.mark.parametrize("action", STARTS)
def test_a_start_that_is_throttled_has_certainly_not_begun(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, action: str, fault: faults.Action, wait_s: float
) -> None:
    target.imported()
    fno.action_fault(action, fault)

    with pytest.raises(TryAgain) as caught:
        STARTS[action](target, target.new_id())

    assert type(caught.value) is TryAgain
    assert caught.value.retry_after_s == wait_s


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_whose_answer_is_lost_is_asked_again_at_once(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations, question: str
) -> None:
    execution_id = target.imported()
    fno.faults.forget_calls()
    fno.fault("*", rf"{question}$", faults.lost_after())

    QUESTIONS[question](target.fno, execution_id)

    assert len(fno.statuses("GET" if "Details" in question else "POST", question)) == 2


# Who may call


def test_an_app_that_fo_does_not_know_is_told_the_form_to_enter_it_in(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    fno.simulator.change(registered_apps=("another-app",))

    with pytest.raises(Refused, match="Microsoft Entra ID applications") as caught:
        target.fno.get_azure_write_url("a.zip")

    assert caught.value.call is not None
    assert caught.value.call.status == 403


def test_a_token_that_is_refused_is_replaced_once_even_where_an_import_is_started(
    target: FinanceOperationsTarget, fno: SimulatedFinanceOperations
) -> None:
    url = target.upload(build_package())
    fno.identity.desk.expire_all()

    target.submit(url=url)

    assert fno.statuses("POST", "ImportFromPackage") == [401, 200]


def test_a_sign_in_page_means_a_wrong_address(target: FinanceOperationsTarget, fno: SimulatedFinanceOperations) -> None:
    fno.action_fault("GetAzureWriteUrl", faults.status(302, {"Location": "https://login.microsoftonline.com/"}))

    with pytest.raises(NeedsPerson, match="base URL"):
        target.fno.get_azure_write_url("a.zip")


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
    operations = [call.operation for call in of_fno]
    assert operations == ["GetAzureWriteUrl", "ImportFromPackage", "DataManagementExecutionJobDetails"]
    assert all(call.request_id and call.status == 200 for call in of_fno)


def test_companies_and_data_projects_are_known_by_name(target: FinanceOperationsTarget) -> None:
    target.imported()

    assert target.fno.has_company(target.company)
    assert not target.fno.has_company("ZZZZ")
    assert target.fno.has_data_project(target.project)
    assert not target.fno.has_data_project(f"{target.project} x' or Name ne '")
