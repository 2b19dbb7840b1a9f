"""What the host puts into a poison queue is told to a person by the minute's timer."""

import json
from contextlib import suppress
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueServiceClient

from tests.end_to_end.stage import Stage

UNREADABLE = "this is not base64"


def test_a_message_that_the_host_cannot_read_is_told_once_and_is_gone(stage: Stage) -> None:
    with QueueServiceClient.from_connection_string(stage.azurite.connection_string) as queues:
        with suppress(ResourceExistsError):
            queues.create_queue("work")
        queues.get_queue_client("work").send_message(UNREADABLE)
        poison = queues.get_queue_client("work-poison")
        stage.wait_for(lambda: "work-poison" in {queue.name for queue in queues.list_queues()}, "the queue")
        stage.wait_for(lambda: poison.get_queue_properties().approximate_message_count, "the message in it")

        looks = _looks(stage)
        stage.run_function("keep_watch")
        stage.wait_for(lambda: _alerts(stage), "the alert")
        stage.wait_for(lambda: poison.get_queue_properties().approximate_message_count == 0, "the empty queue")
        stage.run_function("keep_watch")
        stage.wait_for(lambda: _looks(stage) >= looks + 2, "the second look")

    (alert,) = _alerts(stage)
    assert "The function work failed" in alert["text"]


def _alerts(stage: Stage) -> list[dict[str, Any]]:
    lines = (json.loads(line[line.index("{") :]) for line in stage.log if '"event": "alert"' in line)
    return [line for line in lines if UNREADABLE in line["text"]]


def _looks(stage: Stage) -> int:
    return sum("Executed 'Functions.keep_watch' (Succeeded" in line for line in stage.log)
