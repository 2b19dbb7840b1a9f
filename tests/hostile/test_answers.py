"""Answers that no service should give: each becomes an error of the app that says what to do, or is read all the same.

What the real services are known to say is held in ``tests/unit/clients``; here is what a proxy, a broken gateway or
somebody in the middle might. That none of it is a file's fault is held in ``test_blame.py``.
"""

import gzip
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from shared.clients.blobs.read import open_blob, open_package, read_small
from shared.clients.fno.client import ExecutionStatus, FinanceOperations
from shared.clients.fno.row_errors import parse_execution_errors
from shared.clients.graph.onedrive import OneDrive
from shared.clients.graph.upload import CHUNK
from shared.clients.http import client as http
from shared.clients.http.client import Http
from shared.clients.http.errors import LONGEST_WAIT_S, retry_after_s
from shared.errors import AnswerLost, AppError, DataDamaged, NeedsPerson, Refused, TryAgain
from shared.secret import SecretUrl
from tests.hostile.answers import AnswerTable, Raw, by_themselves, in_body
from tests.unit.clients.answering import Answer, AnsweringServer

DEEP = b'{"value": ' * 100_000
NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


type Answers = Callable[..., AnsweringServer]


@pytest.fixture
def answers(server: AnsweringServer) -> Answers:
    """Let the server answer everything with this status, body (JSON, unless it is bytes) and headers."""

    def set_up(body: object, *, status: int = 200, **headers: str) -> AnsweringServer:
        answer = body if isinstance(body, Answer) else in_body(body, status=status, **headers)
        server.handler = lambda _: answer
        return server

    return set_up


def start(fo: FinanceOperations) -> str:
    """Start an import."""
    return fo.import_from_package(
        package_url=SecretUrl("https://contoso.blob.core.windows.net/dmf/x.zip?sig=known-signature"),
        data_project="Asset-Major-Types",
        execution_id="Asset-Major-Types-1",
        legal_entity="USMF",
    )


# -- F&O: no place to upload to

NO_PLACE: AnswerTable[object] = AnswerTable(
    "no place to upload to",
    in_body,
    {
        "a page of HTML": b"<html><body>Sign in</body></html>",
        "nothing": b"",
        "a list": [],
        "a number": 7,
        "an object without a value": {},
        "a value that is null": {"value": None},
        "a value that is a number": {"value": 12},
        "a value of text that is no JSON": {"value": "BlobUrl"},
        "a value of JSON that is a list": {"value": "[]"},
        "a value that nests a hundred thousand deep": {"value": "[" * 100_000},
        "a body that nests a hundred thousand deep": DEEP,
        "a body that is no UTF-8": b'{"value": "\xff\xfe"}',
        "a number of five thousand digits": b'{"value": ' + b"9" * 5_000 + b"}",
        "an address that is a number": {"value": '{"BlobUrl": 7}'},
        "an address of another kind": {"value": '{"BlobUrl": "ftp://contoso/x.zip"}'},
        "an address that is a script": {"value": '{"BlobUrl": "javascript:alert(1)"}'},
        "an address that is none": {"value": '{"BlobUrl": "http://["}'},
    },
)


@pytest.mark.parametrize("name", NO_PLACE)
def test_without_a_place_to_upload_to_nothing_is_sent_and_it_is_asked_again(
    name: str, answers: Answers, fo: FinanceOperations
) -> None:
    answers(NO_PLACE[name])

    with pytest.raises(TryAgain, match=r"F&O answered GetAzureWriteUrl with(?:out an upload URL| something)") as caught:
        fo.get_azure_write_url("x.zip")

    assert caught.value.call is not None
    assert len(str(caught.value)) < 500


# -- F&O: nobody knows whether it has begun

NO_ID: AnswerTable[object] = AnswerTable(
    "no execution id",
    in_body,
    {
        "a page of HTML": b"<html><body>Sign in</body></html>",
        "nothing": b"",
        "an id that is empty": {"value": "  "},
        "an id that is null": {"value": None},
        "an id of a million letters": {"value": "x" * 1_000_000},
        "the id of nothing": {"value": "00000000-0000-0000-0000-000000000000"},
        "a body that nests a hundred thousand deep": DEEP,
    },
)


@pytest.mark.parametrize("name", NO_ID)
def test_an_import_whose_answer_holds_no_id_is_looked_up_and_never_sent_again(
    name: str, answers: Answers, fo: FinanceOperations
) -> None:
    server = answers(NO_ID[name])
    before = len(server.asked)

    with pytest.raises(AnswerLost, match=r"may have (?:started|taken effect) anyway") as caught:
        start(fo)

    assert len(server.asked) == before + 1
    assert len(str(caught.value)) < 500


# -- F&O: refusals in every form

COMPANY = "Wrong company"
REFUSALS: AnswerTable[tuple[object, str]] = AnswerTable(
    "refusals",
    lambda entry: in_body(entry[0], status=400),
    {
        "an error that is text": ({"error": "Wrong company"}, "ImportFromPackage: Wrong company"),
        "an error that is a list": ({"error": ["Wrong company"]}, COMPANY),
        "a message that is an object": ({"Message": {"a": "Wrong company"}}, COMPANY),
        "a reason five hundred errors deep": (
            b'{"error": ' + b'{"innererror": ' * 500 + b'{"message": "Wrong company"}' + b"}" * 501,
            COMPANY,
        ),
        "a reason a hundred thousand errors deep": (
            b'{"error": ' + b'{"innererror": ' * 100_000,
            "F&O rejects the call",
        ),
        "a code of a million letters": ({"error": {"code": "X" * 1_000_000, "message": COMPANY}}, COMPANY),
        "a reason of ten million letters": ({"error": {"message": "Wrong company " * 700_000}}, COMPANY),
        "a reason with halves of characters": (b'{"error": {"message": "Wrong company \\ud83d \\ude00"}}', COMPANY),
        "a reason that is no UTF-8": (b"Wrong company \xff\xfe\xfa", COMPANY),
        "a reason that is bytes of anything": (bytes(range(256)) * 10, "F&O rejects the call"),
        "a page of HTML": (b"<html>" + b"<p>" * 100_000, "HTTP 400 without a reason"),
        "nothing": (b"", "HTTP 400 without a reason"),
        "the key to the package": (
            {"error": {"message": "Cannot read https://a.blob.core.windows.net/x?sv=1&sig=known-signature"}},
            r"sig=\*\*\*",
        ),
    },
)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_of_any_form_blames_nobody_and_tells_what_can_be_read_of_it(
    name: str, answers: Answers, fo: FinanceOperations
) -> None:
    """Nothing proves that F&O's action ran, so it may be about this file, about all, or not F&O's at all."""
    answers(REFUSALS.answer(name))

    with pytest.raises(Refused, match=REFUSALS[name][1]) as caught:
        start(fo)

    told = str(caught.value)
    assert len(told) < 3_000
    assert "known-signature" not in told
    told.encode()  # it can be written


# -- F&O: how an execution stands

ODD_STATUSES: AnswerTable[object] = AnswerTable(
    "statuses of an execution",
    in_body,
    {
        "an object": {"value": {"Status": "Succeeded"}},
        "a list": {"value": ["Succeeded"]},
        "a number beyond all statuses": {"value": 99},
        "a word of a million letters": {"value": "S" * 1_000_000},
        "half a character": b'{"value": "\\ud800"}',
    },
)


@pytest.mark.parametrize("name", ODD_STATUSES)
def test_a_status_that_nobody_knows_is_unknown_and_is_asked_for_again(
    name: str, answers: Answers, fo: FinanceOperations, caplog: pytest.LogCaptureFixture
) -> None:
    answers(ODD_STATUSES[name])

    assert fo.execution_status("x") is ExecutionStatus.UNKNOWN
    assert max(len(record.getMessage()) for record in caplog.records) < 500


JOB_DETAILS: AnswerTable[object] = AnswerTable(
    "job details",
    in_body,
    {
        "null": {"value": None},
        "a text": {"value": "none"},
        "a list of other things": {"value": [1, None, []]},
        "counts that are none": {"value": [{"EntityName": [1], "TargetRecordsCreatedCount": "many"}]},
        "a count beyond all": {"value": [{"StagingRecordsCreatedCount": 1e300}]},
        "a count without end": b'{"value": [{"TargetRecordsCreatedCount": Infinity, "TargetStatus": {}}]}',
    },
)


@pytest.mark.parametrize("name", JOB_DETAILS)
def test_job_details_of_any_form_are_read_as_far_as_they_go(name: str, answers: Answers, fo: FinanceOperations) -> None:
    answers(JOB_DETAILS[name])

    entities = fo.job_details("x")

    assert all(isinstance(entity.target_created, int) for entity in entities)
    assert not any(entity.target_never_started for entity in entities)


# -- F&O: row errors

ROWS: AnswerTable[str] = AnswerTable(
    "row errors",
    lambda value: in_body({"value": value}),
    {
        "a message with fifty thousand blanks": '[{"RecordId":"1","Field":"A","ErrorMessage":"it "is"%sbad"}]'
        % (" " * 50_000),
        "a row cut off behind fifty thousand blanks": '[{"RecordId":"1%sbad' % (" " * 50_000),
        "fifty thousand blanks before a quote": '[{"RecordId":"","Field":"%s"x","ErrorMessage":"bad"' % (" " * 50_000),
        "fifty thousand brackets": '[{"RecordId":"1","Field":"","ErrorMessage":"bad"' + "}]" * 50_000,
        "fifty thousand opening brackets": "[" * 50_000 + "bad",
        "fifty thousand commas": '[{"RecordId":"bad"' + "," * 50_000,
        "fifty thousand keys": '[{"RecordId":"bad"' + ',"Field":' * 50_000,
        "half a character in every place": '[{"RecordId":"\\ud800","Field":"\\udc00","ErrorMessage":"bad \\ud83d"}]',
    },
)


@pytest.mark.parametrize("name", ROWS)
def test_row_errors_of_any_form_are_read_at_once_and_keep_their_words(name: str) -> None:
    began = time.process_time()

    errors = parse_execution_errors(ROWS[name])

    assert time.process_time() - began < 5  # hours, before the patterns were made for it
    assert "bad" in " ".join(row.message + row.record_id + row.field for row in errors.rows)
    assert all("\n" not in row.message for row in errors.rows)


# -- any service: how long to wait

WAITS: AnswerTable[tuple[str, float | None]] = AnswerTable(
    "how long to wait",
    lambda entry: in_body(b"", status=429, Retry_After=entry[0]) if entry[0].isascii() else Answer(status=429),
    {
        "a number of 400 digits": ("9" * 400, LONGEST_WAIT_S),
        "three thousand years in seconds": ("99999999999", LONGEST_WAIT_S),
        "the last date of all": ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT_S),
        "a year beyond all calendars": ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        "an offset beyond all maps": ("Mon, 01 Jan 2026 00:00:00 +99999999999999", None),
        "a date that has been": ("Mon, 02 Nov 1970 08:00:00 GMT", 0.0),
        "less than nothing": ("-5", None),
        "a number in another form": ("1e5", None),
        "a digit that is no number": ("²", None),
        "a digit of another alphabet": ("٣", None),
        "for ever": ("inf", None),
        "a word": ("soon", None),
        "nothing": ("", None),
    },
)


@pytest.mark.parametrize("name", WAITS)
def test_nobody_makes_the_app_wait_for_more_than_an_hour(name: str) -> None:
    value, wait_s = WAITS[name]

    assert retry_after_s({"Retry-After": value}, now=NOW) == wait_s


# -- any service: bodies without end


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed a thousandfold"])
def test_of_an_endless_answer_only_so_much_is_read(
    packed: bool, monkeypatch: pytest.MonkeyPatch, answers: Answers, fo: FinanceOperations
) -> None:
    monkeypatch.setattr(http, "_BODY_LIMIT", 2**21)
    body = b"[" + b" " * 2**23
    answers(gzip.compress(body) if packed else body, **({"Content_Encoding": "gzip"} if packed else {}))

    with pytest.raises(TryAgain, match=r"F&O at .* answered with more than 2 MiB"):
        fo.execution_status("x")
    with pytest.raises(AnswerLost, match="answered with more than 2 MiB; the call may have taken effect anyway"):
        start(fo)


NOT_PACKED = AnswerTable(
    "not packed as it says",
    lambda encoding: in_body(b"not packed", Content_Encoding=encoding),
    by_themselves(["gzip", "deflate", "br", "x, gzip"]),
)


@pytest.mark.parametrize("encoding", NOT_PACKED)
def test_a_body_that_is_not_packed_as_it_says_is_tried_again(
    encoding: str, answers: Answers, fo: FinanceOperations
) -> None:
    answers(NOT_PACKED.answer(encoding))

    with pytest.raises(TryAgain, match=r"before its answer was complete|not a JSON object"):
        fo.execution_status("x")


# -- OneDrive


def a_file(**more: object) -> dict[str, object]:
    return {"id": "01FILE", "name": "USMF_x.zip", "size": 5, "file": {}, **more}


ODD_ITEMS: AnswerTable[dict[str, object]] = AnswerTable(
    "odd items",
    lambda more: in_body({"value": [a_file(**more)], **a_file(**more)}),
    {
        "a size that is text": {"size": "many"},
        "a size that is null": {"size": None},
        "no name": {"name": None},
        "a time east of Greenwich in the year 1": {"lastModifiedDateTime": "0001-01-01T00:00:00+05:00"},
        "a time that is none": {"lastModifiedDateTime": "yesterday"},
        "facets of the wrong kind": {"file": [], "parentReference": "root", "pendingOperations": 0},
        "a name with half a character": {"name": "USMF_\ud800.zip"},
        "a download address that is none": {"@microsoft.graph.downloadUrl": "http://["},
    },
)


@pytest.mark.parametrize("name", ODD_ITEMS)
def test_an_odd_item_is_read_as_far_as_it_goes(name: str, answers: Answers, drive: OneDrive) -> None:
    answers({"value": [a_file(**ODD_ITEMS[name])]})

    (item,) = drive.list_files("01INPUT")

    assert item.item_id == "01FILE"
    assert isinstance(item.size_bytes, int)
    assert item.last_modified.tzinfo is UTC
    item.name.encode()  # it can be written into a record


NO_LISTING: AnswerTable[object] = AnswerTable(
    "no listing",
    in_body,
    {
        "no id": {"value": [{"name": "USMF_x.zip", "file": {}}]},
        "an id that is a number": {"value": [{"id": 7, "file": {}}]},
        "a page": b"<html/>",
        "nothing": b"",
        "a hundred thousand deep": DEEP,
        "a list": [],
    },
)


@pytest.mark.parametrize("name", NO_LISTING)
def test_a_listing_that_cannot_be_read_is_tried_again(name: str, answers: Answers, drive: OneDrive) -> None:
    answers(NO_LISTING[name])

    with pytest.raises(TryAgain, match="Microsoft Graph"):
        list(drive.list_files("01INPUT"))


NEXT_PAGES = AnswerTable(
    "next pages",
    lambda link: in_body({"value": [a_file()], "@odata.nextLink": link}),
    by_themselves(
        [
            *("https://evil.example/v1.0/next", "http://127.0.0.1.evil.example/", "http://127.0.0.1:1/v1.0/next"),
            *("//evil.example/next", "next", "http://["),
        ]
    ),
)


@pytest.mark.parametrize("link", NEXT_PAGES)
def test_the_token_is_not_sent_to_wherever_a_next_page_is_said_to_be(
    link: str, answers: Answers, drive: OneDrive
) -> None:
    server = answers(NEXT_PAGES.answer(link))
    before = len(server.asked)

    with pytest.raises(NeedsPerson, match=r"does not send its token there. Check GRAPH_URL"):
        list(drive.list_files("01INPUT"))

    assert len(server.asked) == before + 1


REDIRECTS = AnswerTable(
    "redirects",
    lambda status: in_body(b"", status=status, Location="https://evil.example/"),
    by_themselves([301, 302, 307, 308]),
)


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_is_not_followed_and_needs_a_person(status: str, answers: Answers, drive: OneDrive) -> None:
    answers(REDIRECTS.answer(status))

    with pytest.raises(NeedsPerson, match=r"which is not followed. Check the address in the settings"):
        drive.get("01FILE")


POSITIONS = AnswerTable(
    "positions of an upload",
    lambda position: in_body({"uploadUrl": "http://127.0.0.1:1/up", "nextExpectedRanges": [position]}),
    {
        "a number of five thousand digits": "9" * 5_000,
        **by_themselves(["-5", "²", "٣", "99999999999999999-", "x"]),
    },
)


@pytest.mark.parametrize("name", POSITIONS)
def test_an_upload_that_stands_at_no_place_in_the_file_begins_anew(
    name: str, answers: Answers, drive: OneDrive
) -> None:
    server = answers({})
    body = {"uploadUrl": f"{server.url}/up", "nextExpectedRanges": [POSITIONS[name]]}
    server.handler = lambda asked: Answer(status=416) if asked.method == "PUT" else in_body(body)
    with pytest.raises(TryAgain, match="It starts over"), drive.open_upload("01OUT", "x.zip", CHUNK) as upload:
        upload.put(0, bytes(CHUNK))


UPLOAD_URLS = AnswerTable(
    "addresses for an upload",
    lambda url: in_body({"uploadUrl": url}),
    by_themselves(["https://evil example/up", "http://evil.example/up", "http://[", "/up", "x"]),
)


@pytest.mark.parametrize("url", UPLOAD_URLS)
def test_no_byte_is_uploaded_to_what_is_no_private_address(url: str, answers: Answers, drive: OneDrive) -> None:
    answers(UPLOAD_URLS.answer(url))

    with pytest.raises(AppError) as caught, drive.open_upload("01OUT", "x.zip", 5) as upload:
        upload.put(0, b"12345")

    assert isinstance(caught.value, NeedsPerson | TryAgain)
    assert "settings" in caught.value.message or "unreachable" in caught.value.message


# -- pre-authenticated downloads


RANGES = AnswerTable(
    "ranges",
    lambda content_range: in_body(b"01234", status=206, Content_Range=content_range),
    {
        "nothing": "",
        "a number of five thousand digits": "bytes 0-4/" + "9" * 5_000,
        **by_themselves(["bytes 0-4/²", "bytes 0-4/*", "bytes 0-4/-5", "bytes 5-9/20000000", "bytes */20000000"]),
        "no bytes": "items 0-4/20000000",
    },
)


@pytest.mark.parametrize("name", RANGES)
def test_a_range_that_is_not_what_was_asked_for_is_fetched_again(name: str, answers: Answers, downloads: Http) -> None:
    server = answers(RANGES.answer(name))
    url = SecretUrl(f"{server.url}/x?tempauth=known")

    with pytest.raises(DataDamaged, match="another range was returned"):
        open_blob(url)
    with pytest.raises(DataDamaged), open_package(url, 20_000_000, downloads) as opened:
        opened.file.read(5)


LENGTHS = AnswerTable(
    "lengths",
    lambda length: Raw(
        f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n01234".encode("latin-1")
    ),
    by_themselves(["²", "9" * 30, "-1", "five"]),
)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_length_that_is_none_is_not_believed(length: str, answers: Answers, downloads: Http) -> None:
    server = answers(LENGTHS.answer(length))

    try:
        assert read_small(SecretUrl(f"{server.url}/x"), downloads, 100) == b"01234"
    except AppError as error:
        assert isinstance(error, TryAgain)  # noqa: PT017  # either is right


# -- what is shown of all that


STATUSES = AnswerTable(
    "statuses",
    lambda status: in_body({"error": {"code": "x", "message": "no"}}, status=status),
    by_themselves([200, 206, 301, 400, 401, 403, 404, 409, 416, 423, 429, 500, 503, 507]),
)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "url", ["/x?tempauth=known-key&sig=known-key", f"/y4m{'known-key' * 10}/x.zip"], ids=["in the query", "in the path"]
)
def test_whatever_a_download_ends_with_its_key_is_not_in_the_traceback(
    status: str, url: str, answers: Answers, downloads: Http
) -> None:
    server = answers(STATUSES.answer(status))

    with pytest.raises(AppError) as caught, open_package(SecretUrl(server.url + url), 5, downloads) as opened:
        opened.file.read()

    assert "known-key" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x?sig=known-key", "https://127.0.0.1:1/x?sig=known-key"])
def test_a_service_that_is_out_of_reach_is_told_without_the_key(url: str, downloads: Http) -> None:
    with (
        pytest.raises(TryAgain, match="unreachable; nothing was sent") as caught,
        open_package(SecretUrl(url), 5, downloads),
    ):
        pass

    assert "known-key" not in "".join(traceback.format_exception(caught.value))
