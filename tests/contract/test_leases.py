"""What the app expects of blob storage: leases, as ``azure_storage/leases.py`` takes them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.storage.blob import BlobLeaseClient, ContainerClient

from shared.azure_storage import leases as leasing
from shared.azure_storage.container import BlobContainer
from shared.azure_storage.leases import Leases
from shared.errors import LeaseTaken
from shared.runs.store import RunStore
from tests.records import spied_on
from tests.world import wait_for


@pytest.fixture
def leases(container: ContainerClient) -> Leases:
    return Leases(BlobContainer(container))


def test_a_lease_that_is_held_is_not_given_to_another_worker(leases: Leases) -> None:
    with leases.hold("in-1"), pytest.raises(LeaseTaken), leases.hold("in-1"):
        pytest.fail("two workers held one lease")


def test_a_lease_is_given_back_where_the_work_fails(leases: Leases) -> None:
    with pytest.raises(ZeroDivisionError), leases.hold("in-1"):
        raise ZeroDivisionError

    with leases.hold("in-1"):
        pass


def test_of_workers_that_take_a_new_lease_at_the_same_moment_one_gets_it(leases: Leases) -> None:
    barrier, ended = threading.Barrier(8), threading.Barrier(8)

    def take(_: int) -> bool:
        barrier.wait()
        try:
            with leases.hold("in-1"):
                ended.wait()
                return True
        except LeaseTaken:
            ended.wait()
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1


def test_workers_that_take_turns_are_never_inside_together(leases: Leases, store: RunStore) -> None:
    inside: list[str] = []

    def work(name: str) -> None:
        done = 0
        while done < 3:
            try:
                with leases.hold("in-1"):
                    inside.append(f"{name} came")
                    store.head("in-1")  # long enough for the other one to come in, if it could
                    inside.append(f"{name} went")
                    done += 1
            except LeaseTaken:
                continue

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(work, "one"), pool.submit(work, "other")]:
            each.result()

    came, went = inside[::2], inside[1::2]
    assert [each.removesuffix(" came") for each in came] == [each.removesuffix(" went") for each in went]
    assert len(came) == 6


def test_a_lease_is_renewed_while_the_work_lasts(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "LEASE_S", 15)  # the shortest that storage takes
    monkeypatch.setattr(leasing, "RENEW_EVERY_S", 0.02)
    asked = spied_on(monkeypatch)

    with leases.hold("in-1"):
        wait_for(lambda: [request.headers.get("x-ms-lease-action") for request in asked].count("renew") >= 3)


def test_a_worker_that_lost_its_lease_ends_its_work_without_an_error_and_frees_nothing_of_the_next(
    leases: Leases, container: ContainerClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leasing, "RENEW_EVERY_S", 0.02)
    with leases.hold("in-1"):
        # What storage does with a lease that runs out while its holder is paused.
        BlobLeaseClient(container.get_blob_client("locks/in-1")).break_lease(lease_break_period=0)
        others = container.get_blob_client("locks/in-1").acquire_lease(lease_duration=60)
        wait_for(lambda: "lease.lost" in caplog.text)

    with pytest.raises(LeaseTaken), leases.hold("in-1"):
        pytest.fail("the other worker's lease was given away")
    others.release()
