"""Hostile texts, pushed through every place that text of others is put into: header, path, query, blob, mail and so on.

Each place is tried as the app uses it: over a socket, in Azurite, in a page, in a file.
"""

import csv
import email
import io
import json
import logging
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from local_cloud.receivers import text_of
from operations import pages, run_view
from operations.web import PageRequest
from shared import escapes
from shared.alerts.channels import MailAlerts, TeamsAlerts, WebhookAlerts, alerts_http
from shared.alerts.outbox import Outbox
from shared.alerts.record import alert_from_json, alert_to_json
from shared.azure_storage.container import BlobContainer
from shared.clients.fno.client import FinanceOperations, finance_operations_http
from shared.clients.fno.row_errors import RowError
from shared.clients.graph.onedrive import OneDrive
from shared.clients.http.client import Http
from shared.clients.http.context import correlated
from shared.imports.report import errors_csv
from shared.log import LOGGER_NAME, log
from shared.reservations.reservation import Reservation, reservation_from_json, reservation_to_json
from shared.runs.addresses import sort_key_of
from shared.runs.index import RunIndex
from shared.runs.lane import Stop
from shared.runs.record import run_from_json, run_to_json
from shared.runs.rows import Pause
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from shared.runs.store import RunStore
from shared.runs.values import FailedRow, FileFacts, Held, Problem, Submission
from shared.secret import SecretUrl
from tests import builders
from tests.alerts import a_message, an_alert
from tests.page_views import Elements
from tests.unit.clients.answering import Answer, AnsweringServer, OneToken, answering

NOW: Final = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
FOUR_SCRIPTS: Final = "日Жא😀" * 75

TEXTS: Final = {
    "nothing": "",
    "a blank": " ",
    "line breaks": "first\r\nX-Injected: yes\n\u2028third\x85fourth",
    "half a character": "half \ud83d of a pair",
    "both halves of a character": "\ud83d\ude00",
    "300 letters of four scripts": FOUR_SCRIPTS,
    "ten thousand letters": "x" * 10_000,
    "formula signs": "=cmd|'/c calc'!A1;=1+1;\t@SUM(A1)\n+1\r-1;\"=2\"",
    "quotes": "it's \"quoted\" and ``'' \\\" so",
    "NUL and other controls": "a\0b\x1b[31m\x7f\x9b2J",
    "what means something in an address": "../a/./b?c=d&e=f#g%00%2e;h+i@j:k\\l",
    "dots": "..",
    "a page": "<script>alert(1)</script><!-- ]]> {{ 7*7 }} {% raw %} ${x} %s",
    "a link": "[click](javascript:alert(1)) https://evil.example",
    "right to left": "\u202etxt.exe",
    "JSON": '{"a": "\\u0000\\ud800", "b": [1]}',
}


@pytest.fixture(params=TEXTS.values(), ids=list(TEXTS))
def text(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture(scope="module")
def server() -> Iterator[AnsweringServer]:
    with answering(lambda _: Answer(body=b'{"value": []}')) as server:
        yield server


letters = escapes.whole_text  # what must be left of a text wherever there is room for it


def is_whole(text: str) -> bool:
    """Return whether UTF-8 can carry it."""
    return text.encode(errors="replace").decode() == text


# -- HTTP


def test_it_is_one_value_of_a_header_and_nothing_else(text: str, server: AnsweringServer) -> None:
    http = Http(service="F&O", token=None, request_id_header="request-id")
    with correlated(text):
        http.call("GET", f"{server.url}/x", operation="x", idempotent=True, headers={"If-Match": text})
    http.close()

    asked = server.asked[-1]
    assert "x-injected" not in asked.headers
    value = asked.headers["client-request-id"]
    assert value.isascii()
    assert value.isprintable()
    assert 0 < len(value) <= 256
    assert escapes.header_value(escapes.header_value("Import-1")) == "Import-1"


def test_it_is_one_segment_of_a_path_in_onedrive(text: str, server: AnsweringServer) -> None:
    http = Http(service="Microsoft Graph", token=OneToken(), request_id_header="request-id", origin=server.url)
    server.handler = lambda _: Answer(body=json.dumps({"id": "x", "name": "x"}).encode())
    OneDrive(f"{server.url}/v1.0", "me/drive", http, http).get(text or "x")
    http.close()

    path = server.asked[-1].path
    assert path.startswith("/v1.0/me/drive/items/")
    segment = path.removeprefix("/v1.0/me/drive/items/")
    assert not set(segment) & set('/?# \\"<>')
    assert segment not in (".", "..")
    assert unquote(segment) == letters(text or "x")


def test_it_is_one_literal_of_a_query_at_f_and_o(text: str, server: AnsweringServer) -> None:
    http = finance_operations_http(OneToken(), server.url)
    server.handler = lambda _: Answer(body=b'{"value": []}')
    FinanceOperations(server.url, http).job_details(text or "x")
    http.close()

    query = parse_qs(urlsplit(server.asked[-1].path).query, keep_blank_values=True)
    assert list(query) == ["$filter", "$select"]
    (condition,) = query["$filter"]
    assert condition == "JobId eq '{}'".format(letters(text or "x").replace("'", "''"))


# -- storage


@pytest.fixture
def container(azurite_connection: str) -> Iterator[ContainerClient]:
    with BlobServiceClient.from_connection_string(azurite_connection, retry_total=0) as service:
        yield service.get_container_client(f"runs-{uuid.uuid4().hex}")


def a_row(text: str) -> FailedRow:
    return FailedRow(record_id=text, field=text, message=text)


def a_run(text: str, key: str) -> Run:
    """Return a run of which every text is this one."""
    return builders.a_run(
        flow_name=text or "import",
        opened=NOW,
        file=FileFacts(name=text, item_id=key, folder=text, web_url=text),
        sort_key=sort_key_of(NOW, key),
        data_project=text,
        company=text,
        entities=(text,),
        submissions=(Submission(execution_id=text, chosen=NOW),),
        reason=text,
        failed_rows=(a_row(text),),
        problem=Problem(text=text, since=NOW),
        held=Held(since=NOW, text=text, refusal=text),
    )


def test_it_is_kept_in_records_names_and_metadata_of_blobs(text: str, container: ContainerClient) -> None:
    store, index = RunStore(BlobContainer(container)), RunIndex(BlobContainer(container))
    run = a_run(text, text)

    assert store.create(run)
    assert not store.create(run)
    store.pause_lane(Pause(lane="in-1", by=text, why=text * 2, since=NOW))
    store.save_stop(Stop(lane="in-1", flow_name=text, refusal=text, text=text, since=NOW, next_try=NOW))

    (row,) = index.open_rows()
    assert (row.damage, is_whole(row.file_name), is_whole(row.words)) == ("", True, True)
    assert row.file_name == escapes.cut(row.file_name, 255)
    assert row.file_name.removesuffix("…") in letters(text)
    read = store.run_at(row.address)
    assert read is not None
    assert (read.file.name, read.submissions[0].execution_id) == (letters(text), letters(text))
    assert store.of_same_file(replace(run, lane="in-2"))
    paused = store.pause_of("in-1")
    assert paused is not None
    assert paused.why.removesuffix("…") in letters(text * 2)
    (stop,) = store.open_lanes().stops
    assert stop.text.removesuffix("…") in letters(text)
    for blob in container.list_blobs(include=["metadata"]):
        assert len(blob.name) <= 1024
        assert sum(len(name) + len(value) for name, value in (blob.metadata or {}).items()) <= 8192
        assert all(value.isascii() and value.isprintable() for value in (blob.metadata or {}).values())
    store.end(store.save(replace(read, state=State.FILED, outcome=Outcome.FAILED, ended=NOW)))
    (ended,) = [each for rows in index.ended_rows(NOW.date()) for each in rows.rows]
    assert ended.file_name == row.file_name


def test_it_is_kept_in_records_of_alerts_and_reservations(text: str, container: ContainerClient) -> None:
    outbox = Outbox(BlobContainer(container))
    alert = an_alert(title=text, text=text, file_name=text, flow_name=text, rows=(a_row(text),))

    assert outbox.put(alert)

    kept = outbox.read(alert.key)
    assert kept is not None
    assert kept.file_name == letters(text)
    assert is_whole(alert_to_json(alert))
    assert alert_from_json(alert_to_json(alert)).text == kept.text
    reservation = Reservation(environment_url="https://contoso.example", name=f"project:{text}", holder=None)
    assert reservation_from_json(reservation_to_json(reservation)).name == f"project:{letters(text)}"
    assert run_from_json(run_to_json(a_run(text, "key")).encode()).file.name == letters(text)


# -- people


def test_it_is_one_line_of_json_in_the_log(text: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER_NAME)

    log.info("x", key=text, other=[text], name=text)

    line = caplog.messages[-1]
    assert "\n" not in line
    assert is_whole(line)
    assert json.loads(line)["event"] == "x"


def test_it_is_the_subject_and_the_text_of_a_mail(text: str, server: AnsweringServer) -> None:
    http = Http(service="Microsoft Graph", token=OneToken(), request_id_header="request-id")
    server.handler = lambda _: Answer(status=202)
    mails = MailAlerts(f"{server.url}/v1.0", text or "me@contoso.com", "ops@contoso.com", http)
    mails.send(a_message(an_alert(title=text, text=text)))
    http.close()

    asked = server.asked[-1]
    assert asked.path.endswith("/sendMail")
    assert asked.path.count("/") == 4
    mail = json.loads(asked.body)["message"]
    assert len(mail["subject"]) <= 255
    assert not set(mail["subject"]) & set("\r\n")
    assert "\0" not in asked.body.decode() + mail["subject"] + mail["body"]["content"]
    written = email.message.EmailMessage()
    written["Subject"] = mail["subject"]  # raises for a line break
    assert is_whole(mail["body"]["content"])


def test_it_is_a_text_run_of_a_card_and_a_text_in_the_json_of_a_webhook(text: str, server: AnsweringServer) -> None:
    http = alerts_http()
    server.handler = lambda _: Answer(status=202)
    message = a_message(an_alert(title=f"Failed {text}", text=text, file_name=text, rows=(a_row(text),)))
    TeamsAlerts(SecretUrl(f"{server.url}/teams"), http).send(message)
    WebhookAlerts(SecretUrl(f"{server.url}/hook"), None, http, clock=lambda: NOW).send(message)
    http.close()

    card, posted = (json.loads(asked.body.decode()) for asked in server.asked[-2:])
    assert is_whole(text_of(card["attachments"][0]["content"]))
    assert "\0" not in text_of(card["attachments"][0]["content"])
    assert posted["alerts"][0]["file"] == letters(text)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_it_is_no_formula_in_a_csv_whatever_the_list_separator_is(text: str, delimiter: str) -> None:
    rows = [RowError(record_id=text, field=text, message=text)]

    for content in (errors_csv(rows, ""), errors_csv((), text)):
        shown = content.decode("utf-8-sig")
        cells = [cell for row in csv.reader(io.StringIO(shown, newline=""), delimiter=delimiter) for cell in row]
        lines = [cell for line in shown.splitlines() for cell in line.split(delimiter)]
        starts = [cell.lstrip(' "\r\n') for cell in (*cells, *lines)]
        assert not [start for start in starts if start.startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))]
        assert "\0" not in shown


def test_it_is_text_in_a_page_and_in_its_json(text: str) -> None:
    shown = PageRequest(query={"text": text, "code": text}, user=text)
    view = run_view.view_run(a_run(text, "key"), None)

    harmless = run_view.view_run(a_run("harmless", "key"), None)
    page, plain_page = (pages.run_page(each, PageRequest(query={})) for each in (view, harmless))
    content, plain = Elements(page.body), Elements(plain_page.body)

    assert "\0" not in page.body
    assert page.body.encode()
    assert {tag for tag, _ in content.elements} <= {tag for tag, _ in plain.elements}
    assert not [link for link in content.values("href") if str(link).casefold().startswith("javascript:")]
    assert json.loads(pages.as_json(view, shown).body)["reason"] == letters(text)
    assert pages.link(shown, "/x", text=text).encode().isascii()


def test_it_is_text_on_a_terminal_and_a_part_of_a_files_name(text: str) -> None:
    assert all(sign.isprintable() or sign == "\n" for sign in escapes.terminal_text(text))
    assert not set(escapes.file_name_part(text)) & set('"*:<>?/\\|\0\r\n.')


def test_the_same_place_of_a_lane_is_made_of_the_same_long_key_and_of_no_other() -> None:
    one, other = FOUR_SCRIPTS + "1", FOUR_SCRIPTS + "2"

    assert escapes.blob_part(one) == escapes.blob_part(one)
    assert escapes.blob_part(one) != escapes.blob_part(other)
    assert escapes.blob_part("01ABC!7") == "01ABC%217"  # as older versions have saved it


# -- JSON of others


@pytest.mark.parametrize(
    "body", [b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b'{"a": "\xed\xa0\x80"}', b"[" * 100_000, b"\xff", b"", b"nope"]
)
def test_json_that_holds_half_a_character_or_nests_by_the_thousand_is_refused_as_no_json(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        escapes.read_json(body)


def test_half_a_character_in_a_services_answer_is_mended_and_the_rest_is_read() -> None:
    read = escapes.read_json(b'{"a": "x\\ud800", "b": "\\ud83d\\ude00"}', mend=True)

    assert read == {"a": "x\N{REPLACEMENT CHARACTER}", "b": "😀"}
