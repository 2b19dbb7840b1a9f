"""Route templates of ASP.NET: ``runs/{id:int}/{part?}``, ``files/{*path}``.

Only what HTTP functions need: which path matches, with which values, and which of two templates goes first.
https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-templates
"""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from urllib.parse import unquote

_PARAMETER: Final = re.compile(
    r"\{(?P<catch_all>\*{1,2})?(?P<name>[^:=?}]+)(?P<constraints>(?::[^:=?}]+)*)(?:=(?P<default>[^?}]*))?(?P<optional>\?)?\}"
)


class RouteInvalid(ValueError):
    """The template cannot be used; the text says why."""


class _Precedence(IntEnum):
    """Of two templates that match, the one with the lower first difference goes first."""

    LITERAL = 1
    CONSTRAINED = 2
    PARAMETER = 3
    CONSTRAINED_CATCH_ALL = 4
    CATCH_ALL = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    name: str
    default: str | None
    constraints: tuple[Callable[[str], bool], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A parsed template."""

    template: str
    precedence: tuple[int, ...]
    _pattern: re.Pattern[str]
    _parameters: tuple[_Parameter, ...]

    @classmethod
    def parse(cls, template: str) -> "Route":
        """Parse a template without slashes at its ends. Raises RouteInvalid."""
        pattern, precedence, parameters = "", [], []
        for segment in template.split("/") if template else []:
            found = list(_PARAMETER.finditer(segment))
            if "{" in _PARAMETER.sub("", segment):
                raise RouteInvalid(f"'{segment}' in the route '{template}' cannot be read")
            parameters += [_parameter(match, template) for match in found]
            precedence.append(_precedence(segment, found))
            if len(found) == 1 and found[0][0] == segment:
                pattern += _whole_segment(found[0])
            else:
                pattern += "/" + _mixed_segment(segment)
        return cls(
            template=template,
            precedence=tuple(precedence),
            _pattern=re.compile(pattern, re.IGNORECASE),
            _parameters=tuple(parameters),
        )

    def match(self, raw_path: str) -> Mapping[str, str] | None:
        """Return the values of the parameters, None where the path does not match.

        raw_path: as it came, percent-encoded, beginning with a slash.
        """
        found = self._pattern.fullmatch(_decoded(raw_path.rstrip("/")))
        if found is None:
            return None
        values: dict[str, str] = {}
        for parameter, text in zip(self._parameters, found.groups(), strict=True):
            value = text or parameter.default
            if not value:
                continue
            if not all(holds(value) for holds in parameter.constraints):
                return None
            values[parameter.name] = value
        return values


def _decoded(raw_path: str) -> str:
    """Percent-decoded, but for an encoded slash, which never separates segments."""
    return unquote(re.sub("%2f", "%252F", raw_path, flags=re.IGNORECASE))


def _whole_segment(match: re.Match[str]) -> str:
    may_be_missing = match["optional"] or match["default"] is not None
    if match["catch_all"]:
        return "(?:/(.*))?"
    return "(?:/([^/]+))?" if may_be_missing else "/([^/]+)"


def _mixed_segment(segment: str) -> str:
    pattern, end = "", 0
    for match in _PARAMETER.finditer(segment):
        pattern += re.escape(segment[end : match.start()]) + "([^/]+)"
        end = match.end()
    return pattern + re.escape(segment[end:])


def _precedence(segment: str, found: list[re.Match[str]]) -> _Precedence:
    if not found:
        return _Precedence.LITERAL
    if found[0]["catch_all"]:
        return _Precedence.CONSTRAINED_CATCH_ALL if found[0]["constraints"] else _Precedence.CATCH_ALL
    if found[0]["constraints"] or found[0][0] != segment:
        return _Precedence.CONSTRAINED
    return _Precedence.PARAMETER


def _parameter(match: re.Match[str], template: str) -> _Parameter:
    names = [name for name in match["constraints"].split(":") if name]
    return _Parameter(
        name=match["name"],
        default=match["default"],
        constraints=tuple(_constraint(name, template) for name in names),
    )


def _constraint(text: str, template: str) -> Callable[[str], bool]:
    """https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-constraints"""
    name, _, arguments = text.partition("(")
    numbers = [int(number) for number in re.findall(r"-?\d+", arguments)]
    match name, numbers:
        case "int", []:
            return lambda value: _is_integer(value, bits=32)
        case "long", []:
            return lambda value: _is_integer(value, bits=64)
        case "bool", []:
            return lambda value: value.lower() in ("true", "false")
        case "alpha", []:
            return lambda value: value.isascii() and value.isalpha()
        case "guid", []:
            return _is_guid
        case "length", [exactly]:
            return lambda value: len(value) == exactly
        case "length", [least, most]:
            return lambda value: least <= len(value) <= most
        case "minlength", [least]:
            return lambda value: len(value) >= least
        case "maxlength", [most]:
            return lambda value: len(value) <= most
        case "min", [least]:
            return lambda value: _is_integer(value, bits=64) and int(value) >= least
        case "max", [most]:
            return lambda value: _is_integer(value, bits=64) and int(value) <= most
        case "range", [least, most]:
            return lambda value: _is_integer(value, bits=64) and least <= int(value) <= most
    raise RouteInvalid(f"the local host does not know the constraint '{text}' of the route '{template}'")


def _is_integer(value: str, *, bits: int) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", value) is not None and -(1 << bits - 1) <= int(value) < 1 << bits - 1


def _is_guid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True
