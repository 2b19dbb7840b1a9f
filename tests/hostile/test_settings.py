"""Settings that cannot be meant: each is told with its name, what is wrong with it and what to write instead."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.config.settings import Settings, read_settings
from shared.errors import SettingsInvalid

SECRET = "known-secret-known-secret"
GOOD = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "FO_URL": "https://contoso.operations.dynamics.com",
    "ONEDRIVE_DRIVE": "users/integration@contoso.com/drive",
    "AZURE_TENANT_ID": "contoso.onmicrosoft.com",
    "AZURE_CLIENT_ID": "11111111-2222-3333-4444-555555555555",
    "AZURE_CLIENT_SECRET": SECRET,
    "CLIENT_STATE": SECRET,
}


def settings_of(folder: Path, changes: Mapping[str, str]) -> Settings:
    return read_settings({**GOOD, **changes}, app_folder=folder)


INPUT = "Customers/Input"
TWO_FOLDERS = '{"imports": [{"name": "a", "inputFolder": "A", "inputFolder": "B"}]}'
NO_INTERVAL = ("exports[0].everySeconds must be a whole number of seconds", "Example: 3600")
NOT_RESOLVED = "is a Key Vault reference that Azure could not resolve. Let the app's identity read it"
OUTSIDE = "Use a folder outside it"
WITH_PASSWORD = f"https://me:{SECRET}@contoso.operations.dynamics.com"


def an_import(**changes: object) -> dict[str, object]:
    return {"name": "customers", "inputFolder": INPUT, **changes}


def an_export_every(seconds: str) -> str:
    return f'{{"exports": [{{"name": "a", "dataProject": "P", "company": "USMF", "everySeconds": {seconds}}}]}}'


def imports(*flows: object) -> str:
    return json.dumps({"imports": list(flows)})


def of_one_import(key: str, value: object, wrong: str, to_do: str = "Example:") -> dict[str, tuple[str, str, str]]:
    """Return the case of an import with this under that key."""
    case = f"{key[:20]}: {str(value)[:40]!a}"
    place = f"imports[0].{key} " if len(key) < 100 else ""
    return {case: (imports(an_import(**{key: value})), place + wrong, to_do)}


# INTEGRATIONS -> where and what is wrong, what to do
INTEGRATIONS: dict[str, tuple[str, str, str]] = {
    "half a document": ('{"imports": [', "INTEGRATIONS is not JSON: line 1, column 14", "a closing } or ] is missing"),
    "a document in single quotes": (
        "{'imports': []}",
        "INTEGRATIONS is not JSON: line 1, column 2",
        "must be in straight double quotes",
    ),
    "a comment in it": ('{"imports": [] // none\n}', "INTEGRATIONS is not JSON: line 1, column 16", "Remove it"),
    "a document that nests a hundred thousand deep": ("[" * 100_000, "INTEGRATIONS is not JSON", "Example: {"),
    "a list": ("[]", "INTEGRATIONS must be a JSON object", "Example: {"),
    "nothing in it": ("{}", "INTEGRATIONS contains neither an import nor an export", "Example: {"),
    "flows that are null": ('{"imports": null}', "INTEGRATIONS, imports must be a list", "Example: [{"),
    "flows that are an object": ('{"imports": {}}', "INTEGRATIONS, imports must be a list", "Example: [{"),
    "a flow that is text": ('{"imports": ["x"]}', "INTEGRATIONS, imports[0] must be an object", "Example: {"),
    "the imports named twice": ('{"imports": [], "imports": []}', "INTEGRATIONS names 'imports' twice", "Remove one"),
    "a folder named twice": (TWO_FOLDERS, "INTEGRATIONS names 'inputFolder' twice", "Remove one"),
    "no folder": (
        imports({"name": "a"}),
        "imports[0].inputFolder is missing",
        'Example: "Integrations/Customers/Input"',
    ),
    "two imports of one folder": (
        imports(an_import(), an_import(name="more", inputFolder="CUSTOMERS\\input")),
        "imports[1].inputFolder is /CUSTOMERS/input, which INTEGRATIONS, imports[0].inputFolder reads already",
        "say in files.include which files imports[0] takes, or put imports[0] last",
    ),
    "an interval that is not a number": (an_export_every("NaN"), *NO_INTERVAL),
    "an interval without end": (an_export_every("1e999"), *NO_INTERVAL),
    "a file that is not there": ("integrations.json", "INTEGRATIONS is neither JSON nor the path of a file", "UTF-8"),
    "a path with a NUL": ("a\0b", "INTEGRATIONS is neither JSON nor the path of a file", "UTF-8"),
    "a folder for a file": (".", "INTEGRATIONS is neither JSON nor the path of a file", "UTF-8"),
    # a key of an import, its value
    **of_one_import("inputFoldr", "x", "is unknown", "Did you mean inputFolder"),
    **of_one_import("x" * 10_000, 1, "is unknown", "Known keys: name"),
    **of_one_import("inputFolder", 7, "must be text"),
    **of_one_import("inputFolder", "../Input", "has a name that begins or ends with a space, or ends with a dot"),
    **of_one_import("inputFolder", "In\nput", "has a control character"),
    **of_one_import("inputFolder", "In\u202eput", "has a name that OneDrive reserves"),
    **of_one_import("inputFolder", "x" * 400, "is longer than the 400 characters"),
    **of_one_import("errorFolder", INPUT, f"is /{INPUT}, the same as", "Use different folders"),
    **of_one_import("successFolder", f"{INPUT}/Done", f"is /{INPUT}/Done, which is inside the Input folder", OUTSIDE),
    **of_one_import("company", "USMFX", "must be a company's id, 1 to 4 letters or digits", 'Example: "USMF"'),
    **of_one_import("overwrite", "true", "must be true or false"),
    **of_one_import("environmentUrl", WITH_PASSWORD, "must not hold a user name or password", 'Example: "https://con'),
}


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_integrations_that_cannot_be_meant_are_told_with_place_and_remedy(name: str, tmp_path: Path) -> None:
    text, wrong, to_do = INTEGRATIONS[name]

    with pytest.raises(SettingsInvalid) as told:
        settings_of(tmp_path, {"INTEGRATIONS": text})

    assert wrong in told.value.message
    assert to_do in told.value.message
    assert SECRET not in str(told.value)


# setting, its value, what is wrong
SIMPLE: list[tuple[str, str, str]] = [
    ("FO_URL", "contoso.operations.dynamics.com", "must be a URL that begins with https://"),
    ("FO_URL", "https://contoso.operations.dynamics.com/?cmp=USMF", "must be the address only"),
    ("FO_URL", '"https://contoso.operations.dynamics.com"', "must be a URL"),
    ("FO_URL", WITH_PASSWORD, "must not hold a user name or password"),
    ("FO_URL", "https://contoso.com:99999", "is not a URL"),
    ("FO_URL", "https://cont\u043eso.com", "contains invalid characters"),
    ("GRAPH_URL", "http://graph.microsoft.com", "must begin with https://"),
    ("ONEDRIVE_DRIVE", "https://contoso-my.sharepoint.com", "must be drives/<drive id>"),
    ("ONEDRIVE_DRIVE", "drives/../users/x@y.z", "must be drives/<drive id>"),
    ("OUTBOUND_SCHEDULE", "*/5 * * * *", "must be an NCRONTAB expression of six fields"),
    ("OUTBOUND_SCHEDULE", "0 0 25 * * *", "has a hour field that NCRONTAB does not accept"),
    ("POLL_LONGEST_SECONDS", "inf", "must be a number from"),
    ("POLL_FIRST_SECONDS", "٣", "must be a number from"),
    ("SUBMIT_GRACE_SECONDS", "-1", "must be a number from"),
    ("CLIENT_STATE", "secret", "must be 16 to 128 ASCII letters"),
    ("CLIENT_STATE", f"{SECRET}\n{SECRET}", "without spaces"),
    ("CLIENT_STATE", "@Microsoft.KeyVault(SecretUri=https://x)", NOT_RESOLVED),
    ("NOTIFICATION_URL", f"http://contoso.com/api/x?code={SECRET}", "must begin with https://"),
    ("NOTIFICATION_URL", f"https://contoso.com?code={SECRET}", "with its path"),
    ("ALERT_RECIPIENT", "operations", "must be an e-mail address"),
    ("ALERT_RECIPIENT", "a@contoso.com\r\nBcc: b@evil.example", "must be an e-mail address"),
    ("AzureWebJobsStorage", f"AccountKey={SECRET}", "must be a storage account's connection string"),
    ("AZURE_CLIENT_CERTIFICATE_PATH", "app.pem", "is not the path of a file"),
    ("IMPORT_OVERWRITE", "perhaps", "must be true or false"),
    ("IMPORT_COMPANY", "Contoso", "must be a company's id, 1 to 4 letters or digits"),
    ("IMPORT_DATA_PROJECT", "x" * 129, "must be a data project's name: 1 to 128"),
    ("INPUT_FOLDR", "Input", "is not a setting of this app. Did you mean INPUT_FOLDER?"),
]


@pytest.mark.parametrize(("setting", "value", "wrong"), SIMPLE)
def test_a_setting_that_cannot_be_meant_is_told_by_its_name_and_never_with_a_secret(
    setting: str, value: str, wrong: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsInvalid) as told:
        settings_of(tmp_path, {setting: value})

    (line,) = [line for line in told.value.message.splitlines() if line.startswith(f"- {setting} ") and wrong in line]
    assert "Example: " in line or "Did you mean" in line
    assert SECRET not in str(told.value)


def test_the_settings_that_these_cases_change_are_good(tmp_path: Path) -> None:
    assert settings_of(tmp_path, {}).flows.imports
    assert settings_of(tmp_path, {"INTEGRATIONS": imports(an_import())}).flows.imports[0].name == "customers"
