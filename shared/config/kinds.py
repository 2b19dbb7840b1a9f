"""Kinds of single values in the model of flows: how each is read, and how the schema for editors describes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from shared.config.off_times import HoursOfDay, parse_days, parse_hours, parse_time_zone, parse_weekdays
from shared.config.values import (
    MAX_DATA_PROJECT,
    MAX_FOLDER,
    Unfit,
    either,
    parse_addresses,
    parse_company,
    parse_data_project,
    parse_drive,
    parse_environment_url,
    parse_flow_name,
    parse_folder,
    parse_webhook_url,
)
from shared.escapes import whole_text
from shared.secret import SecretUrl

# In the place of any text, or of a part of it: the app setting of that name.
SETTING_PATTERN: Final = r"%[A-Za-z0-9_.:-]+%"


@dataclass(frozen=True, slots=True)
class Text:
    """A text that ``parse`` brings to one form; it raises Unfit."""

    parse: Callable[[str], object]
    pattern: str = ""  # what an editor can check of it, as ECMA-262; a text with %NAME% in it fits in any case
    longest: int = 0

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read a text with ``parse``."""
        return core_schema.no_info_plain_validator_function(self._read)

    def _read(self, value: object) -> object:
        if not isinstance(value, str):
            instead = (
                ", not a list" if isinstance(value, list) else ", not an object" if isinstance(value, dict) else ""
            )
            raise Unfit(f"must be text in double quotes{instead}.")
        if whole_text(value) != value:
            raise Unfit("contains half of a character (a surrogate such as \\ud800).")
        return self.parse(value)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe it for editors."""
        described: dict[str, Any] = {"type": "string"}
        if self.pattern:
            described["pattern"] = rf"^({self.pattern})$|{SETTING_PATTERN}"
        if self.longest:
            described["maxLength"] = self.longest
        return described


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read true or false, and nothing like it."""
        return core_schema.no_info_plain_validator_function(self._read)

    def _read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise Unfit("must be true or false.")
        return value

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe it for editors."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds; in JSON, 60.0 is 60."""

    least: int
    most: int
    unit: str = ""  # "seconds"

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read a whole number within the bounds."""
        return core_schema.no_info_plain_validator_function(self._read)

    def _read(self, value: object) -> int:
        match value:
            case bool():  # Python counts true as 1
                pass
            case int() | float() if self.least <= value <= self.most and value == int(value):
                return int(value)
        of = f" of {self.unit}" if self.unit else ""
        raise Unfit(f"must be a whole number{of} from {self.least} to {self.most}.")

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe it for editors."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few words."""

    words: Sequence[str]
    kind: Callable[[str], object] = str  # what it becomes

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read one of the words."""
        return core_schema.no_info_plain_validator_function(self._read)

    def _read(self, value: object) -> object:
        if value not in self.words:
            raise Unfit(f"must be {either(self.words)}.")
        return self.kind(str(value))

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe it for editors."""
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Shorthand:
    """A choice that may be written shorter: a text or a list stands for the object in which it is a key's value."""

    kind: type  # str or list
    choice: str  # the object's "from"; "": the value itself says which object it is
    key: str  # of the value
    schema: Mapping[str, Any]  # of the shorter form, for editors

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read either form."""
        return core_schema.no_info_before_validator_function(self._unfold, handler(source))

    def _unfold(self, value: object) -> object:
        if not isinstance(value, self.kind):
            return value
        return {"from": self.choice, self.key: value} if self.choice else {self.key: value}

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe both forms."""
        return {"anyOf": [dict(self.schema), handler(schema)]}


def parse_separator(text: str) -> str:
    """Return what stands between the tokens of a file's name. Raises Unfit."""
    if not 0 < len(text) <= MAX_SEPARATOR or not text.isprintable() or text.isalnum():
        raise Unfit(f"must be 1 to {MAX_SEPARATOR} characters, not all of them letters or digits.")
    return text


def parse_pattern(text: str) -> str:
    """Return a pattern of file names. Raises Unfit."""
    if "/" in text or "\\" in text or not text.strip():
        raise Unfit("must be a file name without / and \\, in which * stands for any characters and ? for one.")
    return text


def parse_note(text: str) -> str:
    """Return a remark for people. Raises Unfit."""
    if len(text) > MAX_NOTE:
        raise Unfit(f"is longer than {MAX_NOTE:,} characters.")
    return text


MAX_NOTE: Final = 1000
MAX_SEPARATOR: Final = 5
_URL: Final = r"[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\s]+"
_ON_PREMISES: Final = r"[Nn][Aa][Mm][Ee][Ss][Pp][Aa][Cc][Ee][Ss]/[Aa][Xx][Ss][Ff]/?"

type Name = Annotated[str, Text(parse_flow_name, r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,59}")]
type Note = Annotated[str, Text(parse_note, longest=MAX_NOTE)]
type EnvironmentUrl = Annotated[str, Text(parse_environment_url, rf"({_URL}/?({_ON_PREMISES})?)?")]
type Drive = Annotated[
    str,
    Text(
        parse_drive,
        r"(/?(drives/[A-Za-z0-9!_.~-]+|users/[A-Za-z0-9'._!^~@+-]+/drive|me/drive)(/root)?/?|b![A-Za-z0-9!_.~-]+"
        r"|[A-Za-z0-9'._!^~+-]+@[A-Za-z0-9'._!^~@+-]+)?",
    ),
]
_FOLDER_PATTERN: Final = r"(?=.*[^/\\])[^\"*:<>?|\u0000-\u001f]+"
type Folder = Annotated[str, Text(parse_folder, _FOLDER_PATTERN, MAX_FOLDER)]
type FolderOrEmpty = Annotated[str, Text(parse_folder, f"({_FOLDER_PATTERN})?", MAX_FOLDER)]
type DataProject = Annotated[str, Text(parse_data_project, r"\S(.*\S)?", MAX_DATA_PROJECT)]
type Company = Annotated[str, Text(parse_company, "[A-Za-z0-9]{1,4}")]
type Separator = Annotated[str, Text(parse_separator, longest=MAX_SEPARATOR)]
type Pattern = Annotated[str, Text(parse_pattern, r"[^/\\\\]+")]
type Addresses = Annotated[str, Text(parse_addresses, r"([^@\s;,<>]+@[^@\s;,<>]+\.[^@\s;,<>]+(\s*[;,]\s*|$))*")]
type WebhookUrl = Annotated[SecretUrl, Text(parse_webhook_url, rf"({_URL}[^#\s]*)?")]
type Boolean = Annotated[bool, Flag()]
type DaysOfMonth = Annotated[frozenset[int], Text(parse_days, r"[0-9]{1,2}( ?[-,] ?[0-9]{1,2})*")]
type Weekdays = Annotated[frozenset[int], Text(parse_weekdays, r"[A-Za-z]{3}( ?[-,] ?[A-Za-z]{3})*")]
_TIME: Final = "([01][0-9]|2[0-3]):[0-5][0-9]"
type Hours = Annotated[HoursOfDay, Text(parse_hours, f"{_TIME} ?- ?({_TIME}|24:00)")]
type TimeZone = Annotated[str, Text(parse_time_zone, "[A-Za-z0-9_+/-]+")]
