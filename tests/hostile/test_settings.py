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


def an_import(**changes: object) -> dict[str, object]:
    return {"name": "customers", "inputFolder": "Customers/Input", **changes}


def an_export_every(seconds: str) -> str:
    return f'{{"exports": [{{"name": "a", "dataProject": "P", "company": "USMF", "everySeconds": {seconds}}}]}}'


def imports(*flows: object) -> str:
    return json.dumps({"imports": list(flows)})


# INTEGRATIONS -> where and what is wrong, what to do
INTEGRATIONS: dict[str, tuple[str, str, str]] = {
    "half a document": ('{"imports": [', "INTEGRATIONS is not JSON (Expecting value: line 1", "Example: {"),
    "a document in single quotes": ("{'imports': []}", "INTEGRATIONS is not JSON (Expecting property name", "Example:"),
    "a comment in it": ('{"imports": [] // none\n}', "INTEGRATIONS is not JSON", "line 1 column"),
    "a document that nests a hundred thousand deep": ("[" * 100_000, "INTEGRATIONS is not JSON", "Example: {"),
    "a list": ("[]", "INTEGRATIONS must be a JSON object", "Example: {"),
    "nothing in it": ("{}", "INTEGRATIONS contains neither an import nor an export", "Example: {"),
    "flows that are null": ('{"imports": null}', "INTEGRATIONS, imports must be a list", "Example: {"),
    "flows that are an object": ('{"imports": {}}', "INTEGRATIONS, imports must be a list", "Example: {"),
    "a flow that is text": ('{"imports": ["x"]}', "INTEGRATIONS, imports[0] must be an object", "Example: {"),
    "the imports named twice": (
        f'{{"imports": [{json.dumps(an_import())}], "imports": []}}',
        "INTEGRATIONS names 'imports' twice",
        "Remove one",
    ),
    "a folder named twice": (
        '{"imports": [{"name": "a", "inputFolder": "A", "inputFolder": "B"}]}',
        "INTEGRATIONS names 'inputFolder' twice",
        "Remove one",
    ),
    "a misspelt key": (
        imports(an_import(inputFoldr="x")),
        "imports[0].inputFoldr is unknown",
        "Did you mean inputFolder",
    ),
    "a key of ten thousand letters": (imports(an_import(**{"x" * 10_000: 1})), "is unknown", "Known keys: name"),
    "no folder": (imports({"name": "a"}), "imports[0].inputFolder is missing", "Example: Integrations/Customers/Input"),
    "a folder that is a number": (imports(an_import(inputFolder=7)), "imports[0].inputFolder must be text", "Example:"),
    "a folder that climbs out": (
        imports(an_import(inputFolder="../Input")),
        "imports[0].inputFolder has a name that begins or ends with a space, or ends with a dot",
        "Example:",
    ),
    "a folder with a line end": (
        imports(an_import(inputFolder="In\nput")),
        "imports[0].inputFolder has a character that OneDrive does not allow",
        "Example:",
    ),
    "a folder that reads from right to left": (
        imports(an_import(inputFolder="In\u202eput")),
        "imports[0].inputFolder has a name that OneDrive reserves",
        "Example:",
    ),
    "a folder of 401 letters": (
        imports(an_import(inputFolder="x" * 400)),
        "imports[0].inputFolder is longer than the 400 characters",
        "Example:",
    ),
    "two imports of one folder": (
        imports(an_import(), an_import(name="more", inputFolder="CUSTOMERS\\input")),
        "imports[1].inputFolder is /CUSTOMERS/input, which INTEGRATIONS, imports[0].inputFolder reads already",
        "Each import needs its own",
    ),
    "errors that go back to Input": (
        imports(an_import(errorFolder="Customers/Input")),
        "imports[0].errorFolder is /Customers/Input, the same as",
        "Use different folders",
    ),
    "successes inside Input": (
        imports(an_import(successFolder="Customers/Input/Done")),
        "imports[0].successFolder is /Customers/Input/Done, which is inside the Input folder",
        "Use a folder outside it",
    ),
    "a company of five letters": (
        imports(an_import(company="USMFX")),
        "imports[0].company must be a company's id, 1 to 4 letters or digits",
        "Example: USMF",
    ),
    "a flag in quotes": (
        imports(an_import(overwrite="true")),
        "imports[0].overwrite must be true or false",
        "Example:",
    ),
    "an interval that is not a number": (
        an_export_every("NaN"),
        "exports[0].everySeconds must be a whole number of seconds",
        "Example: 3600",
    ),
    "an interval without end": (
        an_export_every("1e999"),
        "exports[0].everySeconds must be a whole number of seconds",
        "Example: 3600",
    ),
    "an environment with a password": (
        imports(an_import(environmentUrl=f"https://me:{SECRET}@contoso.operations.dynamics.com")),
        "imports[0].environmentUrl must not hold a user name or password",
        "Example: https://contoso",
    ),
    "a file that is not there": ("integrations.json", "INTEGRATIONS is neither JSON nor the path of a file", "UTF-8"),
    "a path with a NUL": ("a\0b", "INTEGRATIONS is neither JSON nor the path of a file", "UTF-8"),
    "a folder for a file": (".", "INTEGRATIONS is neither JSON nor the path of a file", "UTF-8"),
}


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_integrations_that_cannot_be_meant_are_told_with_place_and_remedy(name: str, tmp_path: Path) -> None:
    text, wrong, to_do = INTEGRATIONS[name]

    with pytest.raises(SettingsInvalid) as told:
        settings_of(tmp_path, {"INTEGRATIONS": text})

    assert wrong in told.value.message
    assert to_do in told.value.message
    assert SECRET not in str(told.value)


# setting -> its value, what is wrong
SIMPLE: dict[str, tuple[str, str, str]] = {
    "an address without https": (
        "FO_URL",
        "contoso.operations.dynamics.com",
        "must be a URL that begins with https://",
    ),
    "an address with a path": (
        "FO_URL",
        "https://contoso.operations.dynamics.com/?cmp=USMF",
        "must be the address only",
    ),
    "an address in quotes": ("FO_URL", '"https://contoso.operations.dynamics.com"', "must be a URL"),
    "an address with a password": (
        "FO_URL",
        f"https://me:{SECRET}@contoso.com",
        "must not hold a user name or password",
    ),
    "an address whose port is none": ("FO_URL", "https://contoso.com:99999", "is not a URL"),
    "an address with letters of another script": (
        "FO_URL",
        "https://cont\u043eso.com",
        "contains invalid characters",
    ),
    "an address that is not private": ("GRAPH_URL", "http://graph.microsoft.com", "must begin with https://"),
    "a drive that is an address": ("ONEDRIVE_DRIVE", "https://contoso-my.sharepoint.com", "must be drives/<drive id>"),
    "a drive that climbs out": ("ONEDRIVE_DRIVE", "drives/../users/x@y.z", "must be drives/<drive id>"),
    "a schedule of five fields": ("OUTBOUND_SCHEDULE", "*/5 * * * *", "must be an NCRONTAB expression of six fields"),
    "a schedule beyond the clock": (
        "OUTBOUND_SCHEDULE",
        "0 0 25 * * *",
        "has a hour field that NCRONTAB does not accept",
    ),
    "a number without end": ("POLL_LONGEST_SECONDS", "inf", "must be a number from"),
    "a number in another script": ("POLL_FIRST_SECONDS", "٣", "must be a number from"),
    "a time that is negative": ("SUBMIT_GRACE_SECONDS", "-1", "must be a number from"),
    "a secret that can be guessed": ("CLIENT_STATE", "secret", "must be 16 to 128 ASCII letters"),
    "a secret with a line end": ("CLIENT_STATE", f"{SECRET}\n{SECRET}", "without spaces"),
    "an address to be called that is not private": (
        "NOTIFICATION_URL",
        f"http://contoso.com/api/x?code={SECRET}",
        "must begin with https://",
    ),
    "an address to be called without its path": (
        "NOTIFICATION_URL",
        f"https://contoso.com?code={SECRET}",
        "with its path",
    ),
    "a recipient without an at": ("ALERT_RECIPIENT", "operations", "must be an e-mail address"),
    "a recipient with a line end": (
        "ALERT_RECIPIENT",
        "a@contoso.com\r\nBcc: b@evil.example",
        "must be an e-mail address",
    ),
    "a storage that is half a connection string": (
        "AzureWebJobsStorage",
        f"AccountKey={SECRET}",
        "must be a storage account's connection string",
    ),
    "a certificate that is not there": ("AZURE_CLIENT_CERTIFICATE_PATH", "app.pem", "is not the path of a file"),
    "a flag that is a word": ("IMPORT_OVERWRITE", "perhaps", "must be true or false"),
    "a company that is a name": ("IMPORT_COMPANY", "Contoso", "must be a company's id, 1 to 4 letters or digits"),
    "a data project of 129 letters": ("IMPORT_DATA_PROJECT", "x" * 129, "must be a data project's name: 1 to 128"),
    "a reference that Azure left as it is": (
        "CLIENT_STATE",
        "@Microsoft.KeyVault(SecretUri=https://x)",
        "is a Key Vault reference that Azure could not resolve. Let the app's identity read it",
    ),
    "a misspelt name": ("INPUT_FOLDR", "Input", "is not a setting of this app. Did you mean INPUT_FOLDER?"),
}


@pytest.mark.parametrize("name", SIMPLE)
def test_a_setting_that_cannot_be_meant_is_told_by_its_name_and_never_with_a_secret(name: str, tmp_path: Path) -> None:
    setting, value, wrong = SIMPLE[name]

    with pytest.raises(SettingsInvalid) as told:
        settings_of(tmp_path, {setting: value})

    (line,) = [line for line in told.value.message.splitlines() if line.startswith(f"- {setting} ") and wrong in line]
    assert "Example: " in line or "Did you mean" in line
    assert SECRET not in str(told.value)


def test_the_settings_that_these_cases_change_are_good(tmp_path: Path) -> None:
    assert settings_of(tmp_path, {}).flows.imports
    assert settings_of(tmp_path, {"INTEGRATIONS": imports(an_import())}).flows.imports[0].name == "customers"
