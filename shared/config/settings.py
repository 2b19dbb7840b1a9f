"""The app's settings, read once from the environment; all that is missing or wrong is reported together.

Which settings there are, and what they mean, is ``app_settings.py``; what a flow may be, ``model.py``. Nothing is read
at import: ``app.py`` calls ``read_settings`` on first use. Longer than other modules, because one reader collects all
problems.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from shared.config.alert_route import AlertRoute
from shared.config.app_settings import SETTINGS, THREADS
from shared.config.flows import Flows
from shared.config.integrations import SIMPLE_EXPORT, SIMPLE_IMPORT, from_simple, parse_integrations
from shared.config.problem import Problem
from shared.config.schedule import Schedule, parse_schedule
from shared.config.values import (
    Unfit,
    is_loopback,
    matches_name,
    parse_addresses,
    parse_drive,
    parse_environment_url,
    parse_flag,
    parse_service_url,
    parse_webhook_url,
)
from shared.errors import SettingsInvalid
from shared.secret import Secret, SecretUrl, redacted

APP_FOLDER: Final = Path(__file__).resolve().parent.parent

# Graph takes no more. https://learn.microsoft.com/graph/api/resources/subscription
MAX_CLIENT_STATE: Final = 128
MIN_CLIENT_STATE: Final = 16  # shorter ones can be guessed

# Azurite's account is the same everywhere and no secret.
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
AZURITE: Final = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
)


# Left out, they have their default; set to an empty text, there is nothing of the kind.
EMPTY_MEANS_NONE: Final = frozenset({"INPUT_FOLDER", "IMPORT_IGNORED_NAMES"})

# A setting that begins so and resembles one of ours is a misspelt one; anything else in the environment is not ours.
_OUR_PREFIXES: Final = (
    *("FO_", "GRAPH_", "ONEDRIVE_", "SIGN_IN_", "INPUT_", "PROCESSING_", "SUCCESS_", "ERROR_", "OUTPUT_", "IMPORT_"),
    *("EXPORT_", "OUTBOUND_", "ALERT_", "NOTIFICATION_", "CLIENT_ST", "CLIENT_SECRET_E", "SUBMIT_", "POLL_"),
    *("INTEGRATION", "DRAIN"),
)
_STAND_IN_URL: Final = "https://unknown.invalid"  # keeps a wrong FO_URL from being told as a missing one, too
_STAND_IN_DRIVE: Final = "drives/unknown"

_ADDRESS: Final = re.compile(r"[^@\s;,<>]+@[^@\s;,<>]+\.[^@\s;,<>]+")
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_CLIENT_ID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """How a person signs in, whose OneDrive the app then works in."""

    client_id: str  # an app registration that allows public client flows
    tenant: str  # id or domain; "consumers" for a personal OneDrive


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The app's own identity: a secret, a certificate, or (with neither) the managed identity that Azure gives it."""

    authority_host: str  # of Entra ID, with https://
    tenant_id: str = ""
    client_id: str = ""  # without a secret or certificate: that of a user-assigned managed identity, or empty
    client_secret: Secret | None = None
    certificate_path: Path | None = None  # PEM or PKCS12 with the private key
    certificate_password: Secret | None = None
    secret_expires: date | None = None  # the last day of the secret, in UTC, if somebody has said it


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """The app's storage account: a connection string, or two addresses that the app's identity may use."""

    connection_string: Secret | None = None
    blob_url: str = ""
    queue_url: str = ""
    client_id: str = ""  # of a user-assigned managed identity; empty for the system-assigned one
    names_credential: bool = False  # the host is told to use that identity too, and not whichever it finds first
    has_empty_text: bool = False  # an empty connection string stands beside the addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInForce:
    """A setting for a person to read."""

    name: str
    value: str  # "***" in the place of a secret
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is configured, checked."""

    flows: Flows
    graph_url: str  # without version and slash: "https://graph.microsoft.com"
    onedrive_sign_in: Literal["app", "user"]
    sign_in: SignIn | None  # there when onedrive_sign_in is "user"
    credentials: Credentials
    storage: StorageSettings
    outbound_schedule: Schedule | None  # for reading only, the host takes it from the environment itself
    notification_url: SecretUrl | None  # None: the app looks every minute and is not notified
    client_state: Secret | None  # there when notification_url is
    alerts: AlertRoute  # of all flows that name no way of their own; without any, alerts go to the log
    alert_sender: str  # empty: the mailbox of the signed-in user
    alert_webhook_secret: Secret | None  # base64, perhaps with "whsec_" before it
    alert_remind_after: timedelta | None  # None: nobody is reminded
    app_url: str  # where people reach the app, without a slash at the end; empty where nobody knows
    import_ignored_names: tuple[str, ...]  # patterns with * and ?, of what is left alone in an Input folder
    import_stuck_after: timedelta
    export_stuck_after: timedelta
    submit_grace_s: float  # how long F&O may take to know of an execution that was sent to it
    poll_stay_s: float  # how long a worker stays with a young execution; 0: not at all
    poll_first_s: float  # bounds of the growing wait between two looks at an execution
    poll_longest_s: float
    drain: bool  # nothing new is opened, claimed or submitted
    threads: int  # invocations that one process runs at the same time
    in_force: tuple[SettingInForce, ...] = field(compare=False)  # those that are set or have a default

    @property
    def is_mailed(self) -> bool:
        """Whether anybody is told of anything by e-mail."""
        routes = (self.alerts, *(flow.alerts for flow in self.flows.all))
        return any(route.recipient for route in routes)


def read_settings(environ: Mapping[str, str], *, app_folder: Path = APP_FOLDER) -> Settings:
    """Return the settings.

    environ: the environment; names are found in any case, as Windows needs. app_folder: where relative paths begin.
    Raises SettingsInvalid that lists everything that is missing or wrong, with examples and without secrets.
    """
    read = _Reader(environ)
    read.note_misspelt()
    onedrive_sign_in = _onedrive_sign_in(read)
    flows = _flows(read, app_folder)
    if onedrive_sign_in == "app" and "me/drive" in flows.drives:
        read.refuse("ONEDRIVE_SIGN_IN", "must be user if a drive is me/drive: an app has no OneDrive of its own.")
    if flows.exports or read.given("EXPORT_DATA_PROJECT"):
        read.require("OUTBOUND_SCHEDULE", "exports need it, and Azure reads it directly from the app settings")
    notification_url = read.optional("NOTIFICATION_URL", _parse_notification_url)
    if notification_url:
        read.require("CLIENT_STATE", "it proves that a notification comes from Graph, so NOTIFICATION_URL needs it")
    remind_after_hours = read.number("ALERT_REMIND_AFTER_HOURS", least=0, most=24 * 365)
    poll_first_s = read.number("POLL_FIRST_SECONDS", least=0.1, most=3600)
    poll_longest_s = read.number("POLL_LONGEST_SECONDS", least=0.1, most=3600)
    if poll_longest_s < poll_first_s:
        read.refuse("POLL_LONGEST_SECONDS", "must not be less than POLL_FIRST_SECONDS.")
    week_minutes = 7 * 24 * 60  # after a week F&O forgets executions and deletes their packages
    settings = Settings(
        flows=flows,
        graph_url=read.text("GRAPH_URL", parse_service_url),
        onedrive_sign_in=onedrive_sign_in,
        sign_in=_sign_in(read) if onedrive_sign_in == "user" else None,
        credentials=_credentials(read, app_folder),
        storage=_storage(read),
        outbound_schedule=read.optional("OUTBOUND_SCHEDULE", parse_schedule),
        notification_url=notification_url,
        client_state=read.optional("CLIENT_STATE", _parse_client_state),
        alerts=_alerts(read),
        alert_sender=read.text("ALERT_SENDER", _parse_address),
        alert_webhook_secret=read.optional("ALERT_WEBHOOK_SECRET", _parse_webhook_secret),
        alert_remind_after=timedelta(hours=remind_after_hours) if remind_after_hours else None,
        app_url=_app_url(read),
        import_ignored_names=_ignored_names(read),
        import_stuck_after=timedelta(minutes=read.number("IMPORT_STUCK_AFTER_MINUTES", least=0.01, most=week_minutes)),
        export_stuck_after=timedelta(minutes=read.number("EXPORT_STUCK_AFTER_MINUTES", least=0.01, most=week_minutes)),
        submit_grace_s=read.number("SUBMIT_GRACE_SECONDS", least=0, most=3600),
        poll_stay_s=read.number("POLL_STAY_SECONDS", least=0, most=60),
        poll_first_s=poll_first_s,
        poll_longest_s=poll_longest_s,
        drain=bool(read.optional("DRAIN", parse_flag)),
        threads=read.whole_number(THREADS, least=1, most=1000),
        in_force=tuple(read.in_force()),
    )
    if settings.is_mailed and onedrive_sign_in == "app":
        read.require("ALERT_SENDER", "ALERT_RECIPIENT is set, and an app has no mailbox of its own to send from")
    read.raise_problems()
    return settings


def ignored_names_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the patterns of IMPORT_IGNORED_NAMES alone. Raises SettingsInvalid."""
    read = _Reader(environ)
    names = _ignored_names(read)
    read.raise_problems()
    return names


# In INTEGRATIONS: whoever knows the address of a webhook can post to it.
_ALERT_ADDRESS: Final = re.compile(r'("alert\w+Url"\s*:\s*")[^"%][^"]*')


class _Reader:
    """Reads settings by name; what is wrong with them is noted, and reading goes on."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        # On Windows the environment's names are in capitals, whatever was written.
        self._values = {name.upper(): value.strip() for name, value in environ.items()}
        self._problems: list[Problem] = []

    def given(self, name: str) -> str:
        """Return what is set; empty where nothing is."""
        return self._values.get(SETTINGS[name].name.upper(), "")

    def anything(self, name: str) -> str:
        """Return what stands in the environment under any name, one that is none of ours included."""
        return self._values.get(name.upper(), "")

    def in_force(self) -> Iterator[SettingInForce]:
        """Return what is set or has a default, in the order of SETTINGS, without secrets."""
        is_simple = not self.given("INTEGRATIONS")
        has_import = is_simple and (self.given("INPUT_FOLDER") or not self.is_named("INPUT_FOLDER"))
        has_export = is_simple and self.given("EXPORT_DATA_PROJECT")
        unused = {*(() if has_import else SIMPLE_IMPORT), *(() if has_export else SIMPLE_EXPORT)}
        for setting in SETTINGS.values():
            value = self.given(setting.name)
            if setting.name in EMPTY_MEANS_NONE and not value and self.is_named(setting.name):
                continue
            if shown := value or ("" if setting.name in unused else setting.default):
                if setting.is_secret:
                    shown = repr(Secret(value))
                if setting.has_key and value:
                    shown = repr(SecretUrl(value))
                shown = _ALERT_ADDRESS.sub(r"\1***", redacted(shown))
                yield SettingInForce(name=setting.name, value=shown, is_default=not value)

    def is_named(self, name: str) -> bool:
        """Return whether the setting is there, if only as an empty text."""
        return name.upper() in self._values

    def text(self, name: str, parse: Callable[[str], str]) -> str:
        """Return the setting or its default, parsed; empty where both are or the setting is wrong."""
        value = self.given(name) or SETTINGS[name].default
        return self._parsed(name, value, parse) or "" if value else ""

    def optional[T](self, name: str, parse: Callable[[str], T]) -> T | None:
        """Return the setting parsed; None where it is not set or wrong."""
        value = self.given(name)
        return self._parsed(name, value, parse) if value else None

    def number(self, name: str, *, least: float, most: float) -> float:
        """Return a number within bounds; the default where it is wrong."""

        def parse(text: str) -> float:
            # No "1e3", no "inf", no blanks: what float() takes beyond this is more likely a mistake.
            if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) is None or not least <= float(text) <= most:
                raise Unfit(f"must be a number from {least:g} to {most:g}.")
            return float(text)

        default = SETTINGS[name].default
        value = self._parsed(name, self.given(name) or default, parse)
        return float(default) if value is None else value

    def whole_number(self, name: str, *, least: int, most: int) -> int:
        """Return a whole number within bounds; the default if it is wrong."""

        def parse(text: str) -> int:
            if re.fullmatch(r"\d+", text, re.ASCII) is None or not least <= int(text) <= most:
                raise Unfit(f"must be a whole number from {least} to {most}.")
            return int(text)

        default = SETTINGS[name].default
        value = self._parsed(name, self.given(name) or default, parse)
        return int(default) if value is None else value

    def require(self, name: str, why: str) -> None:
        """Note a setting that is not set."""
        if not self.given(name):
            self.refuse(name, f"is missing: {why}.")

    def refuse(self, name: str, wrong: str) -> None:
        """Note what is wrong with a setting, in words that go on where its name stops."""
        self.note(Problem(name, wrong, SETTINGS[name].example))

    def note(self, *problems: Problem) -> None:
        """Note problems that were found elsewhere."""
        self._problems += problems

    def note_misspelt(self) -> None:
        """Note names that are almost one of ours, which else would be passed over without a word."""
        for name in sorted(self._values):
            if name not in {known.upper() for known in SETTINGS} and name.startswith(_OUR_PREFIXES):
                close = get_close_matches(name, SETTINGS, n=1, cutoff=0.8)
                if close and not self.is_named(close[0]):
                    self.note(Problem(name, f"is not a setting of this app. Did you mean {close[0]}?"))

    def raise_problems(self) -> None:
        """Raise SettingsInvalid if anything was noted."""
        problems = list(dict.fromkeys(self._problems))
        if not problems:
            return
        head = "One setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        listed = "".join(f"\n- {problem}" for problem in problems)
        raise SettingsInvalid(f"{head} missing or wrong (all are described in docs/settings.md):{listed}")

    def _parsed[T](self, name: str, value: str, parse: Callable[[str], T]) -> T | None:
        try:
            if value.startswith("@Microsoft.KeyVault("):
                # https://learn.microsoft.com/azure/app-service/app-service-key-vault-references
                raise Unfit("is a Key Vault reference that Azure could not resolve. Let the app's identity read it.")
            return parse(value)
        except Unfit as unfit:
            self.refuse(name, str(unfit))
            return None


def _flows(read: _Reader, app_folder: Path) -> Flows:
    environment_url = read.text("FO_URL", parse_environment_url) or (_STAND_IN_URL if read.given("FO_URL") else "")
    drive = read.text("ONEDRIVE_DRIVE", parse_drive) or (_STAND_IN_DRIVE if read.given("ONEDRIVE_DRIVE") else "")
    parsed: Flows | list[Problem] = []
    if read.given("INTEGRATIONS"):
        simple = [name for name in (*SIMPLE_IMPORT, *SIMPLE_EXPORT) if read.given(name)]
        if simple:
            read.refuse(
                "INTEGRATIONS", f"conflicts with {', '.join(simple)}: move those into it and delete them, or delete it."
            )
        text = read.text("INTEGRATIONS", lambda given: _json_text(given, app_folder))
        if text:
            parsed = parse_integrations(text, environment_url=environment_url, drive=drive, setting=read.anything)
    else:
        parsed = from_simple(_simple_values(read), environment_url=environment_url, drive=drive)
    if isinstance(parsed, Flows):
        return parsed
    read.note(*parsed)
    return Flows()


def _simple_values(read: _Reader) -> dict[str, str]:
    values = {name: read.given(name) for name in (*SIMPLE_IMPORT, *SIMPLE_EXPORT)}
    # Left out, the Input folder has its default; set to nothing, there is no import.
    if not read.is_named("INPUT_FOLDER"):
        values["INPUT_FOLDER"] = SETTINGS["INPUT_FOLDER"].default
    if not values["OUTPUT_FOLDER"]:
        values["OUTPUT_FOLDER"] = SETTINGS["OUTPUT_FOLDER"].default
    return values


def _json_text(given: str, app_folder: Path) -> str:
    """Return the text that INTEGRATIONS is, or that of the file whose path it is."""
    text = given.removeprefix("\ufeff").lstrip()
    if text.startswith(("{", "[")):
        return text  # an editor on Windows may have put a byte order mark in front
    try:
        text = (app_folder / given).read_text(encoding="utf-8-sig")  # editors on Windows put a byte order mark in front
    except (OSError, ValueError):  # ValueError: no UTF-8, or a path with a NUL
        raise Unfit("is neither JSON nor the path of a file in the app that can be read as UTF-8.") from None
    if not text.strip():
        raise Unfit("is the path of an empty file.")
    return text


def _onedrive_sign_in(read: _Reader) -> Literal["app", "user"]:
    match read.given("ONEDRIVE_SIGN_IN").casefold():
        case "user":
            return "user"
        case "" | "app":
            return "app"
        case _:
            read.refuse(
                "ONEDRIVE_SIGN_IN", "must be app (the app's own identity) or user (a person who signs in once)."
            )
            return "app"


def _ignored_names(read: _Reader) -> tuple[str, ...]:
    name = "IMPORT_IGNORED_NAMES"
    if not read.given(name) and read.is_named(name):
        return ()
    return tuple(part.strip() for part in read.text(name, _parse_names).split(";") if part.strip())


# Names that have nothing in common but what all packages have. A pattern that means both leaves every package alone.
_ANY_PACKAGES: Final = ("USMF_Customers_001.zip", "dat.zip")


def _parse_names(text: str) -> str:
    for part in (part.strip() for part in text.split(";")):
        if "/" in part or "\\" in part:
            raise Unfit(f"holds {part}, which is a path: use names of files or folders in the Input folder.")
        if part and all(matches_name(name, (part,)) for name in _ANY_PACKAGES):
            raise Unfit(f"holds {part}, which matches every package: nothing would be imported.")
    return text


def _alerts(read: _Reader) -> AlertRoute:
    return AlertRoute(
        recipient=read.text("ALERT_RECIPIENT", parse_addresses),
        teams_url=read.optional("ALERT_TEAMS_URL", parse_webhook_url),
        webhook_url=read.optional("ALERT_WEBHOOK_URL", parse_webhook_url),
    )


def _app_url(read: _Reader) -> str:
    """Return the app's own address: the one that is set, else the one that Azure (and Core Tools) give it."""
    if read.given("APP_URL"):
        return read.text("APP_URL", parse_service_url)
    host = read.given("WEBSITE_HOSTNAME")
    if not host:
        return ""
    # https://learn.microsoft.com/azure/app-service/reference-app-settings#app-environment
    scheme = "http" if is_loopback(_host_of(f"http://{host}")) else "https"
    return read.text("WEBSITE_HOSTNAME", lambda given: parse_service_url(f"{scheme}://{given}"))


def _sign_in(read: _Reader) -> SignIn:
    read.require("SIGN_IN_CLIENT_ID", "ONEDRIVE_SIGN_IN is user")
    read.require("SIGN_IN_TENANT", "ONEDRIVE_SIGN_IN is user")
    return SignIn(
        client_id=read.text("SIGN_IN_CLIENT_ID", _parse_client_id), tenant=read.text("SIGN_IN_TENANT", _parse_tenant)
    )


def _credentials(read: _Reader, app_folder: Path) -> Credentials:
    secret = read.optional("AZURE_CLIENT_SECRET", Secret)
    path = read.optional("AZURE_CLIENT_CERTIFICATE_PATH", lambda text: app_folder / text)
    if secret and path:
        read.refuse("AZURE_CLIENT_CERTIFICATE_PATH", "conflicts with AZURE_CLIENT_SECRET: set only one of them.")
    if path and not path.is_file():
        read.refuse("AZURE_CLIENT_CERTIFICATE_PATH", "is not the path of a file.")
    if secret or path:
        kind = "AZURE_CLIENT_SECRET" if secret else "AZURE_CLIENT_CERTIFICATE_PATH"
        read.require("AZURE_TENANT_ID", f"{kind} is set")
        read.require("AZURE_CLIENT_ID", f"{kind} is set")
    return Credentials(
        authority_host=read.text("AZURE_AUTHORITY_HOST", _parse_authority),
        tenant_id=read.text("AZURE_TENANT_ID", _parse_tenant),
        client_id=read.text("AZURE_CLIENT_ID", _parse_client_id),
        client_secret=secret,
        certificate_path=path,
        certificate_password=read.optional("AZURE_CLIENT_CERTIFICATE_PASSWORD", Secret),
        secret_expires=read.optional("CLIENT_SECRET_EXPIRES", _parse_date),
    )


def _storage(read: _Reader) -> StorageSettings:
    # The names are those of the Functions host, which works with the same account.
    # https://learn.microsoft.com/azure/azure-functions/functions-reference#connecting-to-host-storage-with-an-identity
    connection_string = read.optional("AzureWebJobsStorage", _parse_connection_string)
    account = read.text("AzureWebJobsStorage__accountName", _parse_account)
    blob_url = read.text("AzureWebJobsStorage__blobServiceUri", _parse_storage_url)
    queue_url = read.text("AzureWebJobsStorage__queueServiceUri", _parse_storage_url)
    if read.given("AzureWebJobsStorage__credential").casefold() not in {"", "managedidentity"}:
        read.refuse("AzureWebJobsStorage__credential", "must be managedidentity, or not set.")
    identity_names = [
        name
        for name in (
            "AzureWebJobsStorage__accountName",
            "AzureWebJobsStorage__blobServiceUri",
            "AzureWebJobsStorage__queueServiceUri",
        )
        if read.given(name)
    ]
    if identity_names and read.given("AzureWebJobsStorage"):
        read.refuse("AzureWebJobsStorage", f"conflicts with {', '.join(identity_names)}: set one or the other.")
    elif not identity_names:
        read.require("AzureWebJobsStorage", "the app keeps its runs and messages there")
    elif not read.given("AzureWebJobsStorage__accountName"):
        read.require("AzureWebJobsStorage__blobServiceUri", "only the queue's address is set")
        read.require("AzureWebJobsStorage__queueServiceUri", "only the blobs' address is set")
    return StorageSettings(
        connection_string=connection_string,
        blob_url=blob_url or (f"https://{account}.blob.core.windows.net" if account else ""),
        queue_url=queue_url or (f"https://{account}.queue.core.windows.net" if account else ""),
        client_id=read.text("AzureWebJobsStorage__clientId", _parse_client_id),
        names_credential=bool(read.given("AzureWebJobsStorage__credential")),
        has_empty_text=bool(identity_names) and connection_string is None and read.is_named("AzureWebJobsStorage"),
    )


def _parse_connection_string(text: str) -> Secret:
    parts = {
        key.strip().casefold(): value.strip()
        for key, separator, value in (part.partition("=") for part in text.split(";"))
        if separator
    }
    if parts.get("usedevelopmentstorage", "").casefold() == "true":
        return Secret(AZURITE)
    has_key = "accountname" in parts and "accountkey" in parts
    has_signature = "sharedaccesssignature" in parts and {"blobendpoint", "queueendpoint"} <= parts.keys()
    if not has_key and not has_signature:
        raise Unfit(
            "must be a storage account's connection string (with AccountName and AccountKey) or "
            "UseDevelopmentStorage=true."
        )
    return Secret(text)


def _parse_storage_url(text: str) -> str:
    # Azurite's addresses have the account as their path.
    path = "/" + text.partition("://")[2].partition("/")[2].strip("/")
    return parse_service_url(text, paths=(path,) if is_loopback(_host_of(text)) else ())


def _parse_account(text: str) -> str:
    if _ACCOUNT.fullmatch(text) is None:
        raise Unfit("must be a storage account's name: 3 to 24 lowercase letters and digits.")
    return text


def _parse_notification_url(text: str) -> SecretUrl:
    address, _, _query = text.partition("?")
    path = "/" + address.partition("://")[2].partition("/")[2].strip("/")
    parse_service_url(address, paths=(path,))
    if "#" in text or any(character.isspace() for character in text):
        raise Unfit("must be a URL without '#' and spaces.")
    if path == "/":
        raise Unfit("must be the whole address of the function receive_notification, with its path and key.")
    return SecretUrl(text)


def _parse_client_state(text: str) -> Secret:
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if not is_plain or not MIN_CLIENT_STATE <= len(text) <= MAX_CLIENT_STATE:
        raise Unfit(
            f"must be {MIN_CLIENT_STATE} to {MAX_CLIENT_STATE} ASCII letters, digits or punctuation, without spaces."
        )
    return Secret(text)


def _parse_authority(text: str) -> str:
    return parse_service_url(text if "://" in text else f"https://{text}")


def _parse_tenant(text: str) -> str:
    if _TENANT.fullmatch(text) is None:
        raise Unfit("must be a tenant's id or domain.")
    return text


def _parse_client_id(text: str) -> str:
    if _CLIENT_ID.fullmatch(text) is None:
        raise Unfit("must be a client id, five groups of hexadecimal digits.")
    return text


def _parse_address(text: str) -> str:
    if _ADDRESS.fullmatch(text) is None:
        raise Unfit("must be an e-mail address.")
    return text


def _parse_webhook_secret(text: str) -> Secret:
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not 24 <= len(key) <= 64:
        raise Unfit("must be 24 to 64 random bytes as base64, with or without 'whsec_' before them.")
    return Secret(text)


def _parse_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Unfit("must be a date: year-month-day.") from None


def _host_of(text: str) -> str:
    try:
        return urlsplit(text).hostname or ""
    except ValueError:
        return ""
