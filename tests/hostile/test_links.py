"""Links that answers give, and redirects: our token goes to the origin that was called, and nowhere else."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient

from shared.azure_storage.account import _options
from shared.clients.blobs.read import read_small
from shared.clients.blobs.write import empty_blob
from shared.clients.fno.client import FinanceOperations, finance_operations_http
from shared.clients.graph.onedrive import OneDrive
from shared.clients.graph.subscriptions import Subscriptions
from shared.clients.http.client import Http
from shared.clients.http.links import is_at, keyed_link, origin_of
from shared.errors import AppError, NeedsPerson, TryAgain
from shared.secret import SecretUrl
from tests.unit.clients.answering import Answer, AnsweringServer, Asked, OneToken, answering
from tests.world import World

A_FILE = {"id": "01A", "name": "a.zip", "size": 1, "file": {}}
A_SUBSCRIPTION = {"id": "s1", "resource": "/drives/x/root", "expirationDateTime": "2026-12-20T11:00:00Z"}


@pytest.fixture
def evil() -> Iterator[AnsweringServer]:
    """Somebody else's server, on another port."""
    with answering(lambda _: Answer(body=b'{"value": []}')) as server:
        yield server


@contextmanager
def graph_that_answers(answer: Callable[[Asked], Answer]) -> Iterator[tuple[AnsweringServer, Http]]:
    with answering(answer) as server:
        http = Http(
            service="Microsoft Graph", token=OneToken(), request_id_header="request-id", origin=f"{server.url}/v1.0"
        )
        yield server, http
        http.close()


# What reads a listing page by page, and what is on a page of it.
LISTINGS: dict[str, tuple[Callable[[str, Http], object], object]] = {
    "files": (lambda url, http: list(OneDrive(url, "me/drive", http, http).list_files("01I")), A_FILE),
    "subscriptions": (lambda url, http: Subscriptions(url, http).list(), A_SUBSCRIPTION),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_no_listing_follows_a_next_link_to_another_origin_with_the_token(name: str, evil: AnsweringServer) -> None:
    read, row = LISTINGS[name]
    page = {"value": [row], "@odata.nextLink": f"{evil.url}/v1.0/next?$skiptoken=1"}
    with (
        graph_that_answers(lambda _: Answer(body=json.dumps(page).encode())) as (server, http),
        pytest.raises(NeedsPerson, match=r"another address .* does not send its token there. Check GRAPH_URL"),
    ):
        read(f"{server.url}/v1.0", http)

    assert evil.asked == []


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_goes_on_at_its_own_origin(name: str) -> None:
    read, row = LISTINGS[name]

    def page(asked: Asked) -> Answer:
        link = f"{server.url.upper()}{asked.path}{'&' if '?' in asked.path else '?'}$skiptoken=1"
        more = {} if "skiptoken" in asked.path else {"@odata.nextLink": link}
        return Answer(body=json.dumps({"value": [row], **more}).encode())

    with graph_that_answers(page) as (server, http):
        read(f"{server.url}/v1.0", http)
        assert len(server.asked) == 2
        assert all(asked.headers["authorization"] == "Bearer made-up-token" for asked in server.asked)


@pytest.mark.parametrize("link", [7, ["x"], {"a": 1}, True])
def test_a_next_link_that_is_no_text_is_asked_for_again(link: object) -> None:
    page = {"value": [], "@odata.nextLink": link}
    with (
        graph_that_answers(lambda _: Answer(body=json.dumps(page).encode())) as (server, http),
        pytest.raises(TryAgain, match="invalid link"),
    ):
        Subscriptions(f"{server.url}/v1.0", http).list()


@pytest.mark.parametrize(
    "url",
    [
        *("https://graph.microsoft.com@evil.example/x", "https://graph.microsoft.com:443@evil.example/x"),
        *("https://graph.microsoft.com\\@evil.example/x", "https://graph.microsoft.com.evil.example/x"),
        *("https://graph.microsoft.com:444/x", "http://graph.microsoft.com/x"),
        *("https://evil.example/https://graph.microsoft.com/x", "https://graph.micro\nsoft.com/x"),
        *("https://graph.microsoft.com /x", "https:/graph.microsoft.com/x", "//graph.microsoft.com/x", "/v1.0/x"),
        *("https://[", "https://graph.microsoft.com:x/", "https://gr\u0430ph.microsoft.com/x", ""),
    ],
)
def test_an_address_that_two_readers_could_take_for_two_hosts_is_not_that_of_graph(url: str) -> None:
    assert not is_at(url, "https://graph.microsoft.com/v1.0")


def test_case_and_the_usual_port_make_no_other_origin() -> None:
    graph = "https://graph.microsoft.com"
    for url in (f"{graph}/v1.0/x?y=a@b", "HTTPS://Graph.Microsoft.com:443/x", graph):
        assert is_at(url, f"{graph}/v1.0")
        assert origin_of(url) == f"{graph}:443"


def test_blanks_behind_the_host_of_a_link_with_a_key_are_encoded_and_in_a_host_there_are_none() -> None:
    """.NET's Uri.ToString() writes them as they are, and names of blobs and files hold some."""
    link = keyed_link("https://acme.blob.core.windows.net/dmf/Customer groups.zip?sv=1&sig=ab%2B")

    assert link is not None
    assert link.reveal() == "https://acme.blob.core.windows.net/dmf/Customer%20groups.zip?sv=1&sig=ab%2B"
    assert [keyed_link(url) for url in ("https://a b/c", "https:// a/b", "https://a\n/b", "a b")] == [None] * 4


def test_the_apps_own_clients_are_bound_to_their_services(evil: AnsweringServer, world: World) -> None:
    environment = world.services.settings.flows.imports[0].environment_url
    for http in (world.services._graph, world.services.finance_operations(environment)._http):
        with pytest.raises(NeedsPerson, match="does not send its token there"):
            http.call("GET", f"{evil.url}/x", operation="x", idempotent=True)

    assert evil.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_neither_with_a_token_nor_without(status: int, evil: AnsweringServer) -> None:
    away = Answer(status=status, headers={"Location": f"{evil.url}/x"})
    with graph_that_answers(lambda _: away) as (server, http):
        plain = Http(service="OneDrive content", token=None, request_id_header="request-id")
        fno = FinanceOperations(server.url, finance_operations_http(OneToken(), server.url))
        for call in (
            lambda: OneDrive(f"{server.url}/v1.0", "me/drive", http, plain).get("01A"),
            lambda: fno.execution_status("1"),
            lambda: read_small(SecretUrl(f"{server.url}/x?sig=1"), plain, 10),
            lambda: empty_blob(SecretUrl(f"{server.url}/container/x.zip?sig=1")),
        ):
            with pytest.raises(AppError):
                call()
        plain.close()

    assert evil.asked == []


@pytest.mark.parametrize("status", [302, 307, 308])
def test_the_apps_own_storage_is_not_followed_elsewhere(status: int, evil: AnsweringServer) -> None:
    from azure.storage.blob import LinearRetry

    away = Answer(status=status, headers={"Location": f"{evil.url}/x"})
    with (
        answering(lambda _: away) as server,
        BlobServiceClient(f"{server.url}/account", credential="a2V5", **_options(LinearRetry)) as blobs,
        pytest.raises(HttpResponseError),
    ):
        blobs.get_blob_client("runs", "x").download_blob().readall()

    assert evil.asked == []
