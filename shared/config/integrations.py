"""What the user configured: which OneDrive folders go into which F&O environment, and which exports come back.

There is one model. ``INTEGRATIONS`` (JSON, described by ``docs/integrations.schema.json``) holds any number of flows;
the simple settings of one import and one export are turned into the same JSON shape first, so that both are read and
checked by the same lines. Pure: reading files and the environment is ``shared/config/settings.py``. Longer than other
modules, because one parser checks flows against each other and collects all problems.
"""

import hashlib
import ipaddress
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from shared.errors import NeedsPerson
from shared.runs.lane import LANE_PREFIX
from shared.runs.states import Direction
from shared.secret import SecretUrl

MAX_FLOW_NAME: Final = 60  # characters
MAX_DATA_PROJECT: Final = 128  # Assumed: F&O's own limit is lower (40 to 60 by hearsay), and F&O says so itself
MAX_FOLDER: Final = 400  # OneDrive's limit of a decoded path
MAX_EVERY_S: Final = 7 * 24 * 3600

# How the settings of one import and one export are called in the JSON's shape.
SIMPLE_IMPORT: Final[Mapping[str, str]] = {
    "INPUT_FOLDER": "inputFolder",
    "PROCESSING_FOLDER": "processingFolder",
    "SUCCESS_FOLDER": "successFolder",
    "ERROR_FOLDER": "errorFolder",
    "IMPORT_DATA_PROJECT": "dataProject",
    "IMPORT_COMPANY": "company",
    "IMPORT_OVERWRITE": "overwrite",
    "IMPORT_STRICT_ORDER": "strictOrder",
}
SIMPLE_EXPORT: Final[Mapping[str, str]] = {
    "EXPORT_DATA_PROJECT": "dataProject",
    "EXPORT_COMPANY": "company",
    "OUTPUT_FOLDER": "outputFolder",
}
_FLAGS: Final = frozenset({"overwrite", "strictOrder"})
# Where a folder lies that is not configured: beside the import's Input.
SIBLINGS: Final[Mapping[str, str]] = {
    "processingFolder": "Processing",
    "successFolder": "Success",
    "errorFolder": "Error",
}

# Who is told of a flow's trouble, where it is not who is told of all others'.
ALERT_KEYS: Final = ("alertRecipient", "alertTeamsUrl", "alertWebhookUrl")

_IMPORT_KEYS: Final = (
    "name",
    "environmentUrl",
    "drive",
    "inputFolder",
    *SIBLINGS,
    "dataProject",
    "company",
    "overwrite",
    "strictOrder",
    *ALERT_KEYS,
)
_EXPORT_KEYS: Final = (
    "name",
    "environmentUrl",
    "drive",
    "outputFolder",
    "dataProject",
    "company",
    "everySeconds",
    *ALERT_KEYS,
)
_DOCUMENT_KEYS: Final = ("$schema", "imports", "exports")

EXAMPLE_URL: Final = "https://contoso.operations.dynamics.com"
EXAMPLE_DRIVE: Final = "users/integration@contoso.com/drive"
_EXAMPLES: Final[Mapping[str, str]] = {
    "name": "customers",
    "environmentUrl": EXAMPLE_URL,
    "drive": EXAMPLE_DRIVE,
    "inputFolder": "Integrations/Customers/Input",
    "processingFolder": "Integrations/Customers/Processing",
    "successFolder": "Integrations/Customers/Success",
    "errorFolder": "Integrations/Customers/Error",
    "outputFolder": "Integrations/Customers/Output",
    "dataProject": "Asset-Major-Types",
    "company": "USMF",
    "overwrite": "true",
    "strictOrder": "true",
    "everySeconds": "3600",
    "alertRecipient": "finance@contoso.com",
    "alertTeamsUrl": "%FINANCE_TEAMS_URL%",
    "alertWebhookUrl": "%FINANCE_WEBHOOK_URL%",
}

_ADDRESS: Final = re.compile(r"[^@\s;,<>]+@[^@\s;,<>]+\.[^@\s;,<>]+")
_SETTING_NAME: Final = re.compile(r"%([A-Za-z0-9_.:-]+)%")
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9 _.-]{{0,{MAX_FLOW_NAME - 1}}}")
_COMPANY: Final = re.compile(r"[A-Za-z0-9]{1,4}")
_DRIVE: Final = re.compile(r"drives/[A-Za-z0-9!_.~-]+|users/[A-Za-z0-9'._!^~@+-]+/drive|me/drive")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
# https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint
_FORBIDDEN_CHARACTERS: Final = re.compile(r'["*:<>?|\x00-\x1f]')
_FORBIDDEN_NAMES: Final = re.compile(r"(?i)\.|\.\.|\.lock|con|prn|aux|nul|com\d|lpt\d|desktop\.ini|~.*|.*_vti_.*")


class Unfit(ValueError):
    """A configured value that cannot be used; the text goes on where "<setting> " stops: "must be ..."."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is missing or wrong in the configuration."""

    setting: str  # "FO_URL", or "INTEGRATIONS, imports[0].company"
    wrong: str  # goes on where the name stops: "is missing."
    example: str = ""

    def __str__(self) -> str:
        return f"{self.setting} {self.wrong}" + (f" Example: {self.example}" if self.example else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRoute:
    """Whom alerts go to: any number of these ways at once."""

    recipient: str = ""  # one e-mail address or several with ";" between them
    teams_url: SecretUrl | None = None
    webhook_url: SecretUrl | None = None

    def with_defaults(self, general: "AlertRoute") -> "AlertRoute":
        """Return this route, with the general one's channel wherever this one names none."""
        return AlertRoute(
            **{each.name: getattr(self, each.name) or getattr(general, each.name) for each in fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFlow:
    """One Input folder whose packages go into one F&O environment."""

    name: str  # unique among all flows; for people and logs
    environment_url: str  # without a slash at the end
    drive: str  # "drives/<id>", "users/<name>/drive" or "me/drive"
    input_folder: str  # all four are absolute paths in the drive: "/Integrations/Input"
    processing_folder: str
    success_folder: str
    error_folder: str
    data_project: str = ""  # empty: the package's own
    company: str = ""  # empty: from the file's name
    overwrite: bool = True  # whether F&O may replace the data project's definition; no matter of rows
    strict_order: bool = False  # whether a file that cannot go on stops the lane, instead of being passed by others
    alerts: AlertRoute = AlertRoute()  # what it leaves open is the app's own

    @property
    def lane(self) -> str:
        """Return the name under which runs of one data project of one environment queue up."""
        return _lane(Direction.IMPORT, self.environment_url, self.data_project, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFlow:
    """One data project whose exports go into one OneDrive folder."""

    name: str
    environment_url: str
    drive: str
    output_folder: str
    data_project: str
    company: str
    every_s: int = 0  # least seconds between two starts; 0: at every tick of the timer
    alerts: AlertRoute = AlertRoute()  # what it leaves open is the app's own

    @property
    def lane(self) -> str:
        """Return the name under which exports of this data project queue up."""
        return _lane(Direction.EXPORT, self.environment_url, self.data_project, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """All flows, checked against each other."""

    imports: tuple[ImportFlow, ...] = ()
    exports: tuple[ExportFlow, ...] = ()

    @property
    def all(self) -> tuple[ImportFlow | ExportFlow, ...]:
        """All flows, imports first."""
        return (*self.imports, *self.exports)

    @property
    def drives(self) -> tuple[str, ...]:
        """Return the drives that are watched or written to, each once."""
        return tuple(dict.fromkeys(flow.drive for flow in self.all))

    def named(self, name: str) -> ImportFlow | ExportFlow | None:
        """Return the flow of that name; None if it is not configured (any more)."""
        return next((flow for flow in self.all if flow.name == name), None)

    def import_named(self, name: str) -> ImportFlow | None:
        """Return the import of that name; None if it is not configured (any more)."""
        return next((flow for flow in self.imports if flow.name == name), None)

    def export_named(self, name: str) -> ExportFlow | None:
        """Return the export of that name; None if it is not configured (any more)."""
        return next((flow for flow in self.exports if flow.name == name), None)

    def require_import(self, name: str) -> ImportFlow:
        """Return the import of that name. Raises NeedsPerson if it is not configured any more."""
        if flow := self.import_named(name):
            return flow
        raise NeedsPerson(
            f"The settings no longer have an import named '{name}', but one of its files is still open. Add it again."
        )

    def require_export(self, name: str) -> ExportFlow:
        """Return the export of that name. Raises NeedsPerson if it is not configured any more."""
        if flow := self.export_named(name):
            return flow
        raise NeedsPerson(f"The settings no longer have an export named '{name}', but one is still open. Add it again.")

    def leads_to_ours(self, drive: str, folder: str, name: str) -> bool:
        """Return whether what has this name in a folder is a folder of the settings, or one of them lies in it."""
        within = f"{_folded(folder)}/{_folded(name)}/"
        paths = (path for flow in self.all if flow.drive == drive for path in _paths(flow))
        return any(f"{_folded(path)}/".startswith(within) for path in paths)


def matches_name(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name is one of those that the patterns mean: * stands for any letters, ? for one.

    Case does not count, as in OneDrive.
    """
    return any(fnmatchcase(_folded(name), _folded(pattern).replace("[", "[[]")) for pattern in patterns)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def parse_integrations(
    text: str, *, environment_url: str = "", drive: str = "", setting: Callable[[str], str] = lambda _name: ""
) -> Flows | list[Problem]:
    """Return the flows of an INTEGRATIONS text, or all that is wrong with it.

    environment_url, drive: stand in for flows that name none of their own; parsed already. setting: returns the app
    setting of a name, "" where there is none; by it secrets stay out of the text.
    """
    try:
        document = json.loads(text, object_pairs_hook=_object_of)
    except Unfit as unfit:
        return [Problem("INTEGRATIONS", str(unfit))]
    except (ValueError, RecursionError) as error:
        where = f" ({error})" if isinstance(error, json.JSONDecodeError) else ""
        return [Problem("INTEGRATIONS", f"is not JSON{where}.", _DOCUMENT_EXAMPLE)]
    defaults = {"environmentUrl": environment_url, "drive": drive}
    return _read_document(document, defaults, lambda path: f"INTEGRATIONS, {path}" if path else "INTEGRATIONS", setting)


def from_simple(values: Mapping[str, str], *, environment_url: str = "", drive: str = "") -> Flows | list[Problem]:
    """Return the one import and the one export of the simple settings, or all that is wrong with them.

    values: by setting name. INPUT_FOLDER empty means no import, EXPORT_DATA_PROJECT empty no export; other settings may
    be left out or empty. environment_url, drive: FO_URL and ONEDRIVE_DRIVE, parsed; empty where missing.
    """
    labels: dict[str, str] = {}
    document: dict[str, object] = {}
    if values.get("INPUT_FOLDER"):
        document["imports"] = [_simple_flow("imports", "import", SIMPLE_IMPORT, values, labels)]
    # EXPORT_COMPANY alone is an export that somebody began to configure.
    if values.get("EXPORT_DATA_PROJECT") or values.get("EXPORT_COMPANY"):
        document["exports"] = [_simple_flow("exports", "export", SIMPLE_EXPORT, values, labels)]
    if not document:
        wrong = (
            "are both empty, so there is nothing to do. Set the import's folder, the export's data project, or both."
        )
        return [Problem("INPUT_FOLDER and EXPORT_DATA_PROJECT", wrong, "INPUT_FOLDER=Input")]
    defaults = {"environmentUrl": environment_url, "drive": drive}
    return _read_document(document, defaults, lambda path: labels.get(path, path))


def parse_service_url(text: str, *, paths: Sequence[str] = ()) -> str:
    """Return the address of a service without a slash at its end; http is taken on this machine only.

    paths: what may stand behind the host, such as "/namespaces/AXSF". Raises Unfit.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Unfit("is not a URL.") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise Unfit("must be a URL that begins with https://.")
    shown_host = f"[{host}]" if ":" in host else host
    if _HOST.fullmatch(shown_host) is None:
        raise Unfit("is not a URL: its host contains invalid characters.")
    if parts.scheme == "http" and not is_loopback(host):
        raise Unfit("must begin with https://; http is allowed only for this machine.")
    if "@" in parts.netloc:
        raise Unfit("must not hold a user name or password.")
    if parts.query or parts.fragment:
        raise Unfit("must be the address only, without '?', '#' and what follows them.")
    path = parts.path.rstrip("/")
    known = next((each for each in ("", *paths) if each.casefold() == path.casefold()), None)
    if known is None:
        allowed = f" other than {paths[0]}" if paths else ""
        raise Unfit(f"must be the address only, without a path{allowed}.")
    return f"{parts.scheme}://{shown_host}{'' if port is None else f':{port}'}{known}"


def parse_environment_url(text: str) -> str:
    """Return the address of an F&O environment. Raises Unfit."""
    # On-premises environments answer below /namespaces/AXSF.
    # https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/data-management-api
    return parse_service_url(text, paths=("/namespaces/AXSF",))


def parse_drive(text: str) -> str:
    """Return a drive as it stands in Graph's URLs; takes a bare drive id or user name too. Raises Unfit.

    >>> parse_drive("integration@contoso.com")
    'users/integration@contoso.com/drive'
    """
    drive = text.strip("/").removesuffix("/root")
    if drive.startswith("b!"):
        drive = f"drives/{drive}"
    elif "@" in drive and "/" not in drive:
        drive = f"users/{drive}/drive"
    if _DRIVE.fullmatch(drive) is None:
        raise Unfit("must be drives/<drive id>, users/<user principal name>/drive or me/drive.")
    return drive


def parse_folder(text: str) -> str:
    """Return a folder as an absolute path in its drive; slashes around and between are tolerated. Raises Unfit.

    >>> parse_folder("Integrations\\\\Input/")
    '/Integrations/Input'
    """
    names = [name for name in text.replace("\\", "/").split("/") if name]
    if not names:
        raise Unfit("must name a folder; the drive's root itself cannot be used.")
    for name in names:
        if _FORBIDDEN_CHARACTERS.search(name):
            raise Unfit('has a character that OneDrive does not allow: one of " * : < > ? | or a control character.')
        if name != name.strip() or name.endswith("."):
            raise Unfit("has a name that begins or ends with a space, or ends with a dot, which OneDrive refuses.")
        if _FORBIDDEN_NAMES.fullmatch(name) or not name.isprintable():
            raise Unfit("has a name that OneDrive reserves.")
    if names[0].casefold() == "forms":
        raise Unfit("begins with 'Forms', a name that OneDrive reserves.")
    folder = "/" + "/".join(names)
    if len(folder) > MAX_FOLDER:
        raise Unfit(f"is longer than the {MAX_FOLDER} characters of a path in OneDrive.")
    return folder


def parse_addresses(text: str) -> str:
    """Return e-mail addresses with ";" between them. Raises Unfit."""
    addresses = [part.strip() for part in re.split("[;,]", text) if part.strip()]
    if not addresses or any(_ADDRESS.fullmatch(address) is None for address in addresses):
        raise Unfit("must be an e-mail address, or several separated by ';'.")
    return ";".join(addresses)


def parse_webhook_url(text: str) -> SecretUrl:
    """Return an address that is to be called as it is, with the keys in it. Raises Unfit."""
    address = text.partition("?")[0]
    path = "/" + address.partition("://")[2].partition("/")[2].strip("/")
    parse_service_url(address, paths=(path,))
    if "#" in text or not text.isascii() or not text.isprintable() or " " in text:
        raise Unfit("must be a URL in ASCII, without '#' and spaces.")
    return SecretUrl(text)


def parse_company(text: str) -> str:
    """Return a company in capitals. Raises Unfit."""
    if _COMPANY.fullmatch(text) is None:
        raise Unfit("must be a company's id, 1 to 4 letters or digits.")
    return text.upper()


def parse_data_project(text: str) -> str:
    """Return a data project's name as it is. Raises Unfit."""
    if not text.isprintable() or text != text.strip() or not 0 < len(text) <= MAX_DATA_PROJECT:
        raise Unfit(
            f"must be a data project's name: 1 to {MAX_DATA_PROJECT} printable characters, without spaces around it."
        )
    return text


def parse_flag(text: str) -> bool:
    """Return true or false as people write it in app settings. Raises Unfit."""
    match text.casefold():
        case "true" | "1" | "yes":
            return True
        case "false" | "0" | "no":
            return False
        case _:
            raise Unfit("must be true or false.")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, without asking DNS."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_DOCUMENT_EXAMPLE: Final = '{"imports": [{"name": "customers", "inputFolder": "Integrations/Customers/Input"}]}'


def _object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object. Raises Unfit for a name that it gives twice: JSON's readers pass over the first one."""
    item: dict[str, object] = {}
    for key, value in pairs:
        if key in item:
            raise Unfit(f"names '{key[:MAX_FLOW_NAME]}' twice in one object; the first would be ignored. Remove one.")
        item[key] = value
    return item


def _simple_flow(
    kind: str, name: str, keys: Mapping[str, str], values: Mapping[str, str], labels: dict[str, str]
) -> dict[str, object]:
    """Return one flow in the JSON's shape, and note which setting each of its values comes from."""
    labels |= {f"{kind}[0].{key}": setting for setting, key in keys.items()}
    labels |= {f"{kind}[0].environmentUrl": "FO_URL", f"{kind}[0].drive": "ONEDRIVE_DRIVE"}
    flow: dict[str, object] = {"name": name}
    for setting, key in keys.items():
        if value := values.get(setting):
            flow[key] = _flag_or_text(value) if key in _FLAGS else value
    return flow


def _flag_or_text(text: str) -> bool | str:
    try:
        return parse_flag(text)
    except Unfit:
        return text  # where a flag is due, the flow's reader will say so


def _read_document(
    document: object,
    defaults: Mapping[str, str],
    label: Callable[[str], str],
    setting: Callable[[str], str] = lambda _name: "",
) -> Flows | list[Problem]:
    if not isinstance(document, dict):
        return [Problem(label(""), "must be a JSON object.", _DOCUMENT_EXAMPLE)]
    problems = _unknown_keys(document, _DOCUMENT_KEYS, "", label)
    if not isinstance(document.get("$schema", ""), str):
        problems.append(Problem(label("$schema"), "must be text."))
    imports = [
        _read_import(_FlowReader(item, f"imports[{number}]", _IMPORT_KEYS, defaults, label, setting, problems))
        for number, item in _items(document, "imports", label, problems)
    ]
    exports = [
        _read_export(_FlowReader(item, f"exports[{number}]", _EXPORT_KEYS, defaults, label, setting, problems))
        for number, item in _items(document, "exports", label, problems)
    ]
    if not problems and not imports and not exports:
        problems.append(Problem(label(""), "contains neither an import nor an export.", _DOCUMENT_EXAMPLE))
    if not problems:
        problems = [*_name_problems(imports, exports, label), *_import_problems(imports, label)]
        problems += _export_problems(exports, label)
    if problems:
        return list(dict.fromkeys(problems))  # FO_URL may be missing in both flows; once is enough
    return Flows(imports=tuple(imports), exports=tuple(exports))


def _items(
    document: Mapping[str, object], kind: str, label: Callable[[str], str], problems: list[Problem]
) -> Iterable[tuple[int, dict[str, object]]]:
    listed = document.get(kind, [])
    if not isinstance(listed, list):
        problems.append(Problem(label(kind), "must be a list.", _DOCUMENT_EXAMPLE))
        return
    for number, item in enumerate(listed):
        if isinstance(item, dict):
            yield number, item
        else:
            problems.append(Problem(label(f"{kind}[{number}]"), "must be an object.", _DOCUMENT_EXAMPLE))


def _unknown_keys(
    item: Mapping[str, object], known: Sequence[str], path: str, label: Callable[[str], str]
) -> list[Problem]:
    problems = []
    for key in item:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else f" Known keys: {', '.join(known)}."
            problems.append(Problem(label(f"{path}.{key}" if path else key), f"is unknown.{hint}"))
    return problems


class _FlowReader:
    """Reads the values of one flow; what is wrong with them goes to the list of problems, and reading goes on."""

    def __init__(
        self,
        item: Mapping[str, object],
        path: str,
        known: Sequence[str],
        defaults: Mapping[str, str],
        label: Callable[[str], str],
        setting: Callable[[str], str],
        problems: list[Problem],
    ) -> None:
        self._item = item
        self._path = path
        self._defaults = defaults
        self._label = label
        self._setting = setting
        self._problems = problems
        problems += _unknown_keys(item, known, path, label)

    def required(self, key: str, parse: Callable[[str], str]) -> str:
        return self._text(key, parse) or self._note(key, "is missing.")

    def optional(self, key: str, parse: Callable[[str], str], default: str = "") -> str:
        value = self._text(key, parse)
        return default if value is None else value

    def defaulted(self, key: str, parse: Callable[[str], str], setting: str) -> str:
        value = self.optional(key, parse, self._defaults[key])
        # In the simple settings, the setting itself is what is missing.
        is_itself = self._label(f"{self._path}.{key}") == setting
        return value or self._note(key, "is missing." if is_itself else f"is missing, and so is {setting}.")

    def alerts(self) -> AlertRoute:
        return AlertRoute(
            recipient=self.optional("alertRecipient", parse_addresses),
            teams_url=self._webhook_url("alertTeamsUrl"),
            webhook_url=self._webhook_url("alertWebhookUrl"),
        )

    def _webhook_url(self, key: str) -> SecretUrl | None:
        """Return an address that is a key in itself, so that it may stand in an app setting: %NAME% stands for it."""
        value = self.optional(key, str)
        if not value:
            return None
        if named := _SETTING_NAME.fullmatch(value):
            value = self._setting(named[1])
            if not value:
                self._note(key, f"refers to the app setting {named[1]}, which is not set.")
                return None
        try:
            return parse_webhook_url(value)
        except Unfit as unfit:
            self._note(key, str(unfit))
            return None

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._item.get(key, default)
        if not isinstance(value, bool):
            self._note(key, "must be true or false.")
        return value is True

    def seconds(self, key: str) -> int:
        value = self._item.get(key, 0)
        match value:
            case bool():  # Python counts true as 1
                pass
            case int() | float() if 0 <= value <= MAX_EVERY_S and value == int(value):  # in JSON, 60.0 is 60
                return int(value)
        self._note(key, f"must be a whole number of seconds from 0 to {MAX_EVERY_S}.")
        return 0

    def _text(self, key: str, parse: Callable[[str], str]) -> str | None:
        """Return the parsed value; None where it is left out. A wrong one is noted and stands in as it is."""
        value = self._item.get(key)
        if key not in self._item or value == "":
            return None
        if not isinstance(value, str):
            self._note(key, "must be text.")
            return "?"
        try:
            return parse(value)
        except Unfit as unfit:
            self._note(key, str(unfit))
            return value

    def _note(self, key: str, wrong: str) -> str:
        self._problems.append(Problem(self._label(f"{self._path}.{key}"), wrong, _EXAMPLES[key]))
        return ""


def _read_import(reader: _FlowReader) -> ImportFlow:
    input_folder = reader.required("inputFolder", parse_folder)
    beside = input_folder.rpartition("/")[0]
    return ImportFlow(
        name=reader.required("name", _parse_name),
        environment_url=reader.defaulted("environmentUrl", parse_environment_url, "FO_URL"),
        drive=reader.defaulted("drive", parse_drive, "ONEDRIVE_DRIVE"),
        input_folder=input_folder,
        processing_folder=reader.optional("processingFolder", parse_folder, f"{beside}/{SIBLINGS['processingFolder']}"),
        success_folder=reader.optional("successFolder", parse_folder, f"{beside}/{SIBLINGS['successFolder']}"),
        error_folder=reader.optional("errorFolder", parse_folder, f"{beside}/{SIBLINGS['errorFolder']}"),
        data_project=reader.optional("dataProject", parse_data_project),
        company=reader.optional("company", parse_company),
        overwrite=reader.flag("overwrite", default=True),
        strict_order=reader.flag("strictOrder", default=False),
        alerts=reader.alerts(),
    )


def _read_export(reader: _FlowReader) -> ExportFlow:
    return ExportFlow(
        name=reader.required("name", _parse_name),
        environment_url=reader.defaulted("environmentUrl", parse_environment_url, "FO_URL"),
        drive=reader.defaulted("drive", parse_drive, "ONEDRIVE_DRIVE"),
        output_folder=reader.required("outputFolder", parse_folder),
        data_project=reader.required("dataProject", parse_data_project),
        company=reader.required("company", parse_company),
        every_s=reader.seconds("everySeconds"),
        alerts=reader.alerts(),
    )


def _parse_name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise Unfit(
            f"must be 1 to {MAX_FLOW_NAME} letters, digits, spaces, dots, dashes or underscores, and begin with a "
            "letter or digit."
        )
    return text


def _name_problems(
    imports: Sequence[ImportFlow], exports: Sequence[ExportFlow], label: Callable[[str], str]
) -> Iterable[Problem]:
    seen: set[str] = set()
    named = [(f"imports[{number}].name", flow.name) for number, flow in enumerate(imports)]
    named += [(f"exports[{number}].name", flow.name) for number, flow in enumerate(exports)]
    for path, name in named:
        if name.casefold() in seen:
            yield Problem(label(path), f"is {name}, which another flow already has. Give each flow its own name.")
        seen.add(name.casefold())


def _import_problems(imports: Sequence[ImportFlow], label: Callable[[str], str]) -> Iterable[Problem]:
    owners: dict[tuple[str, str], str] = {}  # who reads this folder as Input
    for number, flow in enumerate(imports):
        path = f"imports[{number}].inputFolder"
        owner = owners.setdefault((flow.drive, flow.input_folder.casefold()), path)
        if owner != path:
            wrong = f"is {flow.input_folder}, which {label(owner)} reads already. Each import needs its own."
            yield Problem(label(path), wrong)
    for number, flow in enumerate(imports):
        seen = {flow.input_folder.casefold(): "inputFolder"}
        for key, folder in _destinations(flow):
            path = f"imports[{number}].{key}"
            folded = folder.casefold()
            owner = owners.get((flow.drive, folded), "")
            if folded in seen:
                wrong = f"is {folder}, the same as {label(f'imports[{number}].{seen[folded]}')}. Use different folders."
                yield Problem(label(path), wrong)
            elif folded.startswith(flow.input_folder.casefold() + "/"):
                yield Problem(label(path), f"is {folder}, which is inside the Input folder. Use a folder outside it.")
            elif owner:
                # Else one import's leavings are the next one's input, round and round.
                yield Problem(label(path), f"is {folder}, which {label(owner)} reads. Use another folder.")
            seen.setdefault(folded, key)


def _paths(flow: ImportFlow | ExportFlow) -> tuple[str, ...]:
    if isinstance(flow, ExportFlow):
        return (flow.output_folder,)
    return (flow.input_folder, *(folder for _, folder in _destinations(flow)))


def _destinations(flow: ImportFlow) -> tuple[tuple[str, str], ...]:
    return (
        ("processingFolder", flow.processing_folder),
        ("successFolder", flow.success_folder),
        ("errorFolder", flow.error_folder),
    )


def _export_problems(exports: Sequence[ExportFlow], label: Callable[[str], str]) -> Iterable[Problem]:
    seen: dict[tuple[str, str], str] = {}
    for number, flow in enumerate(exports):
        path = f"exports[{number}].dataProject"
        owner = seen.setdefault((flow.environment_url, flow.data_project.casefold()), path)
        if owner != path:
            # F&O runs one execution of a data project at a time, and an incremental export gives each change once.
            wrong = f"is {flow.data_project}, which {label(owner)} exports already. Use another data project."
            yield Problem(label(path), wrong)


def _lane(direction: Direction, environment_url: str, data_project: str, flow_name: str) -> str:
    """Return a name that is readable and safe as a segment of a blob's path: "in-asset-major-types-1a2b3c4d"."""
    # F&O compares names regardless of case. The first word keeps a flow apart from a data project of the same name.
    kind, name = ("project", data_project) if data_project else ("flow", flow_name)
    key = "\n".join((kind, environment_url, name.casefold()))
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-")
    return LANE_PREFIX[direction] + "-".join(part for part in (slug, digest) if part)
