"""The rules of Azure's host that the app relies on: where Microsoft describes each, and the tests that hold it here."""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent

LEARN = "https://learn.microsoft.com/azure/azure-functions"
HOST = "https://github.com/Azure/azure-functions-host/blob/dev/src"
STORAGE = "https://github.com/Azure/azure-sdk-for-net/tree/main/sdk/storage"
QUEUES = "Microsoft.Azure.WebJobs.Extensions.Storage.Common/src/Shared/Queues"
TIMERS = "https://github.com/Azure/azure-webjobs-sdk-extensions/tree/dev/src/WebJobs.Extensions/Extensions/Timers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What Azure's host does, who says so, and which tests of this folder hold it."""

    text: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]  # file::name, without test_ and .py for the file


RULES = (
    Rule(
        text="Queue messages are base64; what is not goes to the poison queue at once.",
        sources=(
            f"{LEARN}/functions-bindings-storage-queue-trigger#encoding",
            f"{STORAGE}/Microsoft.Azure.WebJobs.Extensions.Storage.Queues/src/QueueServiceClientProvider.cs",
        ),
        tests=(
            "queues::test_a_message_is_decoded_run_once_and_deleted",
            "queues::test_a_message_that_is_not_base64_goes_to_poison_at_once_and_unchanged",
            "queues::test_without_encoding_messages_are_plain_text",
        ),
    ),
    Rule(
        text="A message whose function has failed maxDequeueCount times moves to <queue>-poison.",
        sources=(f"{LEARN}/functions-bindings-storage-queue-trigger#poison-messages",),
        tests=(
            "queues::test_a_message_that_failed_max_dequeue_count_times_goes_to_poison",
            "queues::test_a_message_that_crashed_too_many_hosts_goes_to_poison_without_another_run",
            "queues::test_a_poison_queue_has_no_poison_queue_and_its_failed_messages_stay_invisible",
        ),
    ),
    Rule(
        text="A failed message is visible again after visibilityTimeout; one that is worked on stays invisible.",
        sources=(
            f"{LEARN}/functions-bindings-storage-queue#host-json",
            f"{LEARN}/functions-bindings-storage-queue-trigger#peek-lock",
        ),
        tests=(
            "queues::test_a_failed_message_comes_back_after_the_visibility_timeout_and_counts_up",
            "queues::test_the_lease_is_renewed_for_as_long_as_the_function_works",
            "queues::test_a_message_of_a_killed_host_comes_back_when_its_lease_ends",
            "host::test_after_a_kill_the_next_host_runs_the_message_again",
        ),
    ),
    Rule(
        text="A function is told how often its message was dequeued.",
        sources=(f"{LEARN}/functions-bindings-storage-queue-trigger#message-metadata",),
        tests=(
            "host::test_a_request_becomes_a_message_and_the_message_a_run_that_knows_it",
            "queues::test_a_failed_message_comes_back_after_the_visibility_timeout_and_counts_up",
        ),
    ),
    Rule(
        text="At most batchSize + newBatchThreshold messages of a function run side by side.",
        sources=(f"{LEARN}/functions-bindings-storage-queue-trigger#concurrency",),
        tests=(
            "queues::test_batch_size_and_threshold_bound_what_runs_side_by_side",
            "queues::test_a_new_batch_is_fetched_while_no_more_than_the_threshold_run",
        ),
    ),
    Rule(
        text="An idle queue is polled ever more rarely, up to maxPollingInterval.",
        sources=(f"{LEARN}/functions-bindings-storage-queue-trigger#polling-algorithm",),
        tests=("queues::test_an_empty_queue_is_polled_after_100_ms_and_then_ever_more_rarely",),
    ),
    Rule(
        text="The queue output binding takes text that is JSON apart and writes it anew.",
        sources=(
            f"{HOST}/WebJobs.Script/Binding/FunctionBinding.cs",
            "https://github.com/Azure/azure-functions-python-worker/issues/1492",
        ),
        tests=(
            "bindings::test_the_host_makes_messages_of_an_output",
            "host::test_an_output_of_json_text_is_split_and_rewritten",
        ),
    ),
    Rule(
        text="A timer whose time has passed while no host ran fires once, past due.",
        sources=(f"{LEARN}/functions-bindings-timer#usage", f"{TIMERS}/Scheduling/ScheduleMonitor.cs"),
        tests=(
            "timers::test_missed_times_are_made_up_for_by_one_run_that_is_past_due",
            "timers::test_times_that_only_a_former_schedule_had_are_not_made_up_for",
            "timers::test_a_timer_without_a_monitor_remembers_nothing",
        ),
    ),
    Rule(
        text="Of all instances one runs a timer, and never beside itself.",
        sources=(f"{LEARN}/functions-bindings-timer#scale-out",),
        tests=(
            "timers::test_one_host_of_several_runs_a_timer_and_another_takes_over_when_it_stops",
            "timers::test_a_timer_fires_at_its_times_and_never_beside_itself",
        ),
    ),
    Rule(
        text="A timer's function that has failed is not called again before its next time.",
        sources=(f"{LEARN}/functions-bindings-timer#retry-behavior",),
        tests=("timers::test_a_failed_run_is_not_repeated_before_the_next_time",),
    ),
    Rule(
        text="Routes are templates below routePrefix; what none matches is 404, and so is a wrong method.",
        sources=(
            f"{LEARN}/functions-bindings-http-webhook-trigger#customize-the-http-endpoint",
            "https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-templates",
        ),
        tests=(
            "routes::test_a_template_matches_a_path",
            "routes::test_the_more_specific_template_goes_first",
            "http::test_an_unknown_path_and_a_wrong_method_are_both_not_found",
            "http::test_the_more_specific_route_answers",
        ),
    ),
    Rule(
        text="A function of level function wants a key, one of level admin the master key; else 401.",
        sources=(
            f"{LEARN}/functions-bindings-http-webhook-trigger#http-auth",
            f"{LEARN}/function-keys-how-to",
        ),
        tests=("http::test_keys_open_functions_of_their_level",),
    ),
    Rule(
        text="A function that returns nothing is answered with 204.",
        sources=(f"{LEARN}/functions-bindings-http-webhook-trigger",),
        tests=("http::test_no_answer_is_204",),
    ),
    Rule(
        text="A function that fails, or whose outputs cannot be written, is answered with an empty 500.",
        sources=(
            f"{HOST}/WebJobs.Script.WebHost/Middleware/FunctionInvocationMiddleware.cs",
            f"{HOST}/WebJobs.Script/Description/Workers/WorkerFunctionInvoker.cs",
        ),
        tests=(
            "http::test_an_exception_is_an_empty_500_and_its_traceback_is_in_the_log",
            "host::test_an_output_that_cannot_be_written_is_a_500",
        ),
    ),
    Rule(
        text="A function that outlives functionTimeout ends the host.",
        sources=(
            f"{LEARN}/functions-host-json#functiontimeout",
            "https://github.com/Azure/azure-functions-host/issues/8814",
        ),
        tests=("host::test_an_invocation_over_function_timeout_ends_the_host_and_its_message_comes_back",),
    ),
    Rule(
        text="On Flex Consumption HTTP functions share instances, and every other function has its own.",
        sources=(f"{LEARN}/event-driven-scaling#per-function-scaling",),
        tests=(
            "flex_rules::test_http_functions_share_a_group_and_every_other_function_has_its_own",
            "flex::test_functions_of_different_groups_run_in_different_processes",
        ),
    ),
    Rule(
        text="A queue function gets an instance for each batch of messages, delayed ones counted, if one is visible.",
        sources=(
            f"{LEARN}/functions-target-based-scaling#storage-queues",
            f"{STORAGE}/{QUEUES}/QueueMetricsProvider.cs",
            f"{STORAGE}/{QUEUES}/QueueTargetScaler.cs",
        ),
        tests=(
            "flex_rules::test_messages_ask_for_instances_once_one_of_them_can_be_received",
            "flex_rules::test_a_queue_is_counted_as_it_is",
            "flex::test_messages_get_an_instance_for_each_batch",
            "flex::test_messages_that_are_all_delayed_ask_for_no_instance",
        ),
    ),
    Rule(
        text="HTTP functions get so many instances that none has more requests at once than it may have.",
        sources=(f"{LEARN}/functions-concurrency#http-trigger-concurrency",),
        tests=(
            "flex_rules::test_requests_ask_for_so_many_instances_that_each_has_its_fill",
            "flex::test_requests_beyond_the_fill_of_an_instance_get_more_instances_up_to_the_limit",
        ),
    ),
    Rule(
        text="A timer function has an instance before its tick, and none is started when the app is.",
        sources=("https://github.com/Azure-Samples/azure-functions-flex-consumption-samples/issues/37",),
        tests=(
            "flex_rules::test_a_timer_asks_for_an_instance_shortly_before_its_tick_and_until_one_has_fired_it",
            "flex::test_a_timer_has_an_instance_for_its_tick_and_none_in_between",
        ),
    ),
    Rule(
        text="An instance without work goes after half a minute; one that is always ready stays.",
        sources=(
            "https://github.com/Azure/Azure-Functions/issues/2581",
            f"{LEARN}/flex-consumption-plan#always-ready-instances",
        ),
        tests=(
            "flex::test_nothing_runs_until_it_is_needed_and_nothing_after_it_has_had_nothing_to_do_for_a_while",
            "flex::test_an_instance_that_is_always_ready_is_there_from_the_start_and_stays",
        ),
    ),
    Rule(
        text="An instance that is stopped ends what runs.",
        sources=(f"{LEARN}/functions-scale#timeout",),
        tests=("flex::test_an_instance_that_is_asked_to_end_finishes_what_it_does_while_another_takes_what_comes",),
    ),
    Rule(
        text="The worker of a placeholder starts its thread pool before it has the app's settings.",
        sources=("https://github.com/Azure/azure-functions-python-worker/blob/dev/workers/proxy_worker/dispatcher.py",),
        tests=(
            "flex::test_the_thread_pool_is_as_large_as_the_placeholders_environment_says",
            "flex::test_an_app_that_starts_the_pool_itself_has_as_many_threads_as_its_settings_say",
        ),
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.text)
def test_a_rule_of_azures_host_is_held_by_tests(rule: Rule) -> None:
    missing = [test for test in rule.tests if test.partition("::")[2] not in _tests_in(test.partition("::")[0])]

    assert missing == []
    assert rule.tests
    assert all(source.startswith("https://") for source in rule.sources)


def _tests_in(file: str) -> set[str]:
    tree = ast.parse((HERE / f"test_{file}.py").read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
