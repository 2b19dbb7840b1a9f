"""What configures the host: app settings (local.settings.json and the environment) and host.json.

Reads, checks and gives the values types; what they do is in the modules that use them.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local_cloud.storage import ACCOUNT, ACCOUNT_KEY

# What UseDevelopmentStorage=true stands for; the Python SDKs do not know the short form.
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
DEVELOPMENT_STORAGE: Final = (
    f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
    f"BlobEndpoint=http://127.0.0.1:10000/{ACCOUNT};QueueEndpoint=http://127.0.0.1:10001/{ACCOUNT};"
)

_HOST_JSON_OVERRIDE: Final = "azurefunctionsjobhost__"
_TIMESPAN: Final = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d{1,7})?)?")
_PLACEHOLDER: Final = re.compile(r"%([^%]+)%")


class HostSettingsInvalid(Exception):
    """Something in local.settings.json, host.json or an app setting cannot be used; the text says what and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach one storage account: by connection string, or by addresses and the developer's own identity."""

    connection_string: str = ""
    queue_url: str = ""
    blob_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """The queues section of host.json.

    Defaults: https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    visibility_timeout_s: int = 0  # delay after a failed run; the lease of a running message is another thing
    max_dequeue_count: int = 5
    # A minute in Azure; 2 s in a development environment, which Core Tools declares, unless host.json says otherwise.
    # https://github.com/Azure/azure-sdk-for-net/blob/main/sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Queues/src/StorageQueuesWebJobsBuilderExtensions.cs
    max_polling_interval_s: float = 2.0
    base64: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HostJson:
    """host.json as far as this host knows it."""

    route_prefix: str = "api"
    function_timeout_s: float | None = 1800.0  # Flex Consumption's default of 30 minutes; None: never
    queues: QueueOptions = field(default_factory=QueueOptions)
    log_levels: Mapping[str, str] = field(default_factory=dict)


class AppSettings:
    """App settings: names are case-insensitive, as in .NET's configuration."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}

    def get(self, name: str, default: str = "") -> str:
        """The setting's value, or the default where it is not set."""
        return self._values.get(name.lower(), default)

    def resolve(self, text: str) -> str:
        """Put the values of settings in place of ``%NAME%``. Raises HostSettingsInvalid where one is not set."""

        def value_of(match: re.Match[str]) -> str:
            value = self._values.get(match[1].lower())
            if value is None:
                raise HostSettingsInvalid(f"'{text}' needs the app setting {match[1]}, which is not set")
            return value

        return _PLACEHOLDER.sub(value_of, text)

    def is_disabled(self, function: str) -> bool:
        """Whether ``AzureWebJobs.<function>.Disabled`` is true or 1.

        https://learn.microsoft.com/azure/azure-functions/disable-function
        """
        return self.get(f"AzureWebJobs.{function}.Disabled").lower() in ("true", "1")

    def connection(self, name: str) -> Connection:
        """How to reach the storage account that a binding calls by this name (empty: AzureWebJobsStorage).

        Like the real host it tries ``AzureWebJobs<name>`` before the plain name.
        Raises HostSettingsInvalid when neither a connection string nor ``<name>__queueServiceUri`` is set.
        """
        name = name or "Storage"
        for candidate in (f"AzureWebJobs{name}", name):
            if text := self.get(candidate):
                short = text.lower().replace(" ", "").rstrip(";") == "usedevelopmentstorage=true"
                return Connection(connection_string=DEVELOPMENT_STORAGE if short else text)
            queue_url, blob_url = self.get(f"{candidate}__queueServiceUri"), self.get(f"{candidate}__blobServiceUri")
            if queue_url or blob_url:
                return Connection(queue_url=queue_url, blob_url=blob_url)
        raise HostSettingsInvalid(f"the storage connection {name} is not set (connection string or __queueServiceUri)")

    def host_json_overrides(self) -> list[tuple[tuple[str, ...], str]]:
        """Settings that stand for a place in host.json: AzureFunctionsJobHost__extensions__queues__batchSize.

        https://learn.microsoft.com/azure/azure-functions/functions-host-json#override-hostjson-values
        """
        return [
            (tuple(name.removeprefix(_HOST_JSON_OVERRIDE).split("__")), value)
            for name, value in self._values.items()
            if name.startswith(_HOST_JSON_OVERRIDE)
        ]


def read_local_settings(path: Path) -> dict[str, str]:
    """Return the Values of a local.settings.json; a file that is not there has none.

    Raises HostSettingsInvalid for what is not such a file, or is encrypted (a missing IsEncrypted means that it is).
    """
    if not path.is_file():
        return {}
    content = _json_object(path)
    if content.get("IsEncrypted", True):
        raise HostSettingsInvalid(f'{path} is encrypted, or does not say "IsEncrypted": false')
    values = content.get("Values", {})
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise HostSettingsInvalid(f"{path}: Values must be an object of strings")
    return values


def settle(values: Mapping[str, str]) -> AppSettings:
    """Put these values into this process's environment, where it does not have them already; return the whole.

    The app reads its settings from the environment, and a real environment variable wins over the file unless it is
    empty. https://github.com/Azure/azure-functions-core-tools/blob/main/src/Cli/func/Actions/HostActions/StartHostAction.cs
    """
    for name, value in values.items():
        if not os.environ.get(name):
            os.environ[name] = value
    return AppSettings(os.environ)


def read_host_json(root: Path, settings: AppSettings) -> HostJson:
    """Read host.json in the app's folder, with its overrides from app settings.

    Raises HostSettingsInvalid for a missing file, another version than 2.0, and values outside their limits.
    """
    content = _lowered(_json_object(root / "host.json"))
    for place, value in settings.host_json_overrides():
        section = content
        for name in place[:-1]:
            section = section.setdefault(name, {})
        section[place[-1]] = value
    if content.get("version") != "2.0":
        raise HostSettingsInvalid(f'{root / "host.json"} must say "version": "2.0"')
    extensions = content.get("extensions", {})
    timeout = str(content.get("functiontimeout", "00:30:00"))
    return HostJson(
        route_prefix=str(extensions.get("http", {}).get("routeprefix", "api")).strip("/"),
        function_timeout_s=None if timeout == "-1" else seconds(timeout),
        queues=_queue_options(extensions.get("queues", {})),
        log_levels={str(k): str(v) for k, v in content.get("logging", {}).get("loglevel", {}).items()},
    )


def seconds(timespan: str) -> float:
    """Seconds of a .NET time span, [d.]hh:mm[:ss[.fraction]]. Raises HostSettingsInvalid for anything else.

    >>> seconds("1.00:00:30")
    86430.0
    """
    match = _TIMESPAN.fullmatch(timespan.strip())
    if match is None:
        raise HostSettingsInvalid(f"'{timespan}' is not a time span like 00:00:30")
    days, hours, minutes, whole, fraction = match.groups()
    return int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(whole or 0) + float(fraction or 0)


def _queue_options(section: Mapping[str, Any]) -> QueueOptions:
    batch_size = int(section.get("batchsize", 16))
    # Half a batch a core. https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json
    new_batch_threshold = int(section.get("newbatchthreshold", batch_size // 2 * (os.process_cpu_count() or 1)))
    options = QueueOptions(
        batch_size=batch_size,
        new_batch_threshold=new_batch_threshold,
        visibility_timeout_s=round(seconds(str(section.get("visibilitytimeout", "00:00:00")))),
        max_dequeue_count=int(section.get("maxdequeuecount", 5)),
        max_polling_interval_s=seconds(str(section.get("maxpollinginterval", "00:00:02"))),
        base64=str(section.get("messageencoding", "base64")).lower() == "base64",
    )
    limits = {
        "batchSize must be 1 to 32": 1 <= options.batch_size <= 32,
        "newBatchThreshold must not be negative": options.new_batch_threshold >= 0,
        "maxDequeueCount must be 1 or more": options.max_dequeue_count >= 1,
        "maxPollingInterval must be 100 ms or more": options.max_polling_interval_s >= 0.1,
    }
    if broken := [limit for limit, kept in limits.items() if not kept]:
        raise HostSettingsInvalid(f"host.json, extensions.queues: {'; '.join(broken)}")
    return options


def _lowered(content: dict[str, Any]) -> dict[str, Any]:
    """The same with names in lower case, but for the log categories, which are Python logger names here."""
    return {
        name.lower(): _lowered(value) if isinstance(value, dict) and name.lower() != "loglevel" else value
        for name, value in content.items()
    }


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise HostSettingsInvalid(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise HostSettingsInvalid(f"{path} must hold a JSON object")
    return content
