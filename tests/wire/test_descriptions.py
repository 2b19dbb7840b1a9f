"""The descriptions are complete: every verb of the clients stands in them, in docs/wire.md, and was seen in the run."""

import ast
import json
import re
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.storage.blob import BlobClient, BlobLeaseClient, BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient, QueueServiceClient

from tests.architecture.product import parsed, product_files
from tests.wire import storage
from tests.wire.check import ENDPOINTS, wrong_with_answer, wrong_with_request
from tests.wire.document import WIRE as PAGE
from tests.wire.document import text
from tests.wire.endpoints import OPAQUE, Endpoint, Request, Service
from tests.wire.examples import Example, key_of, read_examples
from tests.wire.verbs import CALLERS, STORAGE_CALLERS, methods_called, operations_of, source_of

EXAMPLES = read_examples()
KEYS = {
    **{key_of(one.service, one.operation, one.method, one.path): one for one in ENDPOINTS},
    **{key_of(Service.STORAGE, one.operation, one.method, one.path): one for one in storage.CALLS},
}
# Microsoft's own clouds have no place in a test run: instance discovery is asked of nobody else. And the webhook is no
# simulator, where examples come from.
NEVER_SEEN = {key for key in KEYS if "/common/discovery/instance" in key or key.startswith(f"{Service.WEBHOOK}:")}


def test_every_verb_of_the_clients_is_described_and_nothing_else_is() -> None:
    verbs = {name for module in CALLERS for name in operations_of(source_of(module))}

    described = {one.operation for one in ENDPOINTS}
    assert verbs == described | {one.operation for one in storage.CALLS if "clients/blobs" in one.modules}


def test_a_verb_whose_name_is_put_together_would_be_noticed() -> None:
    source = "def look(http, kind):\n    http.call('GET', '/x', operation=f'get {kind}')\n"

    with pytest.raises(ValueError, match="must stand there as text"):
        list(operations_of(source))


def test_a_verb_is_found_behind_functions_that_hand_its_name_on() -> None:
    source = (
        "class Client:\n"
        "    def one(self): return self._call('GET', 'one thing')\n"
        "    def two(self): return self._call('GET', what='another thing')\n"
        "    def _call(self, method, what): return self._last(what)\n"
        "    def _last(self, name): return self._http.call(operation=name)\n"
    )

    assert set(operations_of(source)) == {"one thing", "another thing"}


def test_only_the_clients_make_calls() -> None:
    callers = {path for path in product_files() if any(_is_call(node) for node in ast.walk(parsed(path)))}

    # It makes everybody's calls; credentials makes its own through Microsoft's libraries.
    callers = {each for each in callers if not each.startswith("shared/clients/http/")}
    callers.add("shared/clients/entra/app_identity.py")
    named = {path: [each for each in CALLERS if path.startswith(f"shared/{each}")] for path in callers}
    assert [path for path, callers_of in named.items() if not callers_of] == []
    assert {each for callers_of in named.values() for each in callers_of} == set(CALLERS)


def _is_call(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("call", "record_call")
        and any(keyword.arg == "operation" for keyword in node.keywords)
    )


def test_every_method_of_a_storage_client_that_the_app_calls_is_listed() -> None:
    clients = (BlobServiceClient, ContainerClient, BlobClient, BlobLeaseClient, QueueServiceClient, QueueClient)
    known = {name for client in clients for name in dir(client) if not name.startswith("_")}
    # These make a client or end one, and ask nothing.
    known -= {"close", "from_blob_url", "from_connection_string"}
    known -= {"get_blob_client", "get_container_client", "get_queue_client"}

    listed = {method for call in storage.CALLS for method in call.calls}
    called = {method for module in STORAGE_CALLERS for method in methods_called(source_of(module))} & known
    assert called == listed


def test_every_endpoint_says_where_it_was_read_and_what_it_takes() -> None:
    for endpoint in ENDPOINTS:
        assert all(urlsplit(source).scheme == "https" for source in (endpoint.source, *endpoint.more_sources))
        assert endpoint.when.endswith(".")
        assert endpoint.permission
        assert endpoint.repeatable
        assert endpoint.answers
        assert not endpoint.refusals & set(endpoint.answers)
        assert endpoint.path == OPAQUE or endpoint.path.startswith(("/", "{drive}", "{prefix}"))


def test_what_is_asked_of_graph_is_described_for_its_released_version() -> None:
    assert [one.path for one in ENDPOINTS if one.service == Service.GRAPH and "/v1.0" not in _expanded(one)] == []


def _expanded(endpoint: Endpoint) -> str:
    return endpoint.path.replace("{drive}", "/v1.0/me/drive")


# What a run has seen


def test_every_call_has_an_example_that_a_run_has_seen() -> None:
    assert set(EXAMPLES) == set(KEYS) - NEVER_SEEN


@pytest.mark.parametrize("key", sorted(key for key in EXAMPLES if not key.startswith(f"{Service.STORAGE}:")))
def test_an_example_is_as_the_reference_says(key: str) -> None:
    example, endpoint = EXAMPLES[key], KEYS[key]
    assert isinstance(endpoint, Endpoint)
    parts = urlsplit(example.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    if "msi" in target:
        target = re.sub(r"^/[^?]*", endpoint.path, target)
    request = Request(
        method=example.method, target=target, headers=example.headers, body=_without_ellipsis(example.body)
    )

    _, wrong = wrong_with_request(request, [endpoint])
    assert wrong == []
    _, wrong = wrong_with_answer(
        example.status, example.answer_headers.get("content-type", ""), _as_json(example), [endpoint]
    )
    assert wrong == []


def _as_json(example: Example) -> str | None:
    return None if example.answer is None else json.dumps(_without_ellipsis(example.answer))


def _without_ellipsis(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_ellipsis(one) for name, one in value.items()}
        case list():
            return [_without_ellipsis(one) for one in value if one != "..."]
        case _:
            return value


def test_no_example_holds_a_secret_or_an_address_of_a_machine() -> None:
    # 41841 stands for the port of the managed identity, which is on the app's own machine in Azure too.
    secret = re.compile(r"eyJ[\w-]{10,}|tempauth=(?!\*)|sig=(?!\*)|127\.0\.0\.1:(?!41841)|AccountKey|SharedKey")

    assert [example.key for example in EXAMPLES.values() if secret.search(str(asdict(example)))] == []


def test_the_page_of_calls_is_what_the_descriptions_and_examples_say() -> None:
    assert PAGE.read_text("utf-8") == text(), "renew it with: python -m tests.wire.document"
