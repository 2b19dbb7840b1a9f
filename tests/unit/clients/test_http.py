"""Every rule by which one call's failure becomes an error, over real sockets."""

import json
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
import trustme

from shared.clients.http.client import USER_AGENT, Http, Response, TokenSource, json_object
from shared.clients.http.context import correlated, record_call, recording, waiting_at_most
from shared.clients.http.errors import MapError, Refusal, retry_after_s
from shared.errors import (
    AnswerLost,
    AppError,
    FileRejected,
    ItemChanged,
    ItemLocked,
    NeedsPerson,
    NotFound,
    ProjectBusy,
    TryAgain,
)
from shared.log import LOGGER_NAME
from shared.secret import SecretUrl
from tests.closed_port import closed_port
from tests.unit.clients.scripted import Answer, Received, Reset, Server, Silence, sample


class Tokens:
    """Gives another token each time a new one is asked for."""

    def __init__(self) -> None:
        self.number = 1

    def token(self, *, refresh: bool = False) -> str:
        self.number += refresh
        return f"token-{self.number}"


@contextmanager
def an_http(
    *,
    token: TokenSource | None = None,
    map_error: MapError | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Http]:
    http = Http(
        service="Microsoft Graph", token=token, map_error=map_error, request_id_header="request-id", clock=clock
    )
    with closing(http):
        yield http


def ask(http: Http, url: str | SecretUrl, *, idempotent: bool = True, read_s: float = 60) -> Response:
    method = "GET" if idempotent else "POST"
    return http.call(method, url, operation="move item", idempotent=idempotent, timeout_s=(5, read_s))


def error_of(server: Server, http: Http, *, idempotent: bool = True, read_s: float = 60) -> AppError:
    with pytest.raises(AppError) as caught:
        ask(http, f"{server.url}/x", idempotent=idempotent, read_s=read_s)
    return caught.value


def test_requests_carry_token_decorated_user_agent_and_an_id_of_their_own_or_the_runs_inside_correlated() -> None:
    with Server(Answer(), Answer()) as server, an_http(token=Tokens()) as http:
        with correlated("run-1"):
            ask(http, f"{server.url}/x")
        ask(http, f"{server.url}/x")
    of_run, sent = (one.headers for one in server.received)
    assert sent["authorization"] == "Bearer token-1"
    assert sent["user-agent"] == USER_AGENT == "NONISV|OneDriveFo|OneDriveFo/1.0"
    assert str(UUID(sent["client-request-id"])) == sent["client-request-id"]
    assert of_run["client-request-id"] == "run-1"


def test_without_a_token_source_no_authorization_is_sent_even_if_netrc_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Server() as server, an_http() as http:
        for url in (SecretUrl(f"{server.url}/x?tempauth=k"), server.url.replace("//", "//me:secret@") + "/x"):
            server.then(Answer())
            ask(http, url)
    assert ["authorization" in one.headers for one in server.received] == [False, False]


@pytest.mark.parametrize(
    "path", ["/a/../b?x=%2f%2F", "/%7e%41%2e?q=a%20b+c%25&sig=a%2Bb%3D", "/x?tempauth=v1.eyJ~!*'()"]
)
def test_a_url_is_sent_as_the_service_issued_it(path: str) -> None:
    # urllib3 upper-cases percent-hex, which names the same bytes.
    with Server(Answer()) as server, an_http() as http:
        ask(http, SecretUrl(server.url + path))
    assert server.received[0].target.lower() == path.lower()


def test_connections_are_kept_open_between_calls() -> None:
    """But not for long, and without cookies."""
    now = [0.0]
    steps = (Answer(headers={"Set-Cookie": "a=b"}), Answer(), Answer())
    with Server(*steps) as server, an_http(clock=lambda: now[0]) as http:
        for now[0] in (0, 0, 61):
            ask(http, f"{server.url}/x")
    first, second, third = server.received
    assert first.connection == second.connection != third.connection
    assert "cookie" not in second.headers


def test_a_second_refused_token_needs_a_person_and_without_a_token_the_first() -> None:
    with Server(Answer(status=401), Answer(status=401)) as server, an_http(token=Tokens()) as http:
        assert isinstance(error_of(server, http), NeedsPerson)
    with Server(Answer(status=401)) as server, an_http() as http:
        assert isinstance(error_of(server, http), NeedsPerson)


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/x", "https://no-such-host.invalid/x"])
def test_where_nobody_listens_nothing_was_sent_so_trying_again_is_safe(url: str, idempotent: bool) -> None:
    with an_http() as http, closed_port() as port, pytest.raises(TryAgain, match="unreachable") as caught:
        ask(http, url.format(port=port), idempotent=idempotent)
    assert type(caught.value) is TryAgain


def test_an_idempotent_call_is_repeated_once_after_a_reset_and_any_other_never() -> None:
    with Server(Reset(), Answer()) as server, an_http() as http:
        assert ask(http, f"{server.url}/x").status == 200
    with Server(Reset(), Reset()) as server, an_http() as http:
        assert type(error_of(server, http)) is TryAgain
    with Server(Reset()) as server, an_http() as http:
        assert isinstance(error_of(server, http, idempotent=False), AnswerLost)


@pytest.mark.parametrize(("idempotent", "kind"), [(True, TryAgain), (False, AnswerLost)])
def test_silence_is_not_waited_for_twice(idempotent: bool, kind: type[AppError]) -> None:
    with Server(Silence()) as server, an_http() as http:
        error = error_of(server, http, idempotent=idempotent, read_s=0.2)
    assert type(error) is kind
    assert "did not answer in time" in str(error)


def test_an_answer_may_take_longer_than_connecting() -> None:
    with Server(Answer(body={"a": 1}, after_s=0.6)) as server, an_http() as http:
        response = http.call(
            "GET", f"{server.url}/x", operation="look", idempotent=False, timeout_s=(0.2, 30.0), stream=False
        )

    assert json_object(response) == {"a": 1}


@pytest.mark.parametrize(("idempotent", "kind"), [(True, TryAgain), (False, AnswerLost)])
@pytest.mark.parametrize("body", [b"", b"<html>proxy</html>", b"[]", b'{"a":'])
def test_what_is_not_a_json_object_is_no_answer(idempotent: bool, kind: type[AppError], body: bytes) -> None:
    with Server(Answer(body=body)) as server, an_http() as http:
        answer = ask(http, f"{server.url}/x", idempotent=idempotent)
        with pytest.raises(AppError) as caught:
            json_object(answer)
    assert type(caught.value) is kind


@pytest.mark.parametrize("idempotent", [True, False])
def test_throttling_proves_that_nothing_was_done_and_says_how_long_to_wait(idempotent: bool) -> None:
    with Server(sample("error_throttled")) as server, an_http() as http:
        error = error_of(server, http, idempotent=idempotent)
    assert type(error) is TryAgain
    assert error.retry_after_s == 31


WAIT = {"Retry-After": "7"}


@pytest.mark.parametrize(("idempotent", "kind"), [(True, TryAgain), (False, AnswerLost)])
@pytest.mark.parametrize(
    "answer",
    [
        *(Answer(status=status, headers=WAIT) for status in (408, 500, 502, 503, 504, 509)),
        *(Answer(body={"value": "abc"}, cut=5), Answer(status=207)),  # half an answer, one that nobody asked for
    ],
)
def test_a_passing_failure_may_have_been_handled(answer: Answer, idempotent: bool, kind: type[AppError]) -> None:
    with Server(answer) as server, an_http() as http:
        error = error_of(server, http, idempotent=idempotent)
    assert type(error) is kind
    assert isinstance(error, TryAgain)
    assert error.call is not None
    assert error.call.status == answer.status
    assert answer.headers != WAIT or error.retry_after_s == 7


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, NeedsPerson) for status in (301, 302, 308, 400, 403, 507)),
        *((404, NotFound), (410, NotFound), (412, ItemChanged), (423, ItemLocked)),
    ],
)
def test_a_status_has_a_general_meaning(status: int, kind: type[AppError]) -> None:
    with Server(Answer(status=status)) as server, an_http() as http:
        assert type(error_of(server, http)) is kind
    if kind is NotFound:
        with Server(Answer(status=status, body={"error": {}}, cut=5)) as server, an_http() as http:
            assert type(error_of(server, http)) is kind, "a refusal counts even if its body is cut"


def test_an_error_names_service_operation_status_code_and_request_id() -> None:
    with Server(sample("error_not_found")) as server, an_http() as http:
        error = error_of(server, http)
    shown = "[Microsoft Graph, move item, HTTP 404, itemNotFound, request id 8d3c2a44-0000-4000-8000-00000000aaaa]"
    assert str(error).endswith(shown)
    assert "itemNotFound: The resource could not be found [" in str(error), "no full stop before the details"


def test_the_innermost_code_is_the_one_that_counts_and_all_are_known() -> None:
    seen: list[Refusal] = []

    def map_error(refusal: Refusal) -> AppError:
        seen.append(refusal)
        return FileRejected("no", call=refusal.call)

    with Server(sample("error_locked_as_not_allowed")) as server, an_http(map_error=map_error) as http:
        error = error_of(server, http)
    assert isinstance(error, FileRejected)
    assert seen[0].codes == ("notAllowed", "resourceLocked", "resourceCheckedOut")
    assert seen[0].call.code == "resourceCheckedOut"
    assert seen[0].has_code("RESOURCELOCKED")
    assert not seen[0].has_code("itemNotFound")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        # D365 F&O, an OData action that failed, and a gateway.
        # https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/54
        (
            {"error": {"code": "", "message": "An error has occurred.", "innererror": {"message": "The data project"}}},
            "The data project",
        ),
        ({"Message": "No HTTP resource was found"}, "No HTTP resource was found"),
        ({"error": "invalid_client", "error_description": "AADSTS7000215"}, "AADSTS7000215"),
        (b"plain words", "plain words"),
        (b"<html>gateway</html>", ""),
        (b"", ""),
    ],
)
def test_the_services_own_words_are_found(body: object, text: str) -> None:
    seen: list[Refusal] = []

    def map_error(refusal: Refusal) -> None:
        seen.append(refusal)

    with Server(Answer(status=400, body=body)) as server, an_http(map_error=map_error) as http:
        error_of(server, http)
    assert seen[0].text == text
    assert seen[0].reason


def test_the_explanation_for_a_call_goes_before_that_for_the_service() -> None:
    def for_service(refusal: Refusal) -> AppError:
        return FileRejected("service", call=refusal.call)

    def for_call(refusal: Refusal) -> AppError | None:
        return ProjectBusy("call", call=refusal.call) if refusal.status == 500 else None

    with Server(Answer(status=500), Answer(status=400)) as server, an_http(map_error=for_service) as http:
        with pytest.raises(ProjectBusy):
            http.call("POST", f"{server.url}/x", operation="x", idempotent=False, map_error=for_call)
        with pytest.raises(FileRejected):
            http.call("POST", f"{server.url}/x", operation="x", idempotent=False, map_error=for_call)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        *((url, "settings") for url in ("http://graph.example.com/v1.0", "ftp://127.0.0.1/", "graph", "")),
        *((url, "settings") for url in ("https://[x/", "https:///x")),
        *((url, "is not a valid address") for url in ("https://*.example.com/x", "https://.example.com/x")),
    ],
)
def test_nothing_is_sent_to_an_address_that_is_not_private(url: str, words: str) -> None:
    with an_http(token=Tokens()) as http, pytest.raises(NeedsPerson, match=words):
        ask(http, url)


def test_a_certificate_that_is_not_trusted_needs_a_person_and_nothing_was_sent() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener, an_http(token=Tokens()) as http:
        thread = threading.Thread(target=_shake_hands, args=(listener, context))
        thread.start()
        with pytest.raises(NeedsPerson, match="not trusted"):
            ask(http, f"https://127.0.0.1:{listener.getsockname()[1]}/x", idempotent=False)
        thread.join()


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    with connection, pytest.raises(OSError):
        context.wrap_socket(connection, server_side=True)


def test_a_streamed_body_is_left_to_the_caller() -> None:
    with (
        Server(Answer(body=b"abc")) as server,
        an_http() as http,
        closing(http.call("GET", f"{server.url}/x", operation="download", idempotent=True, stream=True)) as answer,
    ):
        assert list(answer.chunks(2)) == [b"ab", b"c"]
    assert server.received[0].headers["accept-encoding"] == "identity"


def test_calls_are_recorded_with_status_and_request_id_each_attempt_on_its_own() -> None:
    steps = (Answer(status=401), Answer(headers={"request-id": "r-2"}), Reset(), Answer(status=500))
    with Server(*steps) as server, an_http(token=Tokens()) as http, recording() as calls:
        ask(http, f"{server.url}/x")
        with pytest.raises(TryAgain):
            ask(http, f"{server.url}/x")
        record_call(service="blob storage", operation="Put Block", status=201, request_id="b", began=datetime.now(UTC))
    assert [one.status for one in calls] == [401, 200, None, 500, 201]
    assert [one.request_id for one in calls] == ["", "r-2", "", "", "b"]
    assert all(0 <= one.took_s < 60 and one.began.tzinfo is UTC for one in calls)


def test_many_threads_share_one_client() -> None:
    def echo(request: Received) -> Answer:
        return Answer(body={"target": request.target})

    targets: list[str] = []
    with Server(route=echo) as server, an_http(token=Tokens()) as http:

        def work(number: int) -> None:
            for turn in range(5):
                target = f"/{number}/{turn}"
                assert json_object(ask(http, server.url + target))["target"] == target
                targets.append(target)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    assert len(targets) == 40


NOW = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2026 09:00:30 GMT", "Date": "Wed, 21 Oct 2026 09:00:00 GMT"}, 30),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now=NOW) == seconds


def test_somebody_who_is_watching_waits_no_longer_than_they_say() -> None:
    with Server(Silence()) as server, an_http() as http, waiting_at_most(0.2):
        began = time.monotonic()
        with pytest.raises(TryAgain, match="did not answer in time"):
            ask(http, f"{server.url}/x", idempotent=False)

    assert time.monotonic() - began < 30


def test_each_throttled_answer_is_logged_with_the_call_and_the_wait(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", LOGGER_NAME)
    throttled = Answer(status=429, headers={"Retry-After": "17"})
    with Server(throttled) as server, an_http() as http, pytest.raises(TryAgain):
        ask(http, f"{server.url}/x")

    (line,) = [json.loads(record.getMessage()) for record in caplog.records]
    where = {"service": "Microsoft Graph", "operation": "move item"}
    assert line == {"event": "http.throttled", **where, "wait_s": 17.0}


# -- what the environment says


def test_a_proxy_is_used_with_its_sign_in_unless_the_host_is_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(Answer()) as proxy, Server(Answer()) as server, an_http() as http:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:a%20secret@"))
        ask(http, f"{server.url}/x?y=%2F")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        ask(http, f"{server.url}/z")

    assert [one.target for one in proxy.received] == [f"{server.url}/x?y=%2F"]
    assert proxy.received[0].headers["proxy-authorization"] == f"Basic {b64encode(b'me:a secret').decode()}"
    assert [one.target for one in server.received] == ["/z"]


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_proxy_that_does_not_let_a_call_through_has_sent_nothing(
    idempotent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed_port() as port, an_http() as http:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
        with pytest.raises(TryAgain, match=r"graph\.example\.com is unreachable; nothing was sent") as caught:
            ask(http, "https://graph.example.com/x", idempotent=idempotent)
    assert type(caught.value) is TryAgain


def test_a_proxy_of_another_kind_needs_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    with an_http() as http, pytest.raises(NeedsPerson, match="HTTPS_PROXY"):
        ask(http, "https://graph.example.com/x")


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_of_the_environments_own_authority_are_trusted(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv(variable, str(bundle))
    with Server(Answer(), tls=context) as server, an_http() as http:
        assert ask(http, f"{server.url}/x").status == 200
