"""What OneDrive is asked, how its answers are read, and which error each of its refusals becomes."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.clients.graph.upload import CHUNK, UploadSession
from shared.clients.http.client import Http
from shared.errors import (
    AppError,
    FileRejected,
    ItemLocked,
    NameTaken,
    NeedsPerson,
    NotFound,
    Refused,
    TryAgain,
)
from shared.secret import SecretUrl
from tests.unit.clients.scripted import Answer, GraphToken, Received, Server, Step, sample

UNIT = 320 * 1024


@contextmanager
def a_drive(server: Server, drive: str = "drives/b!abc") -> Iterator[OneDrive]:
    http = Http(service="Microsoft Graph", token=GraphToken(), request_id_header="request-id")
    uploads = Http(service="OneDrive upload", token=None, request_id_header="request-id")
    with closing(http), closing(uploads):
        yield OneDrive(f"{server.url}/v1.0", drive, http, uploads)


def error_from(*steps: Step, doing: Callable[[OneDrive], object]) -> AppError:
    with Server(*steps) as server, a_drive(server) as drive, pytest.raises(AppError) as caught:
        doing(drive)
    return caught.value


def moving(drive: OneDrive) -> DriveItem:
    return drive.move("01FILE", to_folder_id="01TO", name="a.zip", etag='"{E},1"')


def uploading(drive: OneDrive) -> DriveItem:
    return drive.upload_small("01TO", "a.csv", b"x", replace=False)


def opening(drive: OneDrive) -> UploadSession:
    return drive.open_upload("01TO", "a.zip", 10)


def listing(drive: OneDrive) -> list[DriveItem]:
    return list(drive.list_files("01INBOX"))


def moving_to(name: str) -> Callable[[OneDrive], object]:
    return lambda drive: drive.move("01FILE", to_folder_id="01TO", name=name, etag=None)


# What the app asks about one file, and about that without which no file can do.
OF_ONE_FILE: dict[str, Callable[[OneDrive], object]] = {
    "move": moving,
    "upload": uploading,
    "open an upload": opening,
    "get": lambda drive: drive.get("01FILE"),
    "delete": lambda drive: drive.delete("01FILE"),
}
OF_ALL_FILES: dict[str, Callable[[OneDrive], object]] = {
    "list": listing,
    "find the drive": lambda drive: drive.ask_drive_id(),
    "find a folder": lambda drive: drive.ensure_folder("Input"),
}


def refused(status: int, *, code: str = "invalidRequest", inner: str = "", message: str = "no") -> Answer:
    error = {"code": code, "message": message, "innerError": {"code": inner} if inner else {}}
    return Answer(status=status, body={"error": error})


# Content that has its own address


def test_a_redirect_to_a_path_is_one_at_the_same_host() -> None:
    with Server(Answer(status=302, headers={"Location": "/download?tempauth=x"})) as server, a_drive(server) as drive:
        assert drive.content_url("01FILE").reveal() == f"{server.url}/download?tempauth=x"


@pytest.mark.parametrize(
    "answer",
    [
        *(Answer(status=302), Answer(status=302, headers={"Location": "http://[::1/x?tempauth=key"})),
        *(Answer(status=200, body=b"the content itself"), Answer(status=503)),
    ],
    ids=["a redirect to nowhere", "no address", "the content itself", "503"],
)
def test_content_and_sessions_without_an_address_are_asked_for_again(answer: Answer) -> None:
    assert type(error_from(answer, doing=lambda drive: drive.content_url("01FILE"))) is TryAgain
    assert type(error_from(Answer(body={}), doing=opening)) is TryAgain


# Reading items


@pytest.mark.parametrize(
    ("size", "hashes", "is_empty"),
    [
        (0, {}, True),
        (0, {"quickXorHash": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, True),
        (0, {"quickXorHash": "SgAAAAAAAAAAAAAAAQAAAAAAAAA="}, False),
        (None, {"quickXorHash": "SgAAAAAAAAAAAAAAAQAAAAAAAAA="}, False),
        (1, {}, False),
    ],
)
def test_a_file_is_empty_if_neither_its_size_nor_its_hash_says_otherwise(
    size: int | None, hashes: dict[str, str], is_empty: bool
) -> None:
    with Server(sample("item_file", size=size, file={"hashes": hashes})) as server, a_drive(server) as drive:
        assert drive.get("01FILE").is_empty is is_empty


def test_a_file_is_read_with_all_that_the_app_needs() -> None:
    with Server(sample("item_file")) as server, a_drive(server) as drive:
        item = drive.get("01NKDM7HMOJTVYMDOSXFDK2QJDXCDI3WUK")
    assert item == DriveItem(
        item_id="01NKDM7HMOJTVYMDOSXFDK2QJDXCDI3WUK",
        name="USMF_customers.zip",
        size_bytes=123456,
        etag='"{85B04C8E-72DC-4FE5-9FC1-0123456789AB},2"',
        parent_id="01INBOX",
        last_modified=datetime(2026, 9, 20, 10, 0, 5, tzinfo=UTC),
        quick_xor_hash="SgAAAAAAAAAAAAAAAQAAAAAAAAA=",
        download_url=SecretUrl(
            "https://contoso-my.sharepoint.com/personal/u/_layouts/15/download.aspx"
            "?UniqueId=85b0&Translate=false&tempauth=v1.eyJ%2bx%2F"
        ),
        is_file=True,
        is_folder=False,
        has_malware=False,
        is_pending=False,
        web_url="https://contoso-my.sharepoint.com/personal/u/Documents/Inbox/USMF_customers.zip",
    )
    assert server.requests_line_by_line() == ["GET /v1.0/drives/b!abc/items/01NKDM7HMOJTVYMDOSXFDK2QJDXCDI3WUK"]
    assert "tempauth" not in repr(item)
    assert server.received[0].headers["authorization"] == "Bearer graph-token"


def test_a_listing_holds_only_files_with_their_facets() -> None:
    with Server(sample("children")) as server, a_drive(server) as drive:
        found = listing(drive)
    assert [item.name for item in found] == ["USMF_customers.zip", "USMF_bad.zip", "USMF_new.zip"]
    assert [item.has_malware for item in found] == [False, True, False]
    assert [item.is_pending for item in found] == [False, False, True]
    assert found[1].last_modified.year == 1
    assert found[2].last_modified == datetime(2026, 9, 20, 10, 0, 5, 123456, tzinfo=UTC)
    assert found[1].quick_xor_hash is None


@pytest.mark.parametrize("time", [None, "", "yesterday", 5])
def test_a_time_that_cannot_be_read_is_unknown(time: object) -> None:
    with Server(sample("item_file", lastModifiedDateTime=time)) as server, a_drive(server) as drive:
        assert drive.get("01FILE").last_modified == datetime(1, 1, 1, tzinfo=UTC)


def test_a_listing_follows_the_next_link_as_it_is_even_past_an_empty_page() -> None:
    children = "/v1.0/drives/b!abc/items/01INBOX/children"
    pages = {
        f"{children}?$top=200": ([{"id": "1", "file": {}}], f"{children}?$skiptoken=a%2bB%3D~"),
        f"{children}?$skiptoken=a%2Bb%3D~": ([], f"{children}?$skiptoken=last"),
        f"{children}?$skiptoken=last": ([{"id": "2", "file": {}}], None),
    }

    def page(request: Received) -> Answer:
        items, link = pages[request.target.replace("B%3D", "b%3D")]
        return Answer(body={"value": items} | ({"@odata.nextLink": server.url + link} if link else {}))

    with Server(route=page) as server, a_drive(server) as drive:
        assert [item.item_id for item in listing(drive)] == ["1", "2"]
        assert len(server.received) == 3
        pages[f"{children}?$skiptoken=last"] = ([], f"{children}?$skiptoken=last")  # a circle
        with pytest.raises(TryAgain, match="again and again"):
            listing(drive)


# Where things are


def test_the_drives_id_is_asked_once() -> None:
    with Server(sample("drive")) as server, a_drive(server, "users/ops@contoso.com/drive") as drive:
        assert [drive.drive_id(), drive.drive_id()] == ["b!abc", "b!abc"]
    assert server.requests_line_by_line() == ["GET /v1.0/users/ops@contoso.com/drive"]


def test_an_item_of_another_name_is_not_what_was_looked_for() -> None:
    with Server(sample("item_folder"), sample("item_folder")) as server, a_drive(server) as drive:
        assert drive.find("Other") is None
        assert drive.find("PROCESSING") is not None


@pytest.mark.parametrize("path", ["a/../b", "./a", "a\\..\\b"])
def test_a_path_with_dots_is_refused_before_it_is_sent(path: str) -> None:
    assert isinstance(error_from(doing=lambda drive: drive.find(path)), NeedsPerson)


def test_a_parent_that_was_just_created_may_not_be_known_yet() -> None:
    """But a drive that is not there needs a person."""
    gone = sample("error_not_found")
    for steps, kind in (((gone, sample("item_root"), gone, gone), NotFound), ((gone, gone), NeedsPerson)):
        assert isinstance(error_from(*steps, doing=lambda drive: drive.ensure_folder("Processing")), kind)


# Moving


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ("error_not_found", NotFound),
        ("error_locked", ItemLocked),
        ("error_locked_as_access_denied", ItemLocked),
        ("error_locked_as_not_allowed", ItemLocked),
        ("error_quota", NeedsPerson),
        ("error_forbidden", Refused),
        ("error_hold", Refused),
        ("error_column_move", Refused),
        ("error_malware", FileRejected),
        ("error_path_too_long", FileRejected),
        ("error_name_code", FileRejected),
        ("error_bad_name", Refused),
        ("error_throttled", TryAgain),
    ],
)
def test_a_refused_move_becomes_the_error_that_says_what_to_do(refusal: str, kind: type[AppError]) -> None:
    error = error_from(sample(refusal), doing=moving)
    assert type(error) is kind
    assert error.call is not None
    assert error.call.request_id == "8d3c2a44-0000-4000-8000-00000000aaaa"


def test_a_conflict_that_is_not_about_the_name_passes() -> None:
    assert type(error_from(refused(409, code="generalException", message="busy"), doing=moving)) is TryAgain


@pytest.mark.parametrize("doing", OF_ALL_FILES.values(), ids=OF_ALL_FILES)
def test_a_drive_or_folder_that_may_not_be_used_needs_a_person_who_is_told_the_permission(
    doing: Callable[[OneDrive], object],
) -> None:
    error = error_from(sample("error_forbidden"), doing=doing)
    assert isinstance(error, NeedsPerson)
    assert doing is not listing or ("Files.ReadWrite.All" in str(error) and "Sites.Selected" in str(error))


@pytest.mark.parametrize("doing", OF_ONE_FILE.values(), ids=OF_ONE_FILE)
def test_a_file_that_may_not_be_touched_may_be_the_only_one_and_its_own_words_are_told(
    doing: Callable[[OneDrive], object],
) -> None:
    error = error_from(sample("error_hold"), doing=doing)

    assert type(error) is Refused
    assert "it's possible that it's on hold" in error.message
    assert error.message.endswith(
        "If every file is refused, grant the permission Files.ReadWrite.All with consent, or with Sites.Selected the "
        "role 'write' on the drive's site"
    )
    assert error.call is not None
    assert (error.call.status, error.call.code) == (403, "accessDenied")


@pytest.mark.parametrize("status", [400, 402, 405, 406, 411, 413, 415, 422, 428, 451])
@pytest.mark.parametrize("doing", OF_ONE_FILE.values(), ids=OF_ONE_FILE)
def test_a_file_that_a_library_refuses_is_blamed_for_nothing(doing: Callable[[OneDrive], object], status: int) -> None:
    error = error_from(refused(status, message="List data validation failed."), doing=doing)

    assert type(error) is Refused
    assert "List data validation failed." in error.message
    assert (
        "If others are refused too, check the settings of the library: required or validated columns" in error.message
    )
    assert "Rename the file" not in error.message
    assert error.call is not None
    assert (error.call.status, error.call.code) == (status, "invalidRequest")


@pytest.mark.parametrize("code", ["malwareDetected", "virusSuspicious"])
@pytest.mark.parametrize("doing", OF_ONE_FILE.values(), ids=OF_ONE_FILE)
def test_malware_is_the_files_only_if_it_is_named(doing: Callable[[OneDrive], object], code: str) -> None:
    error = error_from(refused(403, code="accessDenied", inner=code), doing=doing)

    assert type(error) is FileRejected
    assert "malware" in error.message
    for without_words in (Answer(status=400), Answer(status=400, body=b"<html/>"), Answer(status=403)):
        assert type(error_from(without_words, doing=doing)) is Refused


@pytest.mark.parametrize(
    "name",
    [
        *("CON", "com0.", "lpt9", ".lock", "Desktop.ini", "~$a.zip", "a_vti_b.zip", " a.zip", "a.zip ", "a."),
        *("x" * 256, "a\tb"),
    ],
)
def test_a_name_that_breaks_the_rules_and_is_refused_is_the_files(name: str) -> None:
    error = error_from(sample("error_bad_name"), doing=moving_to(name))

    assert type(error) is FileRejected
    assert f"OneDrive does not allow the name '{name}': it " in error.message
    assert error.message.endswith("Rename the file and copy it to Input again")


@pytest.mark.parametrize(
    "name", ["console.txt", "com10", "~a.zip", "a.b.c", "USMF_👩‍👩‍👧.zip", "100% #1.zip", "x" * 255]
)
def test_a_name_within_the_rules_is_not_blamed(name: str) -> None:
    assert type(error_from(sample("error_column_move"), doing=moving_to(name))) is Refused
    assert isinstance(error_from(sample("error_bad_name"), doing=listing), NeedsPerson)  # no file was named


@pytest.mark.parametrize("inner", ["invalidPath", "nameContainsInvalidCharacters", "pathIsTooLong"])
@pytest.mark.parametrize("doing", [moving, uploading, opening])
def test_a_code_for_names_and_paths_is_the_files_and_only_an_imports_file_is_to_be_renamed(
    doing: Callable[[OneDrive], object], inner: str
) -> None:
    error = error_from(refused(400, inner=inner), doing=doing)

    assert type(error) is FileRejected
    assert ("Rename the file" in error.message) is (doing is moving)


@pytest.mark.parametrize("status", [400, 403, 413, 507])
@pytest.mark.parametrize("code", ["quotaLimitReached", "insufficientStorage"])
def test_a_quota_that_is_reached_stops_the_flow(code: str, status: int) -> None:
    error = error_from(refused(status, code=code), doing=opening)

    assert isinstance(error, NeedsPerson)
    assert "full" in error.message
    assert "Free some space" in error.message


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a:b", "a?b", 'a"b'])
def test_a_name_that_onedrive_cannot_have_is_refused_before_it_is_sent(name: str) -> None:
    error = error_from(doing=lambda drive: drive.upload_small("01TO", name, b"x", replace=True))
    assert isinstance(error, FileRejected)


# Upload sessions


def session_at(server: Server) -> dict[str, str]:
    return {"uploadUrl": f"{server.url}/up?guid=1&tempauth=v1.a%2Bb"}


def accepted(*ranges: str) -> Answer:
    return Answer(status=202, body={"expirationDateTime": "2026-09-20T10:15:00Z", "nextExpectedRanges": list(ranges)})


@contextmanager
def an_upload(*steps: Step, size_bytes: int) -> Iterator[tuple[Server, UploadSession]]:
    """Yield a session that is open, and its server; what was received before is forgotten."""
    with Server() as server, a_drive(server) as drive:
        server.then(sample("upload_session", **session_at(server)), *steps)
        session = drive.open_upload("01TO", "a.zip", size_bytes)
        server.received.clear()
        yield server, session


def test_chunks_go_in_order_without_our_token_to_the_url_as_it_was_issued() -> None:
    size = 2 * UNIT + 10
    content = bytes(range(256)) * (size // 256 + 1)
    steps = (accepted(f"{UNIT}-"), accepted(f"{2 * UNIT}-{size - 1}"), sample("item_file"))
    with an_upload(*steps, size_bytes=size) as (server, session), session:
        assert session.put(0, content[:UNIT]) is None
        assert session.put(UNIT, content[UNIT : 2 * UNIT]) is None
        item = session.put(2 * UNIT, content[2 * UNIT : size])
    assert item is not None
    assert [one.method for one in server.received] == ["PUT"] * 3  # what is finished is not cancelled
    assert {one.target for one in server.received} == {"/up?guid=1&tempauth=v1.a%2Bb"}
    assert all("authorization" not in one.headers for one in server.received)
    assert [one.headers["content-range"] for one in server.received] == [
        f"bytes 0-{UNIT - 1}/{size}",
        f"bytes {UNIT}-{2 * UNIT - 1}/{size}",
        f"bytes {2 * UNIT}-{size - 1}/{size}",
    ]
    assert b"".join(one.body for one in server.received) == content[:size]


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (sample("error_session_gone"), TryAgain),
        (Answer(status=401), TryAgain),
        (sample("error_forbidden"), TryAgain),
        (sample("error_name_taken"), NameTaken),
        (sample("error_quota"), NeedsPerson),
        (refused(403, code="quotaLimitReached"), NeedsPerson),
        (sample("error_locked"), ItemLocked),
        (Answer(status=503, headers={"Retry-After": "3"}), TryAgain),
        (sample("error_column_move"), Refused),
        (Answer(status=400), Refused),
        (sample("error_path_too_long"), FileRejected),
        (sample("error_malware"), FileRejected),
    ],
)
def test_a_refused_chunk_becomes_the_error_that_says_what_to_do(refusal: Answer, kind: type[AppError]) -> None:
    with an_upload(refusal, size_bytes=5) as (_, session), pytest.raises(AppError) as caught:
        session.put(0, b"12345")
    assert type(caught.value) is kind


def test_an_upload_whose_last_answer_is_a_page_gives_its_name_free() -> None:
    """Its session would hold the name until OneDrive drops it, a day later."""
    with Server() as server, a_drive(server) as drive:
        server.then(
            Answer(body={"uploadUrl": f"{server.url}/up"}), Answer(status=201, body=b"<html/>"), Answer(status=204)
        )
        with pytest.raises(TryAgain, match="not a JSON object"), drive.open_upload("01TO", "a.zip", 5) as upload:
            upload.put(0, b"12345")

    assert server.requests_line_by_line()[-1] == "DELETE /up"


@pytest.mark.parametrize(
    ("start", "length"), [(0, 0), (0, UNIT + 1), (UNIT, 2 * UNIT)], ids=["empty", "odd length", "beyond the end"]
)
def test_a_chunk_that_graph_would_refuse_is_a_mistake_of_the_caller(start: int, length: int) -> None:
    with an_upload(size_bytes=2 * UNIT) as (_, session), pytest.raises(ValueError, match="does not fit"):
        session.put(start, bytes(length))


def test_an_empty_file_cannot_have_a_session() -> None:
    with Server() as server, a_drive(server) as drive, pytest.raises(ValueError, match="upload_small"):
        drive.open_upload("01TO", "a.zip", 0)


def test_the_chunk_is_one_that_graph_takes() -> None:
    assert CHUNK % UNIT == 0
    assert 5 * 1024**2 <= CHUNK <= 10 * 1024**2


@pytest.mark.parametrize("answer", [Answer(status=204), sample("error_not_found")])
def test_an_item_is_deleted_and_one_that_is_gone_already_is_as_good(answer: Answer) -> None:
    with Server(answer) as server, a_drive(server) as drive:
        drive.delete("01FILE")
    assert server.requests_line_by_line() == ["DELETE /v1.0/drives/b!abc/items/01FILE"]
