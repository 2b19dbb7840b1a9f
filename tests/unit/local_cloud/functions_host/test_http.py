"""The HTTP trigger, with the real runtime behind it."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

from local_cloud.functions_host.bindings import Function, HttpTrigger
from local_cloud.functions_host.http import HttpFront, Keys
from local_cloud.functions_host.routes import Route
from local_cloud.functions_host.runtime import Outcome, TypedData
from local_cloud.functions_host.settings import HostSettingsInvalid
from local_cloud.server import Server

from .running import PATIENCE_S, RunningHost, running_host, write_app

APP = """
import json, logging, os, threading, time

@app.route(route="echo/{id:int}/{rest?}", methods=["GET", "POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "method": req.method, "url": req.url, "headers": dict(req.headers), "params": dict(req.params),
        "route_params": dict(req.route_params), "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")

@app.route(route="items/special")
def special(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("special")

@app.route(route="items/{name}")
def item(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("item")

@app.route(route="fails")
def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("secret details")

@app.route(route="nothing", binding_arg_name="answer")
def nothing(req: func.HttpRequest, answer: func.Out[func.HttpResponse]) -> None:
    pass

@app.route(route="text")
def text(req: func.HttpRequest) -> str:
    return req.params.get("text", "plain")

@app.route(route="full")
def full(req: func.HttpRequest) -> func.HttpResponse:
    headers = {"X-Own": "1"}
    response = func.HttpResponse(b"bytes", status_code=207, headers=headers, mimetype="application/x-own")
    response.headers.add("Set-Cookie", "a=1; Path=/; HttpOnly; SameSite=Lax; Max-Age=60")
    response.headers.add("Set-Cookie", "b=2; Secure; Expires=Wed, 21 Oct 2026 07:28:00 GMT")
    return response

@app.route(route="setting")
def setting(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(os.environ.get(req.params["name"], ""))

running = most = 0
counting = threading.Lock()
pair = threading.Barrier(2, timeout=60)

@app.route(route="together")
def together(req: func.HttpRequest) -> func.HttpResponse:
    global running, most
    with counting:
        running += 1
        most = max(most, running)
    pair.wait()
    with counting:
        running -= 1
    return func.HttpResponse(str(most))

@app.route(route="block")
async def block(req: func.HttpRequest) -> func.HttpResponse:
    logging.info("blocking")
    while not os.path.exists("go-on"):
        time.sleep(0.01)
    return func.HttpResponse("blocked")

@app.route(route="quits")
def quits(req: func.HttpRequest) -> func.HttpResponse:
    raise SystemExit(3)

@app.route(route="off")
def off(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("off")
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {"PYTHON_THREADPOOL_THREAD_COUNT": "2", "AzureWebJobs.off.Disabled": "true", "FROM_FILE": "file"}
    return write_app(tmp_path_factory.mktemp("http"), APP, values=values)


@pytest.fixture(scope="module")
def one_process(sample: Path) -> Iterator[RunningHost]:
    with running_host(sample) as running:
        yield running


@pytest.fixture(scope="module")
def flex(sample: Path) -> Iterator[RunningHost]:
    """The functions run in another process than the one that is called."""
    with running_host(sample, "--flex", "--wake-up-seconds", "0") as running:
        yield running


@pytest.fixture(params=["one_process", "flex"])
def host(request: pytest.FixtureRequest) -> RunningHost:
    running: RunningHost = request.getfixturevalue(request.param)
    (running.app / "go-on").unlink(missing_ok=True)
    return running


def echoed(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    seen: dict[str, Any] = response.json()
    return seen


def test_a_function_sees_the_request_as_in_azure(host: RunningHost) -> None:
    # Header names in lower case, repeated ones joined, empty query values dropped:
    # https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script.Grpc/MessageExtensions/GrpcMessageConversionExtensions.cs
    url = f"{host.url}/api/echo/7/x%20y?a=1&b=&c=2&c=3"
    seen = echoed(requests.post(url, data="hello", headers={"X-Own": "Value"}, timeout=PATIENCE_S))
    assert (seen["method"], seen["url"], seen["body"]) == ("POST", url, "hello")
    assert seen["params"] == {"a": "1", "c": "2,3"}
    assert seen["route_params"] == {"id": "7", "rest": "x y"}
    assert seen["headers"]["x-own"] == "Value"
    assert "X-Own" not in seen["headers"]


def test_a_chunked_body_arrives_empty(host: RunningHost) -> None:
    # The real host copies a body only if Content-Length is above 0 (source above).
    response = requests.post(f"{host.url}/api/echo/7", data=iter([b"hel", b"lo"]), timeout=PATIENCE_S)
    assert echoed(response)["body"] == ""


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/elsewhere"), ("GET", "/echo/7"), ("GET", "/api/echo/x"), ("DELETE", "/api/echo/7"), ("GET", "/")],
)
def test_an_unknown_path_and_a_wrong_method_are_both_not_found(host: RunningHost, method: str, path: str) -> None:
    # https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script.WebHost/WebScriptHostHttpRoutesManager.cs
    assert requests.request(method, host.url + path, timeout=PATIENCE_S).status_code == 404


def test_the_more_specific_route_answers(host: RunningHost) -> None:
    assert requests.get(f"{host.url}/api/items/special", timeout=PATIENCE_S).text == "special"
    assert requests.get(f"{host.url}/api/items/other", timeout=PATIENCE_S).text == "item"


def test_an_exception_is_an_empty_500_and_its_traceback_is_in_the_log(host: RunningHost) -> None:
    response = requests.get(f"{host.url}/api/fails", timeout=PATIENCE_S)
    assert (response.status_code, response.content) == (500, b"")
    host.has_printed(r"Executed 'Functions.fails' \(Failed.*ValueError: secret details")
    host.has_printed(r'raise ValueError\("secret details"\)')


def test_no_answer_is_204(host: RunningHost) -> None:
    response = requests.get(f"{host.url}/api/nothing", timeout=PATIENCE_S)
    assert (response.status_code, response.content) == (204, b"")


def test_a_function_that_exits_fails_alone(host: RunningHost) -> None:
    assert requests.get(f"{host.url}/api/quits", timeout=PATIENCE_S).status_code == 500
    assert requests.get(f"{host.url}/api/items/other", timeout=PATIENCE_S).text == "item"


def test_status_headers_cookies_and_bytes_come_through(host: RunningHost) -> None:
    response = requests.get(f"{host.url}/api/full", timeout=PATIENCE_S)
    assert (response.status_code, response.content) == (207, b"bytes")
    assert (response.headers["X-Own"], response.headers["Content-Type"]) == ("1", "application/x-own")
    first, second = response.raw.headers.getlist("Set-Cookie")
    assert set(first.split("; ")) == {"a=1", "Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=60"}
    assert second.startswith("b=2; ")
    assert "Secure" in second


def test_returned_text_is_the_body(host: RunningHost) -> None:
    response = requests.get(f"{host.url}/api/text", timeout=PATIENCE_S)
    assert (response.status_code, response.text) == (200, "plain")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        ('{"StatusCode": 418, "headers": {"X-Own": "1"}, "body": "tea"}', 418, "tea"),
        ('{"a": [1, 2]}', 200, '{"a":[1,2]}'),
    ],
)
def test_returned_text_that_is_json_is_taken_for_more_than_text(
    host: RunningHost, text: str, status: int, body: str
) -> None:
    # A function that means text returns func.HttpResponse.
    # https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script/Binding/Http/HttpBinding.cs
    response = requests.get(f"{host.url}/api/text", params={"text": text}, timeout=PATIENCE_S)
    assert (response.status_code, response.text) == (status, body)


def test_settings_reach_the_app_and_so_does_its_own_address(host: RunningHost) -> None:
    def setting(name: str) -> str:
        return requests.get(f"{host.url}/api/setting", params={"name": name}, timeout=PATIENCE_S).text

    assert setting("FROM_FILE") == "file"
    assert f"http://{setting('WEBSITE_HOSTNAME')}" == host.url
    assert setting("AZURE_FUNCTIONS_ENVIRONMENT") == "Development"


def test_a_disabled_function_is_not_found(host: RunningHost) -> None:
    assert requests.get(f"{host.url}/api/off", timeout=PATIENCE_S).status_code == 404
    host.has_printed(r"^\s+off: .* \(disabled\)$")


def test_sync_functions_share_as_many_threads_as_the_setting_says(one_process: RunningHost) -> None:
    # PYTHON_THREADPOOL_THREAD_COUNT: https://learn.microsoft.com/azure/azure-functions/python-scale-performance-reference
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: requests.get(f"{one_process.url}/api/together", timeout=PATIENCE_S).text, range(4))
        )
    assert answers == ["2", "2", "2", "2"]


def test_an_async_function_that_blocks_does_not_block_the_host(host: RunningHost) -> None:
    # In Azure the host is another process; only the functions of the worker wait.
    blocked: list[str] = []
    thread = threading.Thread(
        target=lambda: blocked.append(requests.get(f"{host.url}/api/block", timeout=PATIENCE_S).text), daemon=True
    )
    thread.start()
    host.has_printed(r"\] blocking$")
    try:
        assert requests.get(f"{host.url}/admin/host/status", timeout=PATIENCE_S).json()["invocations"] == 1
    finally:
        (host.app / "go-on").touch()
    thread.join(PATIENCE_S)
    assert blocked == ["blocked"]


def test_an_answer_leaves_in_one_write(host: RunningHost) -> None:
    # Head and body in two writes cost 40 ms where the other side delays its acknowledgements.
    port = int(host.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        for _ in range(20):
            connection.sendall(b"GET /api/items/special HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65_536).endswith(b"\r\n\r\nspecial")


LOCKED_BY = {"default": "k1", "_master": "k2", "function/one": "k3", "admin/one": "k4", "other/one": "k5"}


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    """A front with keys: functions called as their levels, which only say that they have run."""
    functions = [
        Function(
            name=level,
            function_id=level,
            trigger=HttpTrigger(
                parameter="req", route=Route.parse(f"api/{level}"), methods=None, auth_level=level.upper()
            ),
            queue_outputs=(),
        )
        for level in ("anonymous", "function", "admin")
    ]

    async def run(_function: Function, _request: TypedData) -> Outcome:
        return Outcome(succeeded=True, returned=TypedData(string="ran"))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", HttpFront(functions, Keys(LOCKED_BY), run).handle)
    with Server(app) as server:
        yield server.url


@pytest.mark.parametrize(
    ("level", "header", "code", "status"),
    [
        ("anonymous", None, None, 200),
        ("function", None, None, 401),
        ("function", "wrong", None, 401),
        ("function", "k1", None, 200),
        ("function", None, "k1", 200),
        ("function", "k2", None, 200),
        ("function", "k3", None, 200),
        ("function", None, "k3", 200),
        ("function", "k4", None, 401),
        ("function", "k5", None, 401),
        ("admin", "k4", None, 401),
        ("admin", "k1", None, 401),
        ("admin", "k2", None, 200),
    ],
)
def test_keys_open_functions_of_their_level(
    locked: str, level: str, header: str | None, code: str | None, status: int
) -> None:
    # https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#http-auth
    headers = {"x-functions-key": header} if header else {}
    params = {"code": code} if code else {}
    assert (
        requests.get(f"{locked}/api/{level}", headers=headers, params=params, timeout=PATIENCE_S).status_code == status
    )


def test_keys_are_given_as_names_and_values() -> None:
    assert Keys.parse(["default=a=b", "_master=c"]) == Keys({"default": "a=b", "_master": "c"})
    for wrong in ("secret", "=secret", "name="):
        with pytest.raises(HostSettingsInvalid, match="NAME=VALUE") as refused:
            Keys.parse([wrong])
        assert "secret" not in str(refused.value)
