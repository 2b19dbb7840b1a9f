"""What the documents say of a flow's settings, made from the model: the schema for editors, and the reference."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from shared.config.app_settings import SETTINGS, Setting
from shared.config.model import (
    FLOW_KINDS,
    NOT_FOR_ALL,
    Document,
    ExportFlow,
    ImportFlow,
    Part,
    all_parts,
    choice_key,
    example_of,
    parts_in,
    words_of,
)

DEFAULTS: Final = (
    "What all flows have that do not say otherwise: any setting of a flow but its name, its note and an import's "
    "folders. Of a group of settings, each one for itself; a choice with `from` as a whole."
)


def schema_text() -> str:
    """Return ``docs/integrations.schema.json``."""
    made: dict[str, Any] = _tidied(Document.model_json_schema(by_alias=True))
    definitions: dict[str, Any] = made["$defs"]
    for flow in FLOW_KINDS.values():
        described = definitions[flow.__name__]
        described["required"] = [each for each in described["required"] if each not in ("environmentUrl", "drive")]
    for choice in all_parts(Document):
        if words_of(choice):
            definitions[choice.__name__]["required"] = [
                choice_key(choice),
                *definitions[choice.__name__].get("required", []),
            ]
    definitions["Defaults"] = {
        "description": _plain(DEFAULTS),
        "type": "object",
        "additionalProperties": False,
        "properties": {
            key: each
            for flow in (ExportFlow, ImportFlow)  # of two that are alike, the import's choices take the export's texts
            for key, each in definitions[flow.__name__]["properties"].items()
            if key not in NOT_FOR_ALL
        },
    }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "INTEGRATIONS",
        "description": "The imports (OneDrive to Dynamics 365 F&O) and exports (F&O to OneDrive) of this app, where "
        "one of each is not enough. Put it as text into the app setting INTEGRATIONS, or into a JSON file of the app "
        "whose path that setting holds.",
        "type": "object",
        "properties": {
            "$schema": {"description": "The address of this schema, for editors.", "type": "string"},
            "defaults": {"$ref": "#/$defs/Defaults"},
            **made["properties"],
        },
        "additionalProperties": False,
        "anyOf": [{"required": [kind], "properties": {kind: {"minItems": 1}}} for kind in FLOW_KINDS],
        "$defs": definitions,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _tidied(value: Any) -> Any:
    """Return a schema without what says nothing to a person who edits the configuration."""
    if isinstance(value, list):
        return [_tidied(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("anyOf", [])[1:] == [{"type": "null"}]:  # a key that may be left out may not be null
        value = {**value["anyOf"][0], **{key: each for key, each in value.items() if key != "anyOf"}}
    dropped = {"discriminator", *(["title"] if isinstance(value.get("title"), str) else [])}
    if value.get("default", "") in ("", None) or isinstance(value.get("default"), dict | list):
        dropped.add("default")
    return {
        key: _plain(each) if key == "description" and isinstance(each, str) else _tidied(each)
        for key, each in value.items()
        if key not in dropped
    }


def _plain(text: str) -> str:
    return text.replace("`", "")


def app_settings() -> str:
    """Return the table of all app settings."""
    head = ["| Setting | Meaning | Default | In the Logic Apps |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *(_app_setting(each) for each in SETTINGS.values())])


def _app_setting(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else ""
    return _row(f"`{setting.name}`", setting.meaning, default, setting.in_logic_apps)


def _row(*cells: str) -> str:
    return re.sub(r" +", " ", f"| {' | '.join(cells)} |")


def import_settings() -> str:
    """Return the reference of an import's settings."""
    return _reference(ImportFlow)


def export_settings() -> str:
    """Return the reference of an export's settings."""
    return _reference(ExportFlow)


def _reference(flow: type[Part]) -> str:
    return "\n".join(["| Setting | Meaning | Default | Example |", "| --- | --- | --- | --- |", *_rows(flow, "")])


def _rows(part: type[Part], above: str) -> Iterator[str]:
    """Yield the rows of an object's settings; below a group or a choice those that are inside it."""
    for field in part.model_fields.values():
        name = f"{above}{field.alias}"
        if words := words_of(part) if field.alias == choice_key(part) else ():
            yield _row(f"`{name}`: `{words[0]}`", str(field.description), "", "")
            continue
        example = example_of(field)
        yield _row(f"`{name}`", str(field.description), _default(field.default), f"`{example}`" if example else "")
        for inner in parts_in(field.annotation):
            yield from _rows(inner, f"{name}.")


def _default(value: object) -> str:
    if isinstance(value, bool | int) or (isinstance(value, str) and value):
        return f"`{json.dumps(value) if isinstance(value, bool | int) else value}`"
    return ""
