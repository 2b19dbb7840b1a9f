"""What decorators declare, and what becomes of the values of queue outputs."""

import json
from typing import Any

import pytest

from local_cloud.functions_host.bindings import (
    FunctionUnusable,
    HttpTrigger,
    OutputUnusable,
    QueueTrigger,
    queue_messages,
    read_function,
)
from local_cloud.functions_host.runtime import IndexedFunction, TypedData
from local_cloud.functions_host.settings import AppSettings


def indexed(*bindings: dict[str, Any]) -> IndexedFunction:
    return IndexedFunction(name="f", function_id="1", raw_bindings=[json.dumps(binding) for binding in bindings])


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        (TypedData(string="look"), [b"look"]),
        (TypedData(string="[not json"), [b"[not json"]),
        # https://github.com/Azure/azure-functions-python-worker/issues/1492
        (TypedData(string='{"a":1}'), [b'{\n  "a": 1\n}']),
        (TypedData(string=' ["x","y"] '), [b"x", b"y"]),
        (TypedData(string='[{"a":[1]},2,true,null]'), [b'{\n  "a": [\n    1\n  ]\n}', b"2", b"True", b""]),
        # a list, as the runtime hands it over
        (TypedData(json='["one", "{\\"a\\":1}"]'), [b"one", b'{"a":1}']),
        # bytes are not looked into
        (TypedData(bytes=b'{"a":1}'), [b'{"a":1}']),
        (TypedData(string="äö"), ["äö".encode()]),
    ],
)
def test_the_host_makes_messages_of_an_output(data: TypedData, messages: list[bytes]) -> None:
    # https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script/Binding/FunctionBinding.cs
    assert queue_messages(data) == messages


def test_text_that_only_looks_like_json_fails_the_invocation() -> None:
    with pytest.raises(OutputUnusable):
        queue_messages(TypedData(string="{look}"))


def test_names_of_queues_come_from_settings_in_lower_case() -> None:
    binding = {"type": "queueTrigger", "name": "msg", "queueName": "%NAME%", "connection": "AzureWebJobsStorage"}
    trigger = read_function(indexed(binding), AppSettings({"NAME": "Inbound-Work"}), "api").trigger
    assert isinstance(trigger, QueueTrigger)
    assert trigger.queue_name == "inbound-work"


def test_a_route_without_a_template_is_the_name_of_its_function() -> None:
    binding = {"type": "httpTrigger", "name": "req", "authLevel": "ANONYMOUS"}
    trigger = read_function(indexed(binding, {"type": "http", "name": "$return"}), AppSettings({}), "api").trigger
    assert isinstance(trigger, HttpTrigger)
    assert (trigger.route.template, trigger.methods, trigger.auth_level) == ("api/f", None, "ANONYMOUS")


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ({"type": "blobTrigger", "name": "b"}, "blobTrigger"),
        ({"type": "timerTrigger", "name": "t", "schedule": "%NOT_SET%"}, "NOT_SET"),
        ({"type": "timerTrigger", "name": "t", "schedule": "sometimes"}, "sometimes"),
        ({"type": "http", "name": "$return"}, "no trigger"),
    ],
)
def test_a_function_that_cannot_be_started_says_why(binding: dict[str, Any], words: str) -> None:
    with pytest.raises(FunctionUnusable, match=words):
        read_function(indexed(binding), AppSettings({}), "api")


def test_a_record_has_no_attribute_but_the_field_that_is_set() -> None:
    # The runtime tells by AttributeError that it holds the value itself and not a message with a TypedData field.
    record = TypedData(string="a")
    assert (record.WhichOneof("data"), record.string, TypedData().WhichOneof("data")) == ("string", "a", None)
    with pytest.raises(AttributeError):
        _ = record.TypedData
