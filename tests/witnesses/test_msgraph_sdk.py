"""Microsoft's own client of Graph works with the simulated OneDrive as with the real one.

It is pointed here as its documentation says for national clouds: by the adapter's base URL. Its models are made from
Graph's metadata, so a property that they do not know, or of another type, is one that Graph does not have.
"""
# mypy: disable-error-code="import-not-found"
# The client is not among the project's requirements (440 MB): where mypy runs it is not there.

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import pytest
import requests

from local_cloud.faults import Fault, status
from local_cloud.onedrive.drive import Drive
from local_cloud.onedrive.item import Item
from tests.unit.local_cloud.onedrive.subscriber import Subscriber
from tests.witnesses.clients import MSGRAPH
from tests.witnesses.conftest import USER, Graph

pytest.importorskip("msgraph", reason=MSGRAPH.missing())

import httpx
from azure.core.credentials import AccessToken
from azure.identity import ManagedIdentityCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_abstractions.serialization import Parsable
from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
from kiota_http.middleware.options import HeadersInspectionHandlerOption
from kiota_serialization_json.json_parse_node_factory import JsonParseNodeFactory
from msgraph import GraphServiceClient
from msgraph.generated.drives.item.items.item.copy.copy_post_request_body import CopyPostRequestBody
from msgraph.generated.drives.item.items.item.create_upload_session.create_upload_session_post_request_body import (
    CreateUploadSessionPostRequestBody,
)
from msgraph.generated.models.body_type import BodyType
from msgraph.generated.models.drive_item import DriveItem
from msgraph.generated.models.drive_item_uploadable_properties import DriveItemUploadableProperties
from msgraph.generated.models.email_address import EmailAddress
from msgraph.generated.models.folder import Folder
from msgraph.generated.models.item_body import ItemBody
from msgraph.generated.models.item_reference import ItemReference
from msgraph.generated.models.message import Message
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.recipient import Recipient
from msgraph.generated.models.subscription import Subscription
from msgraph.generated.users.item.send_mail.send_mail_post_request_body import SendMailPostRequestBody
from msgraph.graph_request_adapter import GraphRequestAdapter, options
from msgraph_core import GraphClientFactory
from msgraph_core.tasks.page_iterator import PageIterator

pytestmark = [
    pytest.mark.witness(MSGRAPH.name),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # the SDK uses what it deprecates itself
]

TIMEOUT_S: Final = 60  # costs nothing when all is well
SCOPE: Final = "https://graph.microsoft.com/.default"
UNIT: Final = 320 * 1024  # bytes; upload sessions take multiples of it
CONFLICT: Final = "@microsoft.graph.conflictBehavior"
# What Graph sends and its own models have no property for. The address of a person is Observed: OneDrive for Business.
BESIDE_THE_MODEL: Final = {"@odata.context", "@microsoft.graph.downloadUrl", "email"}
ODD_NAMES: Final = ("a#b%20c.zip", "100% + 1.zip", "Größe & Maß.zip", "it's (1).zip", "a;b=c@d.zip")


class FixedToken:
    """A credential that has its token already, as one for a user who signed in."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken(self._token, int((datetime.now(UTC) + timedelta(hours=1)).timestamp()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@asynccontextmanager
async def opened(graph: Graph, credential: FixedToken | None = None) -> AsyncIterator[Any]:
    """Yield Microsoft's client, pointed at the simulator; its tokens are a managed identity's unless told."""
    with credential or ManagedIdentityCredential() as asked:
        provider = AzureIdentityAuthenticationProvider(asked, scopes=[SCOPE], allowed_hosts=["127.0.0.1"])
        # A transport of ours, because the SDK puts its own around it and never closes what is inside.
        async with httpx.AsyncHTTPTransport() as connections:
            http = httpx.AsyncClient(transport=connections, timeout=TIMEOUT_S)
            http = GraphClientFactory.create_with_default_middleware(client=http, options=options)
            adapter = GraphRequestAdapter(provider, client=http)
            adapter.base_url = graph.url
            yield GraphServiceClient(request_adapter=adapter)


@asynccontextmanager
async def drive_of(graph: Graph) -> AsyncIterator[Any]:
    async with opened(graph) as client:
        yield client.drives.by_drive_id(graph.simulator.drive_id)


async def put(drive: Any, path: str, content: bytes = b"content") -> Any:
    return await drive.items.by_drive_item_id(f"root:/{path}:").content.put(content)


async def make_folder(drive: Any, name: str, parent: str = "root") -> Any:
    body = DriveItem(name=name, folder=Folder(), additional_data={CONFLICT: "fail"})
    return await drive.items.by_drive_item_id(parent).children.post(body)


def with_headers(**headers: str) -> Any:
    """Return a configuration with these headers; underscores stand for hyphens."""
    configuration = RequestConfiguration()
    for name, value in headers.items():
        configuration.headers.add(name.replace("_", "-"), value)
    return configuration


def unknown_to_graph(model: object, path: str = "") -> list[str]:
    """Return what of an answer had no place in the SDK's models, as paths."""
    if isinstance(model, list | tuple):
        return [found for each in model for found in unknown_to_graph(each, f"{path}[]")]
    if not dataclasses.is_dataclass(model) or not isinstance(model, Parsable):
        return []
    found = [f"{path}.{name}" for name in getattr(model, "additional_data", {}) if name not in BESIDE_THE_MODEL]
    for field in dataclasses.fields(model):
        if field.name not in ("additional_data", "backing_store"):
            found += unknown_to_graph(getattr(model, field.name), f"{path}.{field.name}")
    return found


def read_as(kind: type, content: bytes) -> Any:
    """Return an answer that the SDK did not fetch, as the SDK's own reader sees it."""
    return JsonParseNodeFactory().get_root_parse_node("application/json", content).get_object_value(kind)


async def fetched(method: str, url: str, **more: Any) -> requests.Response:
    """Call a pre-authenticated address, with no token."""
    return await asyncio.to_thread(requests.request, method, url, timeout=TIMEOUT_S, **more)


# Looking


async def test_a_drive_is_found_by_its_id_by_its_owner_and_as_ones_own(graph: Graph) -> None:
    async with opened(graph) as client:
        by_id = await client.drives.by_drive_id(graph.simulator.drive_id).get()
        by_owner = await client.users.by_user_id(USER).drive.get()
    async with opened(graph, FixedToken(graph.token(user=USER))) as client:
        own = await client.me.drive.get()

    assert [each.id for each in (by_id, by_owner, own)] == [graph.simulator.drive_id] * 3
    assert by_id.drive_type == "business"
    assert by_id.quota.remaining == by_id.quota.total - by_id.quota.used
    assert unknown_to_graph(by_id) == []


async def test_the_root_of_a_drive_is_a_folder_with_a_parent_reference(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        root = await drive.root.get()

    assert root.root is not None
    assert root.folder.child_count == 0
    assert root.parent_reference.drive_id == graph.simulator.drive_id
    assert unknown_to_graph(root) == []


async def test_a_file_shows_all_that_graphs_model_has_a_type_for(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        folder = await make_folder(drive, "Input")
        item = await put(drive, "Input/USMF_a.zip", b"hello")

    assert (item.name, item.size) == ("USMF_a.zip", 5)
    assert item.file.hashes.quick_xor_hash == "aCgDG9jwBgAAAAAABQAAAAAAAAA="
    assert item.file.mime_type == "application/zip"
    assert item.parent_reference.id == folder.id
    assert item.parent_reference.path.endswith("/root:/Input")
    assert item.last_modified_date_time.tzinfo is not None
    assert item.file_system_info.last_modified_date_time == item.last_modified_date_time
    assert item.last_modified_by.user.display_name
    assert item.e_tag.startswith('"{')
    assert item.c_tag.startswith('"c:{')
    assert unknown_to_graph(folder) == []
    assert unknown_to_graph(item) == []


async def test_a_folder_is_listed_page_by_page(graph: Graph) -> None:
    names = [f"{number:02}.zip" for number in range(7)]
    async with opened(graph) as client:
        drive = client.drives.by_drive_id(graph.simulator.drive_id)
        for name in names:
            await put(drive, name)
        children = drive.items.by_drive_item_id("root").children
        query = children.ChildrenRequestBuilderGetQueryParameters(top=3, select=["id", "name", "size"])
        first = await children.get(RequestConfiguration(query_parameters=query))
        listed: list[str] = []

        def note(item: Any) -> bool:
            listed.append(item.name)
            return True

        await PageIterator(first, client.request_adapter).iterate(note)

    assert len(first.value) == 3
    assert first.odata_next_link is not None
    assert listed == names
    assert unknown_to_graph(first.value) == []


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_file_is_found_by_its_path_whatever_its_name(graph: Graph, name: str) -> None:
    async with drive_of(graph) as drive:
        folder = await make_folder(drive, "In box")
        # As callers of this SDK have to: it encodes the address as one segment, so a name's own % is encoded before.
        made = await drive.items.by_drive_item_id(f"{folder.id}:/{name}:").content.put(b"content")
        by_path = await drive.items.by_drive_item_id(f"root:/In box/{name}:").get()
        listed = await drive.items.by_drive_item_id("root:/In box:").children.get()

    assert made.name == by_path.name == name
    assert by_path.id == made.id
    assert [each.name for each in listed.value] == [name]
    assert (graph.folder / "In box" / name).read_bytes() == b"content"


# Bytes


async def test_content_that_went_up_comes_down_and_is_replaced(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        first = await put(drive, "a.zip", b"first")
        second = await drive.items.by_drive_item_id(first.id).content.put(b"second, longer")
        down = await drive.items.by_drive_item_id(first.id).content.get()
        by_path = await drive.items.by_drive_item_id("root:/a.zip:").content.get()

    assert second.id == first.id
    assert second.e_tag != first.e_tag
    assert down == by_path == b"second, longer"


async def test_an_empty_file_goes_up_in_one_piece(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        item = await put(drive, "empty.zip", b"")
        down = await drive.items.by_drive_item_id(item.id).content.get()

    assert item.size == 0
    assert not down  # the SDK makes None of no bytes


async def test_a_file_is_downloaded_from_its_pre_authenticated_address(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        made = await put(drive, "a.zip", b"0123456789")
        item = await drive.items.by_drive_item_id(made.id).get()
    url = item.additional_data["@microsoft.graph.downloadUrl"]

    whole = await fetched("GET", url)
    part = await fetched("GET", url, headers={"Range": "bytes=2-4"})

    assert whole.content == b"0123456789"
    assert (part.status_code, part.content) == (206, b"234")


async def test_an_upload_session_that_the_sdk_opened_takes_chunks_to_the_end(graph: Graph) -> None:
    content = bytes(range(256)) * (UNIT * 5 // 2 // 256)
    modified = datetime(2026, 1, 5, 7, 30, tzinfo=UTC)
    properties = DriveItemUploadableProperties(
        additional_data={CONFLICT: "fail"}, name="big.zip", file_size=len(content)
    )
    async with drive_of(graph) as drive:
        address = drive.items.by_drive_item_id("root:/big.zip:")
        session = await address.create_upload_session.post(CreateUploadSessionPostRequestBody(item=properties))
        answers = []
        for start in range(0, len(content), UNIT):
            chunk = content[start : start + UNIT]
            span = f"bytes {start}-{start + len(chunk) - 1}/{len(content)}"
            answers.append(await fetched("PUT", session.upload_url, data=chunk, headers={"Content-Range": span}))
        state = answers[0].json()
        item = read_as(DriveItem, answers[-1].content)
        down = await drive.items.by_drive_item_id(item.id).content.get()

    assert session.next_expected_ranges == ["0-"]
    assert session.expiration_date_time > modified
    assert [each.status_code for each in answers] == [202, 202, 201]
    assert state["nextExpectedRanges"] == [f"{UNIT}-"]
    assert down == content
    assert unknown_to_graph(session) == []
    assert unknown_to_graph(item) == []


async def test_an_upload_session_is_asked_how_far_it_is_and_given_up(graph: Graph) -> None:
    body = CreateUploadSessionPostRequestBody(item=DriveItemUploadableProperties(additional_data={CONFLICT: "fail"}))
    async with drive_of(graph) as drive:
        session = await drive.items.by_drive_item_id("root:/big.zip:").create_upload_session.post(body)
        span = {"Content-Range": f"bytes 0-{UNIT - 1}/{2 * UNIT}"}
        await fetched("PUT", session.upload_url, data=bytes(UNIT), headers=span)
        asked = await fetched("GET", session.upload_url)
        given_up = await fetched("DELETE", session.upload_url)
        gone = await fetched("GET", session.upload_url)
        listed = await drive.items.by_drive_item_id("root").children.get()

    assert asked.json()["nextExpectedRanges"] == [f"{UNIT}-"]
    assert given_up.status_code == 204
    assert gone.status_code == 404
    assert read_as(ODataError, gone.content).error.code == "itemNotFound"
    assert listed.value == []


# Changing


async def test_a_file_moves_when_its_etag_is_still_right_and_keeps_its_id(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        target = await make_folder(drive, "Processing")
        before = await put(drive, "a.zip")
        body = DriveItem(name="b.zip", parent_reference=ItemReference(id=target.id))
        moved = await drive.items.by_drive_item_id(before.id).patch(body, with_headers(If_Match=before.e_tag))

    assert (moved.id, moved.name, moved.parent_reference.id) == (before.id, "b.zip", target.id)
    assert moved.e_tag != before.e_tag
    assert (graph.folder / "Processing" / "b.zip").exists()
    assert unknown_to_graph(moved) == []


async def test_a_file_does_not_move_when_it_has_changed_meanwhile(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        before = await put(drive, "a.zip")
        await put(drive, "a.zip", b"changed")
        with pytest.raises(ODataError) as refused:
            await drive.items.by_drive_item_id(before.id).patch(
                DriveItem(name="b.zip"), with_headers(If_Match=before.e_tag)
            )

    assert refused.value.response_status_code == 412
    assert refused.value.error.code == "resourceModified"


async def test_a_copy_is_followed_to_its_end_at_its_monitor(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, copy = threading.Event(), Drive.copy

    def copy_when_told(drive: Drive, item_id: str, parent_id: str, name: str, conflict: str, **more: Any) -> Item:
        go_on.wait(TIMEOUT_S)
        return copy(drive, item_id, parent_id, name, conflict, **more)

    monkeypatch.setattr(Drive, "copy", copy_when_told)
    inspected = HeadersInspectionHandlerOption(inspect_response_headers=True)
    async with drive_of(graph) as drive:
        target = await make_folder(drive, "Copies")
        item = await put(drive, "a.zip", b"to be copied")
        reference = ItemReference(drive_id=graph.simulator.drive_id, id=target.id)
        body = CopyPostRequestBody(name="b.zip", parent_reference=reference)
        await drive.items.by_drive_item_id(item.id).copy.post(body, RequestConfiguration(options=[inspected]))
        (monitor,) = inspected.response_headers.get("Location")
        states = [await fetched("GET", monitor)]
        go_on.set()
        async with asyncio.timeout(TIMEOUT_S):
            while states[-1].json()["status"] not in ("completed", "failed"):
                states.append(await fetched("GET", monitor))
        copied = await drive.items.by_drive_item_id(states[-1].json()["resourceId"]).get()

    assert states[0].status_code == 202
    assert states[0].json()["status"] == "inProgress"
    assert (copied.name, copied.parent_reference.id) == ("b.zip", target.id)
    assert (graph.folder / "Copies" / "b.zip").read_bytes() == b"to be copied"


async def test_a_deleted_file_is_gone(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        item = await put(drive, "a.zip")
        address = drive.items.by_drive_item_id(item.id)
        await address.delete()
        with pytest.raises(ODataError) as gone:
            await address.get()

    assert gone.value.response_status_code == 404
    assert not (graph.folder / "a.zip").exists()


# Changes


async def test_a_delta_lists_everything_then_what_changed_then_what_is_gone(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        folder = await make_folder(drive, "Input")
        kept = await put(drive, "Input/kept.zip")
        lost = await put(drive, "Input/lost.zip")
        delta = drive.items.by_drive_item_id("root").delta
        everything = await delta.get()
        await drive.items.by_drive_item_id(kept.id).patch(DriveItem(name="renamed.zip"))
        await drive.items.by_drive_item_id(lost.id).delete()
        changes = await delta.with_url(everything.odata_delta_link).get()
        nothing = await delta.with_url(changes.odata_delta_link).get()

    assert {each.id for each in everything.value} >= {folder.id, kept.id, lost.id}
    latest = {each.id: each for each in changes.value}
    assert latest[kept.id].name == "renamed.zip"
    assert latest[kept.id].parent_reference.path is None
    assert latest[lost.id].deleted.state == "deleted"
    assert not {kept.id, lost.id} & {each.id for each in nothing.value}
    assert unknown_to_graph(everything.value + changes.value) == []


async def test_a_delta_comes_in_pages(graph: Graph) -> None:
    graph.knobs.page_size = 2
    async with drive_of(graph) as drive:
        made = {(await put(drive, f"{number}.zip")).id for number in range(5)}
        delta = drive.items.by_drive_item_id("root").delta
        pages = [await delta.get()]
        while (link := pages[-1].odata_next_link) is not None:
            pages.append(await delta.with_url(link).get())

    assert [len(page.value) for page in pages] == [2, 2, 2]
    assert made < {item.id for page in pages for item in page.value}
    assert [page.odata_delta_link is None for page in pages] == [True, True, False]


async def test_a_delta_from_now_on_has_nothing_to_tell_yet(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        await put(drive, "before.zip")
        root = drive.items.by_drive_item_id("root")
        now = await root.delta_with_token("latest").get()
        after = await put(drive, "after.zip")
        token = now.odata_delta_link.partition("token=")[2]
        told = await root.delta_with_token(token).get()

    assert now.value == []
    assert after.id in {each.id for each in told.value}
    assert "before.zip" not in {each.name for each in told.value}


async def test_a_delta_that_has_to_start_anew_says_where(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        await put(drive, "a.zip")
        delta = drive.items.by_drive_item_id("root").delta
        before = await delta.get()
        graph.knobs.resync_delta = True
        with pytest.raises(ODataError) as refused:
            await delta.with_url(before.odata_delta_link).get()
        graph.knobs.resync_delta = False
        everything = await delta.with_url(refused.value.response_headers["Location"]).get()

    assert refused.value.response_status_code == 410
    assert refused.value.error.code.startswith("resync")
    assert "a.zip" in {each.name for each in everything.value}


# Notifications and mail


def a_subscription(graph: Graph, subscriber: Subscriber) -> Any:
    return Subscription(
        change_type="updated",
        notification_url=subscriber.url,
        resource=f"/drives/{graph.simulator.drive_id}/root",
        expiration_date_time=datetime.now(UTC) + timedelta(days=20),
        client_state="made up",
    )


async def test_a_subscription_is_made_listed_renewed_and_ended(graph: Graph) -> None:
    later = (datetime.now(UTC) + timedelta(days=25)).replace(microsecond=0)
    with Subscriber() as subscriber:
        async with opened(graph) as client:
            made = await client.subscriptions.post(a_subscription(graph, subscriber))
            one = client.subscriptions.by_subscription_id(made.id)
            listed = await client.subscriptions.get()
            read = await one.get()
            renewed = await one.patch(Subscription(expiration_date_time=later))
            await one.reauthorize.post()
            await one.delete()
            with pytest.raises(ODataError) as gone:
                await one.get()

    assert len(subscriber.handshakes) == 1
    assert [each.id for each in listed.value] == [made.id]
    assert read.resource == f"/drives/{graph.simulator.drive_id}/root"
    assert renewed.expiration_date_time == later
    assert gone.value.response_status_code == 404
    assert unknown_to_graph([made, renewed, *listed.value]) == []


async def test_a_second_subscription_for_the_same_names_the_first(graph: Graph) -> None:
    with Subscriber() as subscriber:
        async with opened(graph) as client:
            made = await client.subscriptions.post(a_subscription(graph, subscriber))
            with pytest.raises(ODataError) as refused:
                await client.subscriptions.post(a_subscription(graph, subscriber))

    assert refused.value.response_status_code == 409
    assert refused.value.error.code == "ObjectIdentifierInUse"
    assert made.id in refused.value.error.message


async def test_a_subscription_is_not_made_for_someone_who_does_not_answer_the_handshake(graph: Graph) -> None:
    with Subscriber() as subscriber:
        subscriber.handshake_status = 500
        async with opened(graph) as client:
            with pytest.raises(ODataError) as refused:
                await client.subscriptions.post(a_subscription(graph, subscriber))
            listed = await client.subscriptions.get()

    assert refused.value.response_status_code == 400
    assert refused.value.error.code == "ValidationError"
    assert listed.value == []


async def test_a_mail_is_taken_for_sending(graph: Graph) -> None:
    message = Message(
        subject="3 of 120 rows failed",
        body=ItemBody(content_type=BodyType.Text, content="See USMF_a.errors.csv"),
        to_recipients=[Recipient(email_address=EmailAddress(address="ops@contoso.example"))],
    )
    async with opened(graph) as client:
        body = SendMailPostRequestBody(message=message, save_to_sent_items=False)
        await client.users.by_user_id(USER).send_mail.post(body)

    (mail,) = graph.simulator.mails
    assert (mail.sender, mail.recipients, mail.subject) == (USER, ("ops@contoso.example",), "3 of 120 rows failed")


# Refusals


async def refusal(call: Any) -> Any:
    with pytest.raises(ODataError) as refused:
        await call
    return refused.value


async def test_every_refusal_is_an_odata_error_with_a_code_a_message_and_the_id_of_the_request(graph: Graph) -> None:
    async with drive_of(graph) as drive:
        await make_folder(drive, "Taken")
        item = await put(drive, "a.zip")
        await put(drive, "b.zip")
        address = drive.items.by_drive_item_id(item.id)
        missing = await refusal(drive.items.by_drive_item_id("01MISSING").get())
        missing_between = await refusal(drive.items.by_drive_item_id("root:/no/such/a.zip:").get())
        folder_exists = await refusal(make_folder(drive, "taken"))
        name_taken = await refusal(address.patch(DriveItem(name="B.ZIP")))
        graph.knobs.locked = {"a.zip": "resourceLocked"}
        locked = await refusal(address.patch(DriveItem(name="c.zip")))
        graph.knobs.quota_full = True
        full = await refusal(put(drive, "c.zip"))
    refusals = (missing, missing_between, folder_exists, name_taken, locked, full)

    assert [(each.response_status_code, each.error.code) for each in refusals] == [
        (404, "itemNotFound"),
        (404, "itemNotFound"),
        (409, "nameAlreadyExists"),
        (409, "nameAlreadyExists"),
        (423, "resourceLocked"),
        (507, "quotaLimitReached"),
    ]
    for each in refusals:
        assert each.error.message
        assert each.error.inner_error.date is not None
        assert each.error.inner_error.client_request_id
        assert each.error.inner_error.request_id == each.response_headers["request-id"]
        assert unknown_to_graph(each.error) == []


@pytest.mark.parametrize("name", ["what?.zip", "a|b.zip", "CON", "~$a.docx", "a.zip "])
async def test_a_name_that_onedrive_does_not_allow_is_refused(graph: Graph, name: str) -> None:
    async with drive_of(graph) as drive:
        refused = await refusal(make_folder(drive, name))

    assert (refused.response_status_code, refused.error.code) == (400, "invalidRequest")


async def test_a_token_that_has_expired_is_refused(graph: Graph) -> None:
    async with opened(graph, FixedToken("eyJ.made.up")) as client:
        refused = await refusal(client.me.drive.get())

    assert (refused.response_status_code, refused.error.code) == (401, "InvalidAuthenticationToken")


async def test_the_sdk_waits_as_long_as_a_throttled_call_is_told_to(graph: Graph) -> None:
    error = {"error": {"code": "activityLimitReached", "message": "The request has been throttled"}}
    graph.faults.add(Fault("graph", "GET", "/root$", do=status(429, {"Retry-After": "1"}, error)))
    async with drive_of(graph) as drive:
        began = asyncio.get_running_loop().time()
        root = await drive.root.get()
        took_s = asyncio.get_running_loop().time() - began

    assert root.root is not None
    assert took_s >= 1
    assert [call.status for call in graph.faults.calls if call.path.endswith("/root")] == [429, 200]
