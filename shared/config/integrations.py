"""Reads the configuration of flows: INTEGRATIONS, or the simple settings of one import and one export.

Both become the same document, which ``model.py`` describes. All that is wrong is found together and said in our own
words, with its path. Pure: reading files and the environment is ``settings.py``.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError

from shared.config.flows import Flows, flow_problems
from shared.config.kinds import SETTING_PATTERN
from shared.config.model import (
    FLOW_KINDS,
    NOT_FOR_ALL,
    Document,
    Part,
    all_parts,
    as_example,
    choice_key,
    names_of,
    parts_in,
    short_form_in,
    words_of,
)
from shared.config.problem import Problem
from shared.config.values import MAX_FLOW_NAME, Unfit, either, parse_flag, parse_flow_name
from shared.escapes import json_text, whole_text

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
    "IMPORT_DUPLICATES": "duplicates",
}
SIMPLE_EXPORT: Final[Mapping[str, str]] = {
    "EXPORT_DATA_PROJECT": "dataProject",
    "EXPORT_COMPANY": "company",
    "OUTPUT_FOLDER": "outputFolder",
}
_FLAGS: Final = frozenset({"overwrite", "strictOrder"})
# What stands in for a setting of a flow that is in neither the flow nor the defaults.
_STANDS_IN: Final[Mapping[str, str]] = {"environmentUrl": "FO_URL", "drive": "ONEDRIVE_DRIVE"}

_OTHER_QUOTES: Final = ("'", "`", "\u201c", "\u201d", "\u201e", "\u2018", "\u2019", "\u00ab", "\u00bb")
_DOCUMENT_KEYS: Final = ("$schema", "defaults", *FLOW_KINDS)
_DOCUMENT_EXAMPLE: Final = '{"imports": [{"name": "customers", "inputFolder": "Integrations/Customers/Input"}]}'
_SETTING: Final = re.compile(SETTING_PATTERN)
_NULL: Final = object()  # stands for null until the model has refused it, in each place: no setting may be null
_DEEPEST: Final = 50  # lists and objects in each other; a configuration has 7

type Label = Callable[[str], str]  # what a path of the document is called: "INTEGRATIONS, imports[0].name"
type AppSetting = Callable[[str], str]  # the app setting of a name, "" if there is none


def parse_integrations(
    text: str, *, environment_url: str = "", drive: str = "", setting: AppSetting = lambda _name: ""
) -> Flows | list[Problem]:
    """Return the flows of an INTEGRATIONS text, or all that is wrong with it.

    environment_url, drive: stand in for flows that name none of their own; parsed already. setting: gives what stands
    in the place of %NAME%.
    """
    try:
        document = json.loads(text, object_pairs_hook=_object_of)
    except Unfit as unfit:
        return [Problem("INTEGRATIONS", str(unfit))]
    except (ValueError, RecursionError) as error:
        return [Problem("INTEGRATIONS", _why_not_json(error), "" if text.lstrip()[:1] == "{" else _DOCUMENT_EXAMPLE)]
    if _is_too_deep(document):
        return [Problem("INTEGRATIONS", f"has lists or objects in each other, more than {_DEEPEST} deep.")]
    stand_in = {"environmentUrl": environment_url, "drive": drive}
    reader = _Reader(stand_in, lambda path: f"INTEGRATIONS, {path}" if path else "INTEGRATIONS", setting)
    return reader.read(document)


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
    return _Reader({"environmentUrl": environment_url, "drive": drive}, lambda path: labels.get(path, path)).read(
        document
    )


def _is_too_deep(document: object) -> bool:
    """Return whether more lists and objects are in each other than any configuration has: they are read one in one."""
    level = [document]
    for _ in range(_DEEPEST):
        level = [each for value in level if isinstance(value, dict | list) for each in _values_of(value)]
    return bool(level)


def _values_of(value: dict[str, object] | list[object]) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value


def _why_not_json(error: Exception) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return "is not JSON, or nests too deep."
    if not error.doc.strip():
        return "is empty."
    return (
        f"is not JSON: line {error.lineno}, column {error.colno}: {_syntax_problem(error.msg, error.doc[error.pos :])}"
    )


def _syntax_problem(message: str, rest: str) -> str:
    """Return what is wrong with the text, and its cure, in place of the words of Python's reader.

    rest: the text from the place that the reader names. It is not quoted, because it may hold a secret.
    """
    rest = rest.lstrip()
    for is_it, words in (
        (message.startswith(("Invalid control", "Unterminated")), "the closing double quote of a text is missing."),
        (not rest, "the document ends too early: a closing } or ] is missing."),
        (rest.startswith(("//", "/*", "#")), "JSON has no comments. Remove it; a remark goes into a flow's note."),
        (rest[0:1] in _OTHER_QUOTES, "names and texts must be in straight double quotes."),
        (message.startswith("Illegal trailing comma"), "remove the comma before the closing } or ]."),
        (message.startswith("Invalid \\"), "in JSON a backslash is written twice. In a folder, use / instead."),
        (message.startswith("Extra data"), "the document has ended before this. Remove what follows, or a } or ]."),
        (message.startswith("Expecting property"), "a name in double quotes is expected here."),
        (message.startswith("Expecting ':'"), "a colon is expected here."),
        (
            message.startswith("Expecting ','"),
            "a comma or a closing } or ] is missing before this, or a double quote.",
        ),
        (rest.startswith(("True", "False", "None")), "true, false and null have small letters."),
        (message.startswith("Expecting value"), "a value is expected here. Texts must be in double quotes."),
    ):
        if is_it:
            return words
    return f"{message}."


def _object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object.

    Raises Unfit for a name that it gives twice, because JSON's readers pass over the first one, and for one that cannot
    be written as UTF-8.
    """
    item: dict[str, object] = {}
    for key, value in pairs:
        if whole_text(key) != key:
            raise Unfit("contains a key with half of a character (a surrogate such as \\ud800).")
        if key in item:
            name = item.get("name")
            where = f" (its name is '{name[:MAX_FLOW_NAME]}')" if isinstance(name, str) and key != "name" else ""
            raise Unfit(
                f"names '{key[:MAX_FLOW_NAME]}' twice in one object{where}; the first would be ignored. Remove one."
            )
        item[key] = value
    return item


def _simple_flow(
    kind: str, name: str, keys: Mapping[str, str], values: Mapping[str, str], labels: dict[str, str]
) -> dict[str, object]:
    """Return one flow in the JSON's shape, and note which setting each of its values comes from."""
    labels |= {f"{kind}[0].{key}": setting for setting, key in keys.items()}
    labels |= {f"{kind}[0].{key}": setting for key, setting in _STANDS_IN.items()}
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


class _Reader:
    """Reads one document; what is wrong is noted, and reading goes on."""

    def __init__(self, stand_in: Mapping[str, str], label: Label, setting: AppSetting | None = None) -> None:
        self._stand_in = stand_in
        self._label = label
        self._setting = setting  # None: a text with %NAME% in it is meant as it is
        self._problems: list[Problem] = []
        self._document: Mapping[str, Any] = {}
        self._by_default: set[str] = set()  # paths of values that `defaults` gave
        self._unset: set[str] = set()  # paths of texts for which an app setting is missing

    def read(self, document: object) -> Flows | list[Problem]:
        """Return the flows, or all that is wrong."""
        read = self._read(document)
        return read if isinstance(read, Flows) else [self._with_flow(each) for each in read]

    def _with_flow(self, problem: Problem) -> Problem:
        """Return a problem with the name of its flow, if the document has one: people do not count from 0."""
        found = re.match(r"INTEGRATIONS, (imports|exports)\[(\d{1,9})\](?!\.name$)", problem.setting)
        listed = self._document.get(found[1]) if found else None
        if not found or not isinstance(listed, list):  # a key of the document may look like such a path
            return problem
        flow = dict(enumerate(listed)).get(int(found[2]))
        name = flow.get("name") if isinstance(flow, dict) else None
        try:
            return replace(problem, flow=parse_flow_name(name)) if isinstance(name, str) else problem
        except Unfit:
            return problem

    def _read(self, document: object) -> Flows | list[Problem]:
        if not isinstance(document, dict):
            return [Problem(self._label(""), "must be a JSON object.", _DOCUMENT_EXAMPLE)]
        self._document = document
        self._problems += self._unknown_keys(document, _DOCUMENT_KEYS, "")
        if not isinstance(document.get("$schema", ""), str):
            self._note("$schema", "must be text.")
        filled = {kind: self._filled(kind, document) for kind in FLOW_KINDS if kind in document}
        read = self._validated(filled)
        self._check_defaults(document.get("defaults", {}))
        if read is None or self._problems:
            return list(dict.fromkeys(self._problems))  # FO_URL may be missing in both flows; once is enough
        if not read.imports and not read.exports:
            return [Problem(self._label(""), "contains neither an import nor an export.", _DOCUMENT_EXAMPLE)]
        wrong = list(flow_problems(read.imports, read.exports, lambda path: self._label(self._origin(path))))
        return wrong or Flows(imports=read.imports, exports=read.exports)

    # -- before the model reads it: texts of app settings, defaults

    def _filled(self, kind: str, document: Mapping[str, Any]) -> object:
        """Return the flows of a kind with what stands for %NAME%, with the defaults, and without what is left empty."""
        listed = document[kind]
        if not isinstance(listed, list):
            return listed  # for the model to refuse
        defaults = self._defaults(document.get("defaults", {}))
        known = names_of(FLOW_KINDS[kind])
        flows: list[object] = []
        for number, item in enumerate(listed):
            path = f"{kind}[{number}]"
            flow = self._resolved(item, path)
            if isinstance(flow, dict):
                for key in defaults.keys() & set(known):
                    flow[key] = self._with_default(flow.get(key), defaults[key], f"{path}.{key}")
                for key, value in self._stand_in.items():
                    if key not in flow and value:
                        flow[key] = value
            flows.append(flow)
        return flows

    def _defaults(self, given: object) -> dict[str, Any]:
        if not isinstance(given, dict):
            self._note("defaults", "must be an object.", '{"environmentUrl": "%FO_URL%"}')
            return {}
        known = [name for flow in FLOW_KINDS.values() for name in names_of(flow) if name not in NOT_FOR_ALL]
        self._problems += self._unknown_keys(given, list(dict.fromkeys(known)), "defaults")
        resolved: dict[str, Any] = self._resolved(given, "defaults")
        return resolved

    def _with_default(self, own: object, default: object, path: str) -> object:
        """Return a setting of a flow with what the defaults say beyond it; a choice is either's whole."""
        if own is None:
            self._by_default.add(path)
            return default
        if isinstance(own, dict) and isinstance(default, dict) and not _CHOICE_KEYS & own.keys():
            added = {key: value for key, value in default.items() if key not in own}
            self._by_default |= {f"{path}.{key}" for key in added}
            return {**added, **own}
        return own

    def _resolved(self, value: Any, path: str) -> Any:
        """Return a value with the texts that stand for %NAME%, without keys whose value is left empty."""
        if isinstance(value, dict):
            resolved = {key: self._resolved(each, f"{path}.{key}") for key, each in value.items()}
            return {key: each for key, each in resolved.items() if each != ""}
        if isinstance(value, list):
            return [self._resolved(each, f"{path}[{number}]") for number, each in enumerate(value)]
        if value is None:
            return _NULL
        if isinstance(value, str) and self._setting:
            return _SETTING.sub(lambda found: self._setting_named(found[0], path), value)
        return value

    def _setting_named(self, text: str, path: str) -> str:
        name = text.strip("%")
        value = self._setting(name) if self._setting else ""
        if not value:
            self._note(path, f"refers to the app setting {name}, which is not set.")
            self._unset.add(path)
            return text
        return value

    def _check_defaults(self, given: object) -> None:
        """Note what is wrong with defaults that no flow takes as they are: nobody would see it until one does."""
        if not isinstance(given, dict) or not given:
            return
        known = set(names_of(FLOW_KINDS["imports"]))
        checker = _Reader(self._stand_in, self._label, self._setting)
        defaults = checker._resolved(given, "defaults")
        # What imports and exports have is checked as an import's: that takes whatever an export takes.
        filled = {
            kind: [{**{key: defaults[key] for key in defaults.keys() & keys}, **needed}]
            for kind, keys, needed in (
                ("imports", known - NOT_FOR_ALL, {"name": "defaults", "inputFolder": "defaults"}),
                ("exports", set(names_of(FLOW_KINDS["exports"])) - known, {"name": "defaults"}),
            )
        }
        checker._by_default = {
            f"{kind}[0].{key}" for kind, (flow,) in filled.items() for key in flow.keys() & defaults.keys()
        }
        checker._problems.clear()  # of settings that are missing, which the flows tell
        checker._validated(filled)
        told = {each.setting for each in self._problems}
        of_defaults = self._label("defaults.")
        self._problems += [
            each for each in checker._problems if each.setting.startswith(of_defaults) and each.setting not in told
        ]

    # -- what the model says

    def _validated(self, filled: dict[str, Any]) -> Document | None:
        try:
            return Document.model_validate(filled, by_alias=True, by_name=False)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
            places = [each["loc"] for each in wrong]
            for each in wrong:
                # A list whose entries are wrong has none, and is told to be too short as well.
                size = len(each["loc"])
                if each["type"] == "too_short" and any(len(loc) > size and loc[:size] == each["loc"] for loc in places):
                    continue
                self._problems += self._problem_of(each["type"], each["loc"], each.get("ctx", {}), filled)
            return None

    def _problem_of(
        self, kind: str, loc: Sequence[int | str], ctx: Mapping[str, Any], document: object
    ) -> Iterator[Problem]:
        if kind == "default_factory_not_called":  # for something else is wrong
            return
        place = _place_of(loc, document)
        path, example = self._origin(place.path), place.example
        match kind:
            case "extra_forbidden" if place.belongs_to:
                wrong, example = f"is only for {place.belongs_to}. Remove it, or change '{place.choice_key}'.", ""
            case "extra_forbidden":
                yield from self._unknown_keys([place.key], place.siblings, path.removesuffix(place.key).rstrip("."))
                return
            case "missing":
                stands_in = _STANDS_IN.get(place.key, "") if len(loc) == 3 else ""
                is_itself = self._label(path) == stands_in  # in the simple settings it is that setting that is missing
                wrong = f"is missing, and so is {stands_in}." if stands_in and not is_itself else "is missing."
            case "union_tag_not_found":
                path, wrong = f"{path}.{place.choice_key}", f"is missing: it must be {place.choices}."
                example = place.choice_example
            case "union_tag_invalid":
                path, wrong = f"{path}.{place.choice_key}", f"must be {place.choices}."
                example = place.choice_example
            case "value_error":
                wrong = str(ctx["error"])
            case "tuple_type":
                wrong = "must be a list."
            case "too_short":
                wrong = "must have at least one entry."
            case _:
                wrong = place.must_be
        if place.value in (None, _NULL) and wrong.startswith("must"):
            wrong = f"{wrong.removesuffix('.')}, not null."
            wrong += "" if place.is_required else " Leave it out for its default."
        if place.path.startswith("exports") and path.startswith("defaults.") and place.key in _IN_BOTH:
            # The same words mean more for an import.
            wrong += f" {place.path.partition('.')[0]} takes it from there: give that export its own."
        if path not in self._unset:
            yield Problem(self._label(path), wrong, self._shown(example))

    def _shown(self, example: object) -> str:
        """Return an example as it stands in the document, or in an app setting."""
        return as_example(example) if self._setting is None or example == "" else json_text(example)

    def _unknown_keys(self, keys: Iterable[str], known: Sequence[str], path: str) -> Iterator[Problem]:
        for key in keys:
            if key not in known:
                misplaced, example = _misplaced(key, path)
                wrong = misplaced or f"is unknown. {_what_was_meant(key, known)}"
                yield Problem(self._label(f"{path}.{key}" if path else key), wrong, example)

    def _note(self, path: str, wrong: str, example: str = "") -> None:
        self._problems.append(Problem(self._label(path), wrong, example))

    def _origin(self, path: str) -> str:
        """Return where the value of a path stands in the document: perhaps in the defaults."""
        for given in self._by_default:
            if path == given or path.startswith((f"{given}.", f"{given}[")):
                return "defaults." + path.split(".", 1)[1]
        return path


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the document something is wrong, and what the model says of that place."""

    path: str  # "imports[0].company"
    key: str  # the last name of it
    siblings: tuple[str, ...]  # the names that the object has in which it stands
    parts: tuple[type[Part], ...]  # the objects that may stand there
    short_form: str  # what may stand for such an object
    example: object
    value: object
    is_required: bool
    belongs_to: str  # of an unknown key: the object of the choice that has it, as "from 'name'"

    @property
    def choice_key(self) -> str:
        """The key that says which object stands there."""
        return choice_key(self.parts[0])

    @property
    def choices(self) -> str:
        """What that key may be there."""
        return either([word for part in self.parts for word in words_of(part)])

    @property
    def choice_example(self) -> object:
        """An object that may stand there: the last of the choice, with what it needs."""
        part = self.parts[-1]
        needed = {str(field.alias): field.examples[0] for field in part.model_fields.values() if field.examples}
        return {**needed, self.choice_key: words_of(part)[0]}

    @property
    def must_be(self) -> str:
        """What must stand there."""
        if not self.short_form:
            return "must be an object."
        return f"must be {self.short_form} or an object such as {json_text(self.choice_example)}."


def _place_of(loc: Sequence[int | str], document: object) -> _Place:
    """Return where an error of the model is.

    loc: keys, numbers, and behind a choice's key the word that says which of its objects it is.
    """
    path, key, short_form = "", "", ""
    example: object = ""
    siblings: tuple[str, ...] = ()
    parts: tuple[type[Part], ...] = (Document,)
    choice: tuple[type[Part], ...] = ()
    value: Any = document
    is_required = False
    for step in loc:
        if isinstance(step, int):
            path, value, short_form = f"{path}[{step}]", value[step], ""
            example = example[0] if isinstance(example, list) else example
            continue
        if len(parts) > 1 and (chosen := [part for part in parts if step in words_of(part)]):
            choice, parts = parts, tuple(chosen)  # one: a key that has the same name is a key
            continue
        fields = {str(field.alias): field for part in parts for field in part.model_fields.values()}
        siblings, key = tuple(fields), step
        if field := fields.get(step):
            is_required, choice = field.is_required(), ()
            parts, short_form, example = (
                parts_in(field.annotation),
                short_form_in(field.annotation),
                field.examples[0] if field.examples else "",
            )
        if isinstance(value, dict):  # else it is the shorter form of a choice
            path, value = f"{path}.{step}" if path else step, value.get(step)
    others = [part for part in choice if key in names_of(part)] if key not in siblings else []
    belongs_to = either([f"{choice_key(part)} '{words_of(part)[0]}'" for part in others]) if others else ""
    return _Place(path, key, siblings, parts, short_form, example, value, is_required, belongs_to)


def _what_was_meant(key: str, known: Sequence[str]) -> str:
    """Return the names that are like an unknown one, else all."""
    close = get_close_matches(key, known, n=1, cutoff=0.8) or get_close_matches(key, known, n=2)
    return f"Did you mean {either(close)}?" if close else f"Known keys: {', '.join(known)}."


def _misplaced(key: str, path: str) -> tuple[str, str]:
    """Return what is wrong with a setting in a place that is not its own, and an example; "" if there is none such."""
    kinds = [kind for kind, flow in FLOW_KINDS.items() if key in names_of(flow)]
    in_flow = re.fullmatch(r"(imports|exports)\[\d+\](.*)", path)
    if kinds and not path:
        return f"is a setting of a flow: it belongs in an object of {either(kinds)}.", _DOCUMENT_EXAMPLE
    if key in NOT_FOR_ALL and path == "defaults":
        return "cannot have a default: give each flow its own.", ""
    if kinds and in_flow and in_flow[2]:
        return f"does not belong here, but in {path.removesuffix(in_flow[2])}, beside {in_flow[2].split('.')[1]}.", ""
    if kinds and in_flow:
        return f"is a setting of {kinds[0]}, not of {in_flow[1]}.", ""
    may_have_it = path == "defaults" or (in_flow and in_flow[1] == "imports" and not in_flow[2])
    if may_have_it and key in _HOMES:
        home, example = _HOMES[key]
        return f"does not belong here, but in {home}.", example
    return "", ""


def _homes() -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the settings of an import that are in an object of it: the object's name, and an example."""
    for field in FLOW_KINDS["imports"].model_fields.values():
        for part in parts_in(field.annotation):
            if words_of(part):
                continue
            for inner in part.model_fields.values():
                example: object = {str(inner.alias): (inner.examples or [""])[0]}
                is_list = isinstance((field.examples or [""])[0], list)
                yield str(inner.alias), (str(field.alias), json_text({field.alias: [example] if is_list else example}))


_CHOICE_KEYS: Final = frozenset(
    choice_key(part) for flow in FLOW_KINDS.values() for part in all_parts(flow) if choice_key(part)
)
_HOMES: Final = dict(_homes())
_IN_BOTH: Final = frozenset.intersection(*(frozenset(names_of(flow)) for flow in FLOW_KINDS.values()))
