"""The rules of the Flex shape, one at a time: who shares instances, and how many each group is asked for."""

import argparse
import asyncio
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.queue.aio import QueueServiceClient

from local_cloud.functions_host.bindings import Function, read_function
from local_cloud.functions_host.flex.controller import Scaled
from local_cloud.functions_host.flex.demand import (
    HttpDemand,
    NoDemand,
    QueueDemand,
    TimerDemand,
    instances_for_messages,
)
from local_cloud.functions_host.flex.groups import Group, scale_groups
from local_cloud.functions_host.flex.instances import Instance, State
from local_cloud.functions_host.flex.journal import Journal
from local_cloud.functions_host.flex.options import FlexOptions, add_arguments, read_options
from local_cloud.functions_host.flex.words import describe, instances_told
from local_cloud.functions_host.ncrontab import Schedule
from local_cloud.functions_host.runtime import IndexedFunction
from local_cloud.functions_host.settings import AppSettings
from tests.closed_port import closed_port

NOON = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


def function(name: str, **trigger: str) -> Function:
    indexed = IndexedFunction(name=name, function_id=name, raw_bindings=(json.dumps({"name": "it", **trigger}),))
    return read_function(indexed, AppSettings({}), "api")


APP = (
    function("notify", type="httpTrigger"),
    function("work", type="queueTrigger", queueName="work", connection="X"),
    function("show", type="httpTrigger"),
    function("watch", type="timerTrigger", schedule="0 * * * * *"),
)


def test_http_functions_share_a_group_and_every_other_function_has_its_own() -> None:
    # https://learn.microsoft.com/azure/azure-functions/event-driven-scaling#per-function-scaling
    groups = scale_groups(APP, disabled=["watch"])

    assert {group.name: [each.name for each in group.functions] for group in groups} == {
        "http": ["notify", "show"],
        "work": ["work"],
        "watch": ["watch"],
    }
    assert [group.name for group in groups if group.is_disabled] == ["watch"]


def test_an_app_without_http_functions_has_no_group_for_them() -> None:
    assert [group.name for group in scale_groups([APP[1]], disabled=[])] == ["work"]


@pytest.mark.parametrize(
    ("count", "is_one_visible", "instances"),
    [
        (0, False, 0),
        (1, True, 1),
        (8, True, 1),
        (9, True, 2),
        (201, True, 26),  # 200 delayed ones count once another can be received
        (200, False, 0),  # all are delayed, or being worked on
    ],
)
def test_messages_ask_for_instances_once_one_of_them_can_be_received(
    count: int, is_one_visible: bool, instances: int
) -> None:
    # The rules are those of QueueMetricsProvider and QueueTargetScaler; the addresses stand in the code.
    assert instances_for_messages(count, is_one_visible=is_one_visible, messages_per_instance=8) == instances


def test_a_queue_is_counted_as_it_is(azurite_connection: str) -> None:
    async def scenario() -> None:
        name = f"flex-{uuid.uuid4().hex[:10]}"
        async with QueueServiceClient.from_connection_string(azurite_connection) as queues:
            demand = QueueDemand(queues, name, 2)
            assert await demand.instances([]) == 0  # the queue is not there yet
            queue = await queues.create_queue(name)
            for _ in range(4):
                await queue.send_message("later", visibility_timeout=600)
            assert await demand.instances([]) == 0
            await queue.send_message("now")
            assert await demand.instances([]) == 3
            await queue.receive_message()  # it is being worked on
            assert await demand.instances([]) == 0

    asyncio.run(scenario())


def test_storage_that_is_away_asks_for_nothing() -> None:
    async def scenario(port: int) -> None:
        away = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;QueueEndpoint=http://127.0.0.1:{port}/a;"
        async with QueueServiceClient.from_connection_string(away, retry_total=0) as queues:
            assert await QueueDemand(queues, "work", 8).instances([]) == 0

    with closed_port() as port:
        asyncio.run(scenario(port))


def test_requests_ask_for_so_many_instances_that_each_has_its_fill() -> None:
    async def instances(requests: int) -> int:
        return await HttpDemand(lambda: requests, 16).instances([])

    assert [asyncio.run(instances(requests)) for requests in (0, 1, 16, 17)] == [0, 1, 1, 2]


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def instance(state: State, *, is_listening: bool = False) -> Instance:
    """An instance without a process."""
    made = Instance("watch", "watch-1", Journal(None), lambda: None)
    made.state, made.is_listening = state, is_listening
    return made


def test_a_timer_asks_for_an_instance_shortly_before_its_tick_and_until_one_has_fired_it() -> None:
    clock = Clock()
    demand = TimerDemand(Schedule.parse("0 * * * * *"), lead_s=5, clock=clock)

    def wanted(after_s: float, running: Sequence[Instance] = ()) -> int:
        clock.now = NOON + timedelta(seconds=after_s)
        return asyncio.run(demand.instances(running))

    waits_for_the_lock = [instance(State.SERVING)]
    listens = [instance(State.SERVING, is_listening=True)]
    assert (wanted(54), wanted(55.5), wanted(58, listens)) == (0, 1, 1)
    assert wanted(61) == 1  # none was there
    assert wanted(62, waits_for_the_lock) == 1
    assert wanted(63, listens) == 0
    assert (wanted(114), wanted(115.5)) == (0, 1)


def test_the_options_of_a_program_are_those_of_the_command_line(tmp_path: Path) -> None:
    options = FlexOptions(
        idle_s=1.5,
        wake_up_s=0.25,
        max_instances=7,
        always_ready={"http": 1, "work": 2},
        http_concurrency=3,
        messages_per_instance=5,
        timer_lead_s=2.5,
        look_every_s=0.5,
        drain_s=60.0,
        journal=tmp_path / "journal",
    )
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    assert read_options(parser.parse_args(options.arguments())) == options
    assert read_options(parser.parse_args([])) == FlexOptions()
    # As az functionapp writes it.
    assert read_options(parser.parse_args(["--always-ready", "function:work=1"])).always_ready == {"work": 1}


@pytest.mark.parametrize(
    "wrong",
    [("--idle-seconds", "-1"), ("--max-instances", "0"), ("--always-ready", "http"), ("--always-ready", "http=x")],
)
def test_options_that_make_no_sense_are_refused(wrong: tuple[str, str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(wrong)


def test_which_groups_have_instances_is_said_in_words_that_others_find_in_the_log() -> None:
    def scaled(name: str, *states: State) -> Scaled:
        made = Scaled(
            Group(name=name, functions=()),
            NoDemand(),
            FlexOptions(),
            machine={},
            assign=lambda _group, _at: pytest.fail("no instance is started"),
            journal=Journal(None),
            changed=lambda: None,
        )
        made.instances = [instance(state) for state in states]
        return made

    groups = [
        scaled("http", State.SERVING),
        scaled("work", State.SERVING, State.SERVING, State.STARTING),
        scaled("watch", State.STARTING),
        scaled("export", State.STOPPING),
    ]
    words = "http 1, work 2 (+1 starting), watch starting; none of export"
    assert describe(groups) == words
    assert describe(groups[3:]) == "none of export"
    assert instances_told(f"[2026-11-30T12:00:00.000Z] Instances: {words}") == words
    assert instances_told("work-1  [2026-11-30T12:00:00.000Z] Instances: of the app itself") == ""
