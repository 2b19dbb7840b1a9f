"""What is taken out of texts before they are written anywhere."""

import json
import time

import pytest

from shared.secret import redacted

# Each holds the word "hush" as its secret.
TEXTS = (
    "GET https://acme.blob.core.windows.net/c/x?sv=2014-02-14&sig=hush%3D&se=2026",
    "https%3A%2F%2Facme%2Fx%3Fsv%3D1%26sig%3Dhush",
    "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=hush+/==;EndpointSuffix=core.windows.net",
    "Endpoint=sb://acme/;SharedAccessKeyName=x;SharedAccessKey=hush=",
    "BlobEndpoint=https://acme;SharedAccessSignature=hush&sig=hush",
    "https://acme.azurewebsites.net/api/x?code=hush&y=1",
    "grant_type=refresh_token&refresh_token=hush&client_secret=hush",
    "https://acme.sharepoint.com/download.aspx?UniqueId=1&tempauth=hush",
    '{"access_token":"hush","expires_in":3599}',
    '{"token_type": "Bearer", "refresh_token" : "hush"}',
    json.dumps({"body": json.dumps({"access_token": "hush/hush"})}),
    json.dumps({"body": json.dumps({"body": json.dumps({"client_secret": "hush"})})}),
    "{'access_token': 'hush'}",
    "Authorization: Bearer hush.hush-hush",
    "Authorization: Basic hush",
    "x-functions-key: hush",
    "AccountKey: hush",
    "token eyJhbGciOiJub25l.eyJodXNoIjoiaHVzaCJ9.hush",
    "https://hooks.slack.com/services/T000/B000/hush",
    "https:\\/\\/hooks.slack.com\\/services\\/T000\\/B000\\/hush",
    "https://hooks.slack.com/triggers/T000/1/hush",
    "https://acme.webhook.office.com/webhookb2/1@2/IncomingWebhook/hush/3",
    "https://outlook.office.com/webhook/1@2/IncomingWebhook/hush/3",
    "https://prod-1.westeurope.logic.azure.com:443/workflows/1/triggers/manual/paths/invoke?sp=%2Ftriggers&sig=hush",
    "https://discord.com/api/webhooks/1/hush",
    "https://api.telegram.org/bot1:hush/sendMessage",
    "https://chat.googleapis.com/v1/spaces/A/messages?key=hush&token=hush",
    "https://user:hush@acme.example/x",
    "password=hush",
)


@pytest.mark.parametrize("text", TEXTS)
def test_keys_tokens_and_addresses_that_are_keys_are_taken_out_and_a_log_line_stays_json(text: str) -> None:
    shown = redacted(text)
    line = redacted(json.dumps({"event": "x", "text": text, "behind": 1}))
    assert "hush" not in shown + line
    assert "***" in shown
    assert redacted(shown) == shown
    assert json.loads(line)["behind"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "The value '4711' in field 'Currency code' is not found in the related table 'Currencies'.",
        "error_code=5, postcode=1010, designation=x, monkey=1",
        '{"event": "step.done", "state": "executing", "code": "itemNotFound", "key": "run-1"}',
        "https://contoso.sharepoint.com/sites/x/Shared%20Documents/a.zip",
        "https://slack.com/help and https://www.office.com/webhook",
        "A token is missing: sign in again.",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        '"' * 200_000 + "token",
        "\\" * 200_000 + "token",
        "://" * 100_000,
        '"sig' + " " * 200_000,
        "bearer " * 50_000,
        "account_key " * 20_000,
        '"token":"' + "\\a" * 100_000,
        "eyJaaaaaaaa." * 20_000,
        "hooks.slack.com/" * 20_000,
    ],
    ids=range(9),
)
def test_a_text_that_was_made_to_take_long_takes_no_second(text: str) -> None:
    began = time.process_time()

    redacted(text)

    assert time.process_time() - began < 1
