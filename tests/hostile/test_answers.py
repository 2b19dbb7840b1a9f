"""Answers that no service should give: each becomes an error of the app that says what to do, or is read all the same.

What the real services are known to say is held in ``tests/unit/clients``; here is what a proxy, a broken gateway or
somebody in the middle might.
"""

import gzip
import json
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from shared.clients import http
from shared.clients.dmf import ExecutionStatus, FinanceOperations, finance_operations_http, parse_execution_errors
from shared.clients.http import LONGEST_WAIT_S, Http, retry_after_s
from shared.clients.onedrive import CHUNK, OneDrive
from shared.clients.transfer import open_blob, open_package, read_small
from shared.errors import AnswerLost, AppError, DataDamaged, FileRejected, NeedsPerson, TryAgain
from shared.secret import SecretUrl
from tests.unit.clients.answering import Answer, AnsweringServer, answering

DEEP = b'{"value": ' * 100_000
NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


class OneToken:
    """A token source that always has the same token."""

    def token(self, *, refresh: bool = False) -> str:
        return "made-up-token"


@pytest.fixture(scope="module")
def _server() -> Iterator[AnsweringServer]:
    with answering(lambda _: Answer()) as server:
        yield server


@pytest.fixture
def answers(_server: AnsweringServer) -> Callable[..., AnsweringServer]:
    """Let the server answer everything with this status, body (JSON, unless it is bytes) and headers."""

    def set_up(body: object, *, status: int = 200, **headers: str) -> AnsweringServer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        wire_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        _server.handler = lambda _: Answer(status=status, body=content, headers=wire_headers)
        return _server

    return set_up


@pytest.fixture(scope="module")
def fo(_server: AnsweringServer) -> Iterator[FinanceOperations]:
    """An F&O behind the server."""
    calls = finance_operations_http(OneToken())
    yield FinanceOperations(_server.url, calls, submit_timeout_s=10)
    calls.close()


@pytest.fixture(scope="module")
def drive(_server: AnsweringServer) -> Iterator[OneDrive]:
    """A drive behind the server."""
    calls = Http(service="Microsoft Graph", token=OneToken(), request_id_header="request-id")
    uploads = Http(service="OneDrive content", token=None, request_id_header="request-id")
    yield OneDrive(f"{_server.url}/v1.0", "drives/b!abc", calls, uploads)
    calls.close()
    uploads.close()


@pytest.fixture(scope="module")
def downloads() -> Iterator[Http]:
    """HTTP without a token."""
    calls = Http(service="OneDrive content", token=None, request_id_header="request-id")
    yield calls
    calls.close()


def start(fo: FinanceOperations) -> str:
    """Start an import."""
    return fo.import_from_package(
        package_url=SecretUrl("https://contoso.blob.core.windows.net/dmf/x.zip?sig=known-signature"),
        data_project="Asset-Major-Types",
        execution_id="Asset-Major-Types-1",
        legal_entity="USMF",
    )


# -- F&O: no place to upload to

NO_PLACE = {
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
}


@pytest.mark.parametrize("name", NO_PLACE)
def test_without_a_place_to_upload_to_nothing_is_sent_and_it_is_asked_again(
    name: str, answers: Callable[..., AnsweringServer], fo: FinanceOperations
) -> None:
    answers(NO_PLACE[name])

    with pytest.raises(TryAgain, match=r"F&O answered GetAzureWriteUrl with(?:out a URL| something)") as caught:
        fo.get_azure_write_url("x.zip")

    assert caught.value.call is not None
    assert len(str(caught.value)) < 500


# -- F&O: nobody knows whether it has begun

NO_ID = {
    "a page of HTML": b"<html><body>Sign in</body></html>",
    "nothing": b"",
    "an id that is empty": {"value": "  "},
    "an id that is null": {"value": None},
    "an id of a million letters": {"value": "x" * 1_000_000},
    "the id of nothing": {"value": "00000000-0000-0000-0000-000000000000"},
    "a body that nests a hundred thousand deep": DEEP,
}


@pytest.mark.parametrize("name", NO_ID)
def test_an_import_whose_answer_holds_no_id_is_looked_up_and_never_sent_again(
    name: str, answers: Callable[..., AnsweringServer], fo: FinanceOperations
) -> None:
    server = answers(NO_ID[name])
    before = len(server.asked)

    with pytest.raises(AnswerLost, match=r"may have (?:started|been done) all the same") as caught:
        start(fo)

    assert len(server.asked) == before + 1
    assert len(str(caught.value)) < 500


# -- F&O: refusals in every form

REFUSALS: dict[str, tuple[object, str]] = {
    "an error that is text": ({"error": "Wrong company"}, "F&O refuses the package: Wrong company"),
    "an error that is a list": ({"error": ["Wrong company"]}, "Wrong company"),
    "a message that is an object": ({"Message": {"a": "Wrong company"}}, "Wrong company"),
    "a reason five hundred errors deep": (
        json.loads('{"error": ' + '{"innererror": ' * 500 + '{"message": "Wrong company"}' + "}" * 501),
        "Wrong company",
    ),
    "a reason a hundred thousand errors deep": (b'{"error": ' + b'{"innererror": ' * 100_000, "F&O refuses"),
    "a code of a million letters": ({"error": {"code": "X" * 1_000_000, "message": "Wrong company"}}, "Wrong company"),
    "a reason of ten million letters": ({"error": {"message": "Wrong company " * 700_000}}, "Wrong company"),
    "a reason with halves of characters": (
        b'{"error": {"message": "Wrong company \\ud83d \\ude00"}}',
        "Wrong company",
    ),
    "a reason that is no UTF-8": (b"Wrong company \xff\xfe\xfa", "Wrong company"),
    "a reason that is bytes of anything": (bytes(range(256)) * 10, "F&O refuses"),
    "a page of HTML": (b"<html>" + b"<p>" * 100_000, "HTTP 400 without a reason"),
    "nothing": (b"", "HTTP 400 without a reason"),
    "the key to the package": (
        {"error": {"message": "Cannot read https://a.blob.core.windows.net/x?sv=1&sig=known-signature"}},
        r"sig=\*\*\*",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_of_any_form_rejects_the_file_with_what_can_be_read_of_it(
    name: str, answers: Callable[..., AnsweringServer], fo: FinanceOperations
) -> None:
    body, words = REFUSALS[name]
    answers(body, status=400)

    with pytest.raises(FileRejected, match=words) as caught:
        start(fo)

    told = str(caught.value)
    assert len(told) < 3_000
    assert "known-signature" not in told
    told.encode()  # it can be written


# -- F&O: how an execution stands

ODD_STATUSES = {
    "an object": {"value": {"Status": "Succeeded"}},
    "a list": {"value": ["Succeeded"]},
    "a number beyond all statuses": {"value": 99},
    "a word of a million letters": {"value": "S" * 1_000_000},
    "half a character": b'{"value": "\\ud800"}',
}


@pytest.mark.parametrize("name", ODD_STATUSES)
def test_a_status_that_nobody_knows_is_unknown_and_is_asked_for_again(
    name: str, answers: Callable[..., AnsweringServer], fo: FinanceOperations, caplog: pytest.LogCaptureFixture
) -> None:
    answers(ODD_STATUSES[name])

    assert fo.execution_status("x") is ExecutionStatus.UNKNOWN
    assert max(len(record.getMessage()) for record in caplog.records) < 500


@pytest.mark.parametrize(
    "body",
    [
        {"value": None},
        {"value": "none"},
        {"value": [1, None, []]},
        {"value": [{"EntityName": [1], "TargetRecordsCreatedCount": "many", "StagingRecordsCreatedCount": 1e300}]},
        b'{"value": [{"TargetRecordsCreatedCount": Infinity, "TargetStatus": {}}]}',
    ],
)
def test_job_details_of_any_form_are_read_as_far_as_they_go(
    body: object, answers: Callable[..., AnsweringServer], fo: FinanceOperations
) -> None:
    answers(body)

    assert all(isinstance(entity.target_created, int) for entity in fo.job_details("x"))


# -- F&O: row errors

ROWS = {
    "a message with fifty thousand blanks": '[{"RecordId":"1","Field":"A","ErrorMessage":"it "is"%sbad"}]'
    % (" " * 50_000),
    "a row cut off behind fifty thousand blanks": '[{"RecordId":"1%sbad' % (" " * 50_000),
    "fifty thousand blanks before a quote": '[{"RecordId":"","Field":"%s"x","ErrorMessage":"bad"' % (" " * 50_000),
    "fifty thousand brackets": '[{"RecordId":"1","Field":"","ErrorMessage":"bad"' + "}]" * 50_000,
    "fifty thousand opening brackets": "[" * 50_000 + "bad",
    "fifty thousand commas": '[{"RecordId":"bad"' + "," * 50_000,
    "fifty thousand keys": '[{"RecordId":"bad"' + ',"Field":' * 50_000,
    "half a character in every place": '[{"RecordId":"\\ud800","Field":"\\udc00","ErrorMessage":"bad \\ud83d"}]',
}


@pytest.mark.parametrize("name", ROWS)
def test_row_errors_of_any_form_are_read_at_once_and_keep_their_words(name: str) -> None:
    began = time.process_time()

    errors = parse_execution_errors(ROWS[name])

    assert time.process_time() - began < 5  # hours, before the patterns were made for it
    assert "bad" in " ".join(row.message + row.record_id + row.field for row in errors.rows)
    assert all("\n" not in row.message for row in errors.rows)


# -- any service: how long to wait

WAITS: dict[str, float | None] = {
    "9" * 400: LONGEST_WAIT_S,
    "99999999999": LONGEST_WAIT_S,
    "Fri, 31 Dec 9999 23:59:59 GMT": LONGEST_WAIT_S,
    "Mon, 01 Jan 99999999999 00:00:00 GMT": None,
    "Mon, 01 Jan 2026 00:00:00 +99999999999999": None,
    "Mon, 02 Nov 1970 08:00:00 GMT": 0.0,
    "-5": None,
    "1e5": None,
    "²": None,
    "٣": None,
    "inf": None,
    "soon": None,
    "": None,
}


@pytest.mark.parametrize("value", WAITS, ids=lambda value: value[:40] or "empty")
def test_nobody_makes_the_app_wait_for_more_than_an_hour(value: str) -> None:
    assert retry_after_s({"Retry-After": value}, now=NOW) == WAITS[value]


# -- any service: bodies without end


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed a thousandfold"])
def test_of_an_endless_answer_only_so_much_is_read(
    packed: bool,
    monkeypatch: pytest.MonkeyPatch,
    answers: Callable[..., AnsweringServer],
    fo: FinanceOperations,
) -> None:
    monkeypatch.setattr(http, "_BODY_LIMIT", 2**21)
    body = b"[" + b" " * 2**23
    answers(gzip.compress(body) if packed else body, **({"Content_Encoding": "gzip"} if packed else {}))

    with pytest.raises(TryAgain, match=r"F&O at .* answered with more than 2 MiB"):
        fo.execution_status("x")
    with pytest.raises(AnswerLost, match="answered with more than 2 MiB; it may have been done all the same"):
        start(fo)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x, gzip"])
def test_a_body_that_is_not_packed_as_it_says_is_tried_again(
    encoding: str, answers: Callable[..., AnsweringServer], fo: FinanceOperations
) -> None:
    answers(b"not packed", Content_Encoding=encoding)

    with pytest.raises(TryAgain, match=r"before its answer was whole|not a JSON object"):
        fo.execution_status("x")


# -- OneDrive


def a_file(**more: object) -> dict[str, object]:
    return {"id": "01FILE", "name": "USMF_x.zip", "size": 5, "file": {}, **more}


ODD_ITEMS: dict[str, dict[str, object]] = {
    "a size that is text": {"size": "many"},
    "a size that is null": {"size": None},
    "no name": {"name": None},
    "a time east of Greenwich in the year 1": {"lastModifiedDateTime": "0001-01-01T00:00:00+05:00"},
    "a time that is none": {"lastModifiedDateTime": "yesterday"},
    "facets of the wrong kind": {"file": [], "parentReference": "root", "pendingOperations": 0},
    "a name with half a character": {"name": "USMF_\ud800.zip"},
    "a download address that is none": {"@microsoft.graph.downloadUrl": "http://["},
}


@pytest.mark.parametrize("name", ODD_ITEMS)
def test_an_odd_item_is_read_as_far_as_it_goes(
    name: str, answers: Callable[..., AnsweringServer], drive: OneDrive
) -> None:
    answers({"value": [a_file(**ODD_ITEMS[name])]})

    (item,) = drive.list_files("01INPUT")

    assert item.item_id == "01FILE"
    assert isinstance(item.size_bytes, int)
    assert item.last_modified.tzinfo is UTC
    item.name.encode()  # it can be written into a record


@pytest.mark.parametrize(
    "body",
    [{"value": [{"name": "USMF_x.zip", "file": {}}]}, {"value": [{"id": 7, "file": {}}]}, b"<html/>", b"", DEEP, []],
    ids=["no id", "an id that is a number", "a page", "nothing", "a hundred thousand deep", "a list"],
)
def test_a_listing_that_cannot_be_read_is_tried_again(
    body: object, answers: Callable[..., AnsweringServer], drive: OneDrive
) -> None:
    answers(body)

    with pytest.raises(TryAgain, match="Microsoft Graph"):
        list(drive.list_files("01INPUT"))


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v1.0/next",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1:1/v1.0/next",
        "//evil.example/next",
        "next",
        "http://[",
    ],
)
def test_the_token_is_not_sent_to_wherever_a_next_page_is_said_to_be(
    link: str, answers: Callable[..., AnsweringServer], drive: OneDrive
) -> None:
    server = answers({"value": [a_file()], "@odata.nextLink": link})
    before = len(server.asked)

    with pytest.raises(NeedsPerson, match=r"does not get the app's token. Check GRAPH_URL"):
        list(drive.list_files("01INPUT"))

    assert len(server.asked) == before + 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_needs_a_person(
    status: int, answers: Callable[..., AnsweringServer], drive: OneDrive
) -> None:
    answers(b"", status=status, Location="https://evil.example/")

    with pytest.raises(NeedsPerson, match=r"which is not followed. Check the address in the settings"):
        drive.get("01FILE")


@pytest.mark.parametrize(
    "position", ["9" * 5_000, "-5", "²", "٣", "99999999999999999-", "x"], ids=lambda position: position[:20]
)
def test_an_upload_that_stands_at_no_place_in_the_file_begins_anew(
    position: str, answers: Callable[..., AnsweringServer], drive: OneDrive
) -> None:
    server = answers({})
    server.handler = lambda asked: (
        Answer(status=416)
        if asked.method == "PUT"
        else Answer(body=json.dumps({"uploadUrl": f"{server.url}/up", "nextExpectedRanges": [position]}).encode())
    )
    with (
        pytest.raises(TryAgain, match="It starts again from new"),
        drive.open_upload("01OUT", "x.zip", CHUNK) as upload,
    ):
        upload.put(0, bytes(CHUNK))


@pytest.mark.parametrize("url", ["https://evil example/up", "http://evil.example/up", "http://[", "/up", "x"])
def test_no_byte_is_uploaded_to_what_is_no_private_address(
    url: str, answers: Callable[..., AnsweringServer], drive: OneDrive
) -> None:
    answers({"uploadUrl": url})

    with pytest.raises(AppError) as caught, drive.open_upload("01OUT", "x.zip", 5) as upload:
        upload.put(0, b"12345")

    assert isinstance(caught.value, NeedsPerson | TryAgain)
    assert "settings" in caught.value.message or "unreachable" in caught.value.message


# -- pre-authenticated downloads


@pytest.mark.parametrize(
    "content_range",
    [
        "",
        "bytes 0-4/²",
        "bytes 0-4/*",
        "bytes 0-4/-5",
        "bytes 0-4/" + "9" * 5_000,
        "bytes 5-9/20000000",
        "items 0-4/20000000",
        "bytes */20000000",
    ],
    ids=lambda value: value[:30] or "nothing",
)
def test_a_range_that_is_not_what_was_asked_for_is_fetched_again(
    content_range: str, answers: Callable[..., AnsweringServer], downloads: Http
) -> None:
    server = answers(b"01234", status=206, Content_Range=content_range)
    url = SecretUrl(f"{server.url}/x?tempauth=known")

    with pytest.raises(DataDamaged, match="another range came"):
        open_blob(url)
    with pytest.raises(DataDamaged), open_package(url, 20_000_000, downloads) as opened:
        opened.file.read(5)


@pytest.mark.parametrize("length", ["²", "9" * 30, "-1", "five"])
def test_a_length_that_is_none_is_not_believed(
    length: str, answers: Callable[..., AnsweringServer], downloads: Http
) -> None:
    server = answers(b"01234")
    wire = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n01234".encode("latin-1")
    server.handler = lambda _: Raw(wire)

    try:
        assert read_small(SecretUrl(f"{server.url}/x"), downloads, 100) == b"01234"
    except AppError as error:
        assert isinstance(error, TryAgain)  # noqa: PT017  # either is right


class Raw(Answer):
    """An answer byte by byte."""

    def __init__(self, wire: bytes) -> None:
        super().__init__(content_length=0)  # so that the connection ends with it
        object.__setattr__(self, "body", wire)

    def __bytes__(self) -> bytes:
        return self.body


# -- what is shown of all that


@pytest.mark.parametrize("status", [200, 206, 301, 400, 401, 403, 404, 409, 416, 423, 429, 500, 503, 507])
@pytest.mark.parametrize(
    "url", ["/x?tempauth=known-key&sig=known-key", f"/y4m{'known-key' * 10}/x.zip"], ids=["in the query", "in the path"]
)
def test_whatever_a_download_ends_with_its_key_is_not_in_the_traceback(
    status: int, url: str, answers: Callable[..., AnsweringServer], downloads: Http
) -> None:
    server = answers({"error": {"code": "x", "message": "no"}}, status=status)

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
