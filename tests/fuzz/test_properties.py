"""What holds for whatever strangers send: notifications, packages, names, headers, errors, settings.

In a test run each property is tried with a few examples, the same each time. ``python dev.py fuzz`` tries 100,000 in
all, other ones each time; ``tests/fuzz/__main__.py`` says with which seed.
"""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from urllib3 import HTTPHeaderDict, HTTPResponse

from shared.clients.blobs import read
from shared.clients.fno import refusals as fno
from shared.clients.fno.row_errors import parse_execution_errors
from shared.clients.graph import names, upload
from shared.clients.graph import refusals as graph
from shared.clients.graph.drive_item import parse_drive_item
from shared.clients.http.client import Response
from shared.clients.http.errors import LONGEST_WAIT_S, Refusal, map_status, parse_reason, retry_after_s
from shared.config.app_settings import SETTINGS
from shared.config.flows import Flows
from shared.config.integrations import parse_integrations
from shared.config.model import ImportFlow
from shared.config.settings import read_settings
from shared.config.values import Unfit, parse_folder
from shared.errors import AppError, DataDamaged, FileRejected, RemoteCall, SettingsInvalid, TryAgain
from shared.imports.manifest import NAMESPACE
from shared.imports.package import PackageFacts, check_package
from shared.imports.rules import company_of
from shared.runs.run import LONGEST_NAME, name_with
from shared.scan.notification import BadNotification, parse_notification, read_notifications, validation_token
from shared.secret import Secret, SecretUrl, redacted
from tests.packages import Counted, build_package

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
STATE = Secret("only-graph-and-we-know-this")
GOOD = build_package()


def json_of(keys: list[str], words: list[str]) -> st.SearchStrategy[Any]:
    """Return JSON of any shape in which these keys and words are frequent."""
    texts = st.sampled_from(words) | st.text(max_size=20) | st.just("\ud800")
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(keys) | st.text(max_size=5), inner, max_size=5)
        ),
        max_leaves=25,
    )


def object_of(keys: list[str], words: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a JSON object whose values are of any shape."""
    return st.dictionaries(st.sampled_from(keys), json_of(keys, words), max_size=len(keys))


def as_bytes(value: object) -> bytes:
    return json.dumps(value).encode()


# -- notifications

_NOTIFICATION = st.fixed_dictionaries(
    {},
    optional={
        "subscriptionId": st.text(max_size=10) | st.none() | st.integers(),
        "clientState": st.just(STATE.reveal()) | st.text(max_size=10) | st.none(),
        "changeType": st.sampled_from(["updated", "", 7]),
        "resource": st.text(max_size=20),
        "lifecycleEvent": st.sampled_from(["missed", None, []]),
    },
)
_BODY = (
    st.binary(max_size=300)
    | json_of(["value", "subscriptionId", "clientState"], [STATE.reveal(), "updated"]).map(as_bytes)
    | st.lists(_NOTIFICATION, max_size=5).map(lambda items: as_bytes({"value": items}))
)


@given(_BODY)
def test_a_body_is_believed_whole_or_refused_with_a_reason_of_our_own(body: bytes) -> None:
    try:
        notifications = read_notifications(body, STATE)
    except BadNotification as refusal:
        assert refusal.status in (400, 401, 413)
        assert refusal.reason.endswith(".")
        assert STATE.reveal() not in refusal.reason
        return
    assert notifications == parse_notification(body)
    assert len(notifications) == len(json.loads(body)["value"])
    assert all(each.client_state == STATE and each.subscription_id for each in notifications)
    assert STATE.reveal() not in repr(notifications)


@given(
    st.dictionaries(st.sampled_from(["validationToken", "code", "x"]), st.text(max_size=50) | st.just("Validation: x"))
)
def test_what_is_sent_back_is_what_came_and_cannot_break_a_line(params: Mapping[str, str]) -> None:
    try:
        token = validation_token(params)
    except BadNotification as refusal:
        assert refusal.status == 400
        return
    assert token == params.get("validationToken")
    assert token is None or (token.isascii() and token.isprintable() and token)


# -- packages


def checked(content: bytes) -> None:
    """Check a package twice: the same comes of it, in words or in facts that hold."""
    outcomes: list[PackageFacts | str] = []
    for _ in range(2):
        file = Counted(content)
        try:
            outcomes.append(check_package(file))
        except FileRejected as refusal:
            assert refusal.message.isprintable()
            assert len(refusal.message) < 2_000  # several things may be wrong with several entities
            assert re.search(r"\. [A-Z].*\.$", refusal.message), refusal.message  # what is wrong, then what to do
            outcomes.append(refusal.message)
        assert file.read_bytes < 3 * len(content) + 100_000
    assert outcomes[0] == outcomes[1]
    facts = outcomes[0]
    if isinstance(facts, str):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {entity.file_name for entity in facts.entities} <= set(archive.namelist())
    assert all(entity.name for entity in facts.entities)


_ENTRY_NAME = st.sampled_from(
    ["Manifest.xml", "PackageHeader.xml", "manifest.XML", "a/Manifest.xml", "../x", "/x", "C:x", "E.csv", "e.csv", "E/"]
) | st.text(min_size=1, max_size=12)
_TAG = st.sampled_from(
    [
        *("DataManagementPackageManifest", "DataManagementPackageHeader", "PackageEntityList"),
        *("DataManagementPackageEntityData", "EntityMapList", "EntityMap", "EntityName", "InputFilePath"),
        *("DefinitionGroupName", "x"),
    ]
)
_XML = st.recursive(
    st.sampled_from(["", "E", "E.csv", " ", "&amp;", "&x;", "<!-- -->", "<![CDATA[E.csv]]>", "<?x?>", "<", "\0"])
    | st.text(max_size=5),
    lambda inner: st.builds(lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", _TAG, st.lists(inner, max_size=4)),
    max_leaves=20,
)


@st.composite
def _document(draw: st.DrawFn) -> bytes:
    """A manifest or a header: nearly right, or of any shape and in any encoding."""
    entity = "".join(
        draw(
            st.permutations(
                [
                    "<EntityMapList><EntityMap/></EntityMapList>",
                    "<EntityName>E</EntityName>",
                    f"<InputFilePath>{draw(st.sampled_from(['E.csv', 'e.csv', 'E/', '']))}</InputFilePath>",
                    draw(_XML),
                ]
            )
        )
    )
    data = f"<DataManagementPackageEntityData>{entity}</DataManagementPackageEntityData>"
    inner = draw(st.just(f"<PackageEntityList>{data}</PackageEntityList>") | _XML)
    root = draw(_TAG)
    text = f'<{root} xmlns="{draw(st.sampled_from([NAMESPACE, NAMESPACE.upper(), ""]))}">{inner}</{root}>'
    return text.encode(draw(st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-32", "utf-8-sig"])), "replace")


@given(st.dictionaries(_ENTRY_NAME, _document() | st.binary(max_size=30), max_size=4), st.booleans())
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_of_anything_is_a_package_or_is_refused_in_words(entries: Mapping[str, bytes], nearly: bool) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        if nearly and "E.csv" not in entries:
            archive.writestr("E.csv", b"x")
    checked(buffer.getvalue())


@given(_document())
def test_a_package_with_any_manifest_is_a_package_or_is_refused_in_words(document: bytes) -> None:
    checked(build_package(entity="E", replace={"Manifest.xml": document}))


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_package_with_changed_bytes_is_a_package_or_is_refused_in_words(changes: list[tuple[int, int]]) -> None:
    content = bytearray(GOOD)
    for place, value in changes:
        content[place] = value
    checked(bytes(content))


@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.binary(max_size=40))
def test_a_package_of_which_a_part_is_missing_or_added_is_refused_in_words(cut: int, to: int, added: bytes) -> None:
    assume((cut, to, added) != (len(GOOD), len(GOOD), b""))
    checked(GOOD[:cut] + added + GOOD[to:])


# -- names

SIMPLE = ImportFlow(name="import", environment_url="https://contoso.com", drive="me/drive", input_folder="Input")

_NAME = st.text(max_size=300) | st.builds("{}_{}.zip".format, st.text(max_size=6), st.text(max_size=20))


@given(_NAME)
def test_a_company_is_what_stands_before_the_underscore_or_the_file_is_refused(name: str) -> None:
    try:
        company = company_of(SIMPLE, name)
    except FileRejected as refusal:
        assert "USMF_Customers_001.zip" in refusal.message
        assert refusal.message.isprintable()
        return
    assert re.fullmatch("[A-Z0-9]{1,4}", company)
    assert name.upper().startswith(f"{company}_")
    assert company_of(SIMPLE, f"{company}_again") == company


@given(st.text(min_size=1, max_size=LONGEST_NAME), st.from_regex("[0-9a-f]{12}", fullmatch=True))
def test_a_name_made_unique_says_so_and_is_no_longer_than_onedrive_takes(name: str, own: str) -> None:
    assume(len(name.rpartition(".")[2]) < LONGEST_NAME - 20)

    made = name_with(name, own)

    assert f"({own})" in made
    assert len(made) <= LONGEST_NAME
    assert made != name_with(name, own[::-1]) or own == own[::-1]


@given(st.text(max_size=60))
def test_a_name_that_is_sent_to_onedrive_means_itself_and_nothing_else(name: str) -> None:
    try:
        names.require_usable_name(name)
    except FileRejected as refusal:
        assert "Use plainer names" in refusal.message
        return
    encoded = names.encode_path([name])
    assert unquote(encoded) == name
    assert encoded.isascii()
    assert set(encoded).isdisjoint("/:?#\\ ")


_LETTERS = st.sampled_from("ab/\\. ~:?*_\u00e4\0\u202e") | st.characters(exclude_categories=["Cs"])


@given(st.text(alphabet=_LETTERS, max_size=60))
def test_a_folder_is_read_once_and_for_all(text: str) -> None:
    try:
        folder = parse_folder(text)
    except Unfit:
        return
    assert parse_folder(folder) == folder
    assert names.split_path(folder) == folder[1:].split("/")
    assert folder.isprintable()


# -- headers

_HEADER = st.text(alphabet=st.characters(max_codepoint=255), max_size=60)
_DATE_LIKE = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Fri", "x", ""]),
    *[st.integers(-1, 99), st.sampled_from(["Jan", "Nov", "x"]), st.integers(-5, 10**12)],
    *[st.integers(-1, 99)] * 3,
    st.sampled_from(["GMT", "+0000", "-9999", "+99999999", "EST", "x", ""]),
)


@given(_HEADER | _DATE_LIKE | st.integers().map(str) | st.floats().map(str), _HEADER | _DATE_LIKE)
@example("9" * 5_000, "")
def test_nobody_makes_the_app_wait_for_ever(value: str, date: str) -> None:
    wait_s = retry_after_s({"Retry-After": value, "Date": date}, now=NOW)

    assert wait_s is None or 0 <= wait_s <= LONGEST_WAIT_S


@given(st.integers(0, 3600), st.integers(700_000_000, 7_000_000_000))
def test_a_wait_until_a_date_is_measured_by_the_services_own_clock(wait_s: int, clock: int) -> None:
    date = datetime.fromtimestamp(clock, UTC)
    headers = {
        "Retry-After": format_datetime(date + timedelta(seconds=wait_s), usegmt=True),
        "Date": format_datetime(date, usegmt=True),
    }
    assert retry_after_s(headers, now=NOW) == wait_s
    assert retry_after_s({"Retry-After": str(wait_s)}, now=NOW) == wait_s


def answer(status: int, content: bytes = b"", **headers: str) -> Response:
    named = HTTPHeaderDict({name.replace("_", "-"): value for name, value in headers.items()})
    call = RemoteCall(service="a service", operation="an operation", status=status)
    return Response(
        call=call, idempotent=True, url="", status=status, headers=named, body=content, _raw=HTTPResponse(status=status)
    )


_RANGE = _HEADER | st.builds("bytes {}-{}/{}".format, st.integers(), st.integers(), _HEADER | st.integers().map(str))


@given(_RANGE, st.integers(0, 10**12), st.sampled_from([200, 206, 416]))
def test_a_range_is_the_one_that_was_asked_for_or_the_data_is_damaged(value: str, start: int, status: int) -> None:
    try:
        total = read._total_of(answer(status, Content_Range=value), start)
    except DataDamaged:
        return
    if status != 416 or start:
        assert value.removeprefix("bytes ").startswith(f"{start}-")
        assert value.endswith(str(total))
    assert 0 <= total < 10**15


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.integers(1, 10**12))
def test_a_range_as_servers_write_it_gives_the_size_of_the_file(start: int, length: int, more: int) -> None:
    total = start + length + more

    assert read._total_of(answer(206, Content_Range=f"bytes {start}-{start + length}/{total}"), start) == total


@given(_HEADER | st.integers().map(str))
def test_a_length_is_a_number_of_bytes_or_unknown(value: str) -> None:
    length = read._announced(answer(200, Content_Length=value))

    assert length is None or 0 <= length < 10**15


@given(
    object_of(["nextExpectedRanges"], ["26-", "26-99", "-5"])
    | st.integers().map(lambda at: {"nextExpectedRanges": [f"{at}-"]})
)
def test_an_upload_goes_on_at_a_place_in_a_file_or_where_it_was(status: dict[str, Any]) -> None:
    position = upload._next_position(status, otherwise=17)

    assert 0 <= position < 10**15


# -- errors and items

_BLANKS = st.integers(0, 300).map(lambda count: " " * count)
_ROW_TEXT = (
    st.text(max_size=30) | st.sampled_from(['"', '","Field":"', "},{", '{"RecordId":', "\\", "]", "}]"]) | _BLANKS
)
_ROW = '{{"RecordId":"{}","Field":"{}","ErrorMessage":"{}"}}'.format
_ROWS = st.builds(_ROW, _ROW_TEXT, _ROW_TEXT, st.lists(_ROW_TEXT, max_size=4).map("".join))
_LIST = st.lists(_ROWS, max_size=4).map(lambda rows: f"[{','.join(rows)}]")


@given(_LIST | st.text(max_size=200) | json_of(["RecordId", "Field", "ErrorMessage"], ["x"]))
def test_row_errors_are_rows_of_one_line_that_mean_the_same_when_read_again(value: object) -> None:
    errors = parse_execution_errors(value)

    for row in errors.rows:
        assert all(text == " ".join(text.split()) for text in (row.record_id, row.field, row.message))
    json.dumps([row.message for row in errors.rows], ensure_ascii=False).encode()
    again = [{"RecordId": row.record_id, "Field": row.field, "ErrorMessage": row.message} for row in errors.rows]
    assert parse_execution_errors(json.dumps(again)).rows == errors.rows
    if isinstance(value, str) and value.strip() not in ("", "[]", "{}") and "bad" in value:
        assert errors.rows


_WORDS = [
    *("itemNotFound", "nameAlreadyExists", "malwareDetected", "deadlock", "timeout expired", "not found"),
    *("Entity X does not exist in the target environment", "?sig=known"),
]
_ERROR = st.binary(max_size=100) | json_of(
    ["error", "code", "message", "innererror", "innerError", "Message"], _WORDS
).map(as_bytes)
_MEANINGS = (
    fno.map_error,
    lambda refusal: graph.map_folder_error(refusal, what="folder 'x'"),
    lambda refusal: graph.map_file_error(refusal, what="'x.zip'", name="x.zip"),
    lambda refusal: graph.map_session_error(refusal, name="x.zip"),
    lambda refusal: graph.map_drive_error(refusal, drive="drives/x"),
    read._map_error,
    lambda refusal: read._map_download_error(refusal, url=SecretUrl("https://x/y?sig=known")),
    map_status,
)
_OPERATIONS = ["ImportFromPackage", "ExportToPackage", "GetAzureWriteUrl", "GetExecutionErrors", "move item"]


@given(_ERROR, st.integers(200, 599), st.sampled_from(_OPERATIONS), st.booleans())
def test_a_refusal_becomes_an_error_of_ours_that_is_short_and_keeps_secrets(
    content: bytes, status: int, operation: str, idempotent: bool
) -> None:
    codes, text = parse_reason(content)
    call = RemoteCall(service="F&O", operation=operation, status=status, code=codes[-1] if codes else "")
    refusal = Refusal(
        call=call, status=status, codes=codes, text=text, headers={}, retry_after_s=None, idempotent=idempotent
    )
    for meaning in _MEANINGS:
        error = meaning(refusal)
        assert error is None or isinstance(error, AppError)
        if error:
            assert len(str(error)) < 4_000
            assert "sig=known" not in str(error)
            str(error).encode()  # it can be written
        if isinstance(error, FileRejected):
            assert b"malwareDetected" in content  # nothing else of what is made up here is a file's fault
    assert isinstance(map_status(refusal), AppError)


@given(
    object_of(
        ["id", "name", "size", "file", "folder", "eTag", "parentReference", "lastModifiedDateTime"],
        ["x", "0001-01-01T00:00:00+05:00"],
    )
)
def test_an_item_is_read_as_far_as_it_goes_or_asked_for_again(wire: dict[str, Any]) -> None:
    try:
        item = parse_drive_item(wire)
    except TryAgain:
        return
    assert item.item_id
    assert item.last_modified.tzinfo is UTC


@given(
    st.text(max_size=80)
    | st.builds("https://x/{}?a={}&sig={}".format, st.text(max_size=9), st.text(max_size=9), st.just("known-key"))
)
def test_a_key_in_a_text_is_taken_out_once_and_for_all(text: str) -> None:
    shown = redacted(text)

    assert redacted(shown) == shown
    assert "sig=known-key" not in shown
    assert "known-key" not in str(SecretUrl(text)) or "?" not in text


# -- settings

_FLOW_WORDS = ["Input", "customers", "USMF", "https://contoso.operations.dynamics.com", "me/drive", "true", "/"]
_FLOW_KEYS = ["imports", "exports", "name", "inputFolder", "errorFolder", "dataProject", "company", "everySeconds"]
_FLOW_KEYS += ["drive"]


@given(json_of(_FLOW_KEYS, _FLOW_WORDS).map(json.dumps) | st.text(max_size=40))
def test_integrations_are_flows_or_a_list_of_what_is_wrong(text: str) -> None:
    outcome = parse_integrations(text)

    if not isinstance(outcome, Flows):
        assert outcome
        assert all(each.setting.startswith("INTEGRATIONS") and each.wrong.endswith((".", "?")) for each in outcome)
        return
    assert outcome.all


@given(st.dictionaries(st.sampled_from(sorted(SETTINGS)), st.text(max_size=30) | st.sampled_from(_FLOW_WORDS)))
def test_settings_are_read_or_all_that_is_wrong_is_told_without_a_secret(environ: dict[str, str]) -> None:
    environ["AZURE_CLIENT_SECRET"] = environ["CLIENT_STATE"] = "known-secret-known-secret"
    try:
        settings = read_settings(environ)
    except SettingsInvalid as error:
        assert "docs/settings.md" in error.message
        assert "known-secret" not in error.message
        return
    assert "known-secret" not in repr(settings)
