"""local.settings.json, app settings and host.json."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from local_cloud.functions_host.settings import (
    DEVELOPMENT_STORAGE,
    AppSettings,
    Connection,
    HostJson,
    HostSettingsInvalid,
    read_host_json,
    read_local_settings,
    seconds,
    settle,
)


def host_json(folder: Path, content: object, settings: dict[str, str] | None = None) -> HostJson:
    (folder / "host.json").write_text(json.dumps(content))
    return read_host_json(folder, AppSettings(settings or {}))


def with_queues(**queues: Any) -> dict[str, Any]:
    return {"version": "2.0", "extensions": {"queues": queues}}


def test_a_real_environment_variable_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # https://github.com/Azure/azure-functions-core-tools/blob/main/src/Cli/func/Actions/HostActions/StartHostAction.cs
    file = tmp_path / "local.settings.json"
    file.write_text('{"IsEncrypted": false, "Values": {"TEST_A": "file", "TEST_B": "file"}}')
    monkeypatch.setenv("TEST_A", "environment")
    monkeypatch.setenv("TEST_B", "")  # an empty one does not

    settings = settle(read_local_settings(file))

    assert (settings.get("TEST_A"), settings.get("TEST_B")) == ("environment", "file")
    assert os.environ["TEST_B"] == "file"


@pytest.mark.parametrize(
    "content", ['{"Values": {}}', '{"IsEncrypted": true}', '{"IsEncrypted": false, "Values": {"A": 1}}', "[]", "{"]
)
def test_settings_that_are_encrypted_or_not_text_are_refused(tmp_path: Path, content: str) -> None:
    # A missing IsEncrypted means encrypted.
    # https://learn.microsoft.com/azure/azure-functions/functions-develop-local#local-settings-file
    file = tmp_path / "local.settings.json"
    file.write_text(content)
    with pytest.raises(HostSettingsInvalid):
        read_local_settings(file)


def test_an_app_without_a_settings_file_has_its_environment(tmp_path: Path) -> None:
    assert read_local_settings(tmp_path / "local.settings.json") == {}


def test_placeholders_are_replaced_by_settings_whatever_their_letter_case() -> None:
    # https://learn.microsoft.com/azure/azure-functions/functions-bindings-expressions-patterns#binding-expressions---app-settings
    assert AppSettings({"Queue_Name": "work"}).resolve("a-%QUEUE_NAME%-b") == "a-work-b"


def test_a_placeholder_without_a_setting_is_an_error_that_names_it() -> None:
    with pytest.raises(HostSettingsInvalid, match="NOWHERE"):
        AppSettings({}).resolve("%NOWHERE%")


@pytest.mark.parametrize(("value", "disabled"), [("true", True), ("True", True), ("1", True), ("false", False)])
def test_a_function_is_disabled_by_a_setting(value: str, disabled: bool) -> None:
    # https://learn.microsoft.com/azure/azure-functions/disable-function
    assert AppSettings({"AzureWebJobs.tick.Disabled": value}).is_disabled("tick") is disabled


@pytest.mark.parametrize(
    ("settings", "name", "expected"),
    [
        ({"AzureWebJobsStorage": "A=1"}, "AzureWebJobsStorage", Connection(connection_string="A=1")),
        ({"AzureWebJobsStorage": "A=1"}, "", Connection(connection_string="A=1")),
        ({"AzureWebJobsStorage": "A=1"}, "Storage", Connection(connection_string="A=1")),
        ({"AzureWebJobsOther": "A=1", "Other": "B=2"}, "Other", Connection(connection_string="A=1")),
        (
            {"AzureWebJobsStorage": "UseDevelopmentStorage=true;"},
            "",
            Connection(connection_string=DEVELOPMENT_STORAGE),
        ),
        (
            {"Other__queueServiceUri": "https://a.queue.core.windows.net"},
            "Other",
            Connection(queue_url="https://a.queue.core.windows.net"),
        ),
    ],
)
def test_a_connection_is_found_by_its_name(settings: dict[str, str], name: str, expected: Connection) -> None:
    assert AppSettings(settings).connection(name) == expected


def test_a_connection_that_is_not_set_is_an_error_that_names_it() -> None:
    with pytest.raises(HostSettingsInvalid, match="Elsewhere"):
        AppSettings({"AzureWebJobsStorage": "A=1"}).connection("Elsewhere")


def test_host_json_has_the_defaults_of_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json
    monkeypatch.setattr(os, "process_cpu_count", lambda: 2)
    found = host_json(tmp_path, {"version": "2.0"})
    assert (found.route_prefix, found.function_timeout_s) == ("api", 1800)
    queues = found.queues
    assert (queues.batch_size, queues.new_batch_threshold, queues.visibility_timeout_s) == (16, 16, 0)
    # 2 s, not a minute: Core Tools declares a development environment
    assert (queues.max_dequeue_count, queues.max_polling_interval_s, queues.base64) == (5, 2, True)


def test_host_json_is_read_whatever_the_letter_case_of_its_names(tmp_path: Path) -> None:
    content = with_queues(BatchSize=4, newBatchThreshold=2, visibilityTimeout="00:00:30", messageEncoding="none")
    content["functionTimeout"] = "-1"
    content["extensions"]["http"] = {"routePrefix": ""}
    found = host_json(tmp_path, content)
    assert (found.route_prefix, found.function_timeout_s) == ("", None)
    assert (found.queues.batch_size, found.queues.new_batch_threshold) == (4, 2)
    assert (found.queues.visibility_timeout_s, found.queues.base64) == (30, False)


def test_an_app_setting_overrides_host_json(tmp_path: Path) -> None:
    # https://learn.microsoft.com/azure/azure-functions/functions-host-json#override-hostjson-values
    overrides = {"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.250"}
    assert host_json(tmp_path, with_queues(batchSize=4), overrides).queues.max_polling_interval_s == 0.25


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"version": "1.0"},
        with_queues(batchSize=33),
        with_queues(batchSize=0),
        with_queues(maxDequeueCount=0),
        with_queues(maxPollingInterval="00:00:00.050"),
        {"version": "2.0", "functionTimeout": "ten minutes"},
    ],
)
def test_a_host_json_outside_its_limits_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(HostSettingsInvalid):
        host_json(tmp_path, content)


def test_an_app_needs_a_host_json(tmp_path: Path) -> None:
    with pytest.raises(HostSettingsInvalid, match=r"host\.json"):
        read_host_json(tmp_path, AppSettings({}))


@pytest.mark.parametrize(("text", "expected"), [("00:00:30", 30), ("1.00:00:00", 86_400), ("00:00:00.25", 0.25)])
def test_time_spans_are_those_of_dotnet(text: str, expected: float) -> None:
    assert seconds(text) == expected
