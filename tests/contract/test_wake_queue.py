"""What the app expects of queue storage: wake-ups as ``azure_storage/queue.py`` sends them."""

import base64
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.storage.queue import QueueServiceClient

from shared.azure_storage.queue import LONGEST_DELAY_S, QueueLength, WorkQueue
from shared.errors import NeedsPerson, TryAgain
from tests.records import spied_on


@pytest.fixture
def name(queues: QueueServiceClient) -> Iterator[str]:
    """The name of a queue that does not exist yet."""
    name = f"wakes-{uuid.uuid4().hex}"
    yield name
    queues.delete_queue(name)


@pytest.fixture
def wakes(queues: QueueServiceClient, name: str) -> WorkQueue:
    return WorkQueue(queues, queue=name)


def visible(queues: QueueServiceClient, name: str) -> list[str]:
    """Return the messages that can be taken now, as they lie in the queue."""
    return [message.content for message in queues.get_queue_client(name).peek_messages(max_messages=32)]


def count(queues: QueueServiceClient, name: str) -> int:
    """Return how many messages there are, with those that are not visible yet."""
    return int(queues.get_queue_client(name).get_queue_properties().approximate_message_count or 0)


def test_a_new_queue_takes_the_wake_ups_of_many_workers_at_once(queues: QueueServiceClient, name: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: WorkQueue(queues, queue=name).send(f"in-{number}"), range(8)))

    assert count(queues, name) == 8


def test_a_wake_up_is_base64_text_as_the_functions_host_expects(
    wakes: WorkQueue, queues: QueueServiceClient, name: str
) -> None:
    wakes.send("scan 2026-11-02T08:30:00+00:00 0 ä")

    (content,) = visible(queues, name)
    assert base64.b64decode(content, validate=True).decode() == "scan 2026-11-02T08:30:00+00:00 0 ä"


def test_a_delayed_wake_up_is_there_and_not_yet_visible(
    wakes: WorkQueue, queues: QueueServiceClient, name: str
) -> None:
    wakes.send("in-1", delay_s=3600)

    assert count(queues, name) == 1
    assert visible(queues, name) == []


@pytest.mark.parametrize(
    ("delay_s", "asked"),
    [(0, "0"), (-5, "0"), (0.2, "1"), (2.4, "3"), (300, "300"), (10**9, str(LONGEST_DELAY_S))],
)
def test_a_wake_up_never_comes_before_its_run_is_due(
    wakes: WorkQueue, queues: QueueServiceClient, name: str, monkeypatch: pytest.MonkeyPatch, delay_s: float, asked: str
) -> None:
    """Storage counts whole seconds. One that came early would end without effect, and the run would be forgotten."""
    queues.create_queue(name)
    asked_for = spied_on(monkeypatch)

    wakes.send("in-1", delay_s=delay_s)

    (request,) = [each for each in asked_for if "/messages" in str(each.url)]
    assert f"visibilitytimeout={asked}" in str(request.url).split("?")[1].split("&")
    assert count(queues, name) == 1


def test_a_queue_storage_that_is_out_of_reach_is_tried_again_later(unreachable: str) -> None:
    with (
        QueueServiceClient.from_connection_string(unreachable, retry_total=0) as service,
        pytest.raises(TryAgain, match="send to work"),
    ):
        WorkQueue(service).send("in-1")


def test_a_wrong_key_to_the_queue_storage_needs_a_person_who_is_told_which_setting(wrong_key: str) -> None:
    with (
        QueueServiceClient.from_connection_string(wrong_key, retry_total=0) as service,
        pytest.raises(NeedsPerson, match="AzureWebJobsStorage") as caught,
    ):
        WorkQueue(service).send("in-1")

    assert caught.value.call is not None
    assert caught.value.call.status == 403


def given_up_by_the_host(queues: QueueServiceClient, name: str, *contents: str) -> None:
    """Put messages where the host puts those whose function failed again and again; contents as they lie there."""
    queue = queues.create_queue(f"{name}-poison")
    for content in contents:
        queue.send_message(content)


def test_what_the_host_gave_up_on_is_handed_out_as_it_was_sent_and_is_gone_then(
    wakes: WorkQueue, queues: QueueServiceClient, name: str
) -> None:
    wakes.send("in-1")
    with wakes.poison_messages(name) as texts:
        assert texts == []  # the host never gave up
    given_up_by_the_host(queues, name, *visible(queues, name), "no base64")

    with wakes.poison_messages(name) as texts:
        assert texts == ["in-1", "no base64"]

    assert count(queues, f"{name}-poison") == 0
    queues.get_queue_client(f"{name}-poison").send_message("no base64")
    with wakes.poison_messages(name) as texts:
        queues.get_queue_client(f"{name}-poison").clear_messages()  # by a person, meanwhile
    assert texts == ["no base64"]


def test_what_could_not_be_told_is_kept_and_hidden_from_others_meanwhile(
    wakes: WorkQueue, queues: QueueServiceClient, name: str
) -> None:
    wakes.send("in-1")
    given_up_by_the_host(queues, name, "no base64")

    with pytest.raises(TryAgain, match="mail"), wakes.poison_messages(name):
        raise TryAgain("no mail today")

    with wakes.poison_messages(name) as texts:
        assert texts == []
    assert count(queues, f"{name}-poison") == 1


def test_the_length_of_a_queue_counts_what_waits_and_what_was_given_up(
    wakes: WorkQueue, queues: QueueServiceClient, name: str
) -> None:
    wakes.send("in-1")
    wakes.send("in-2", delay_s=3600)
    given_up_by_the_host(queues, name, "no base64")

    assert wakes.length(name) == QueueLength(waiting=2, given_up=1)
    assert wakes.length(f"wakes-{uuid.uuid4().hex}") == QueueLength(waiting=0, given_up=0)
