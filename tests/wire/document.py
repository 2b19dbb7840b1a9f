"""Makes docs/wire.md from the descriptions and from the examples that a test run has recorded.

``python -m tests.wire.document`` writes it; with ``--record`` tests are run first and their calls become the examples.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.wire import entra, finance_operations, graph, receivers, storage, webhook
from tests.wire.endpoints import OPAQUE, Endpoint, Service, fields_of
from tests.wire.examples import EXAMPLES, EXAMPLES_VARIABLE, Example, key_of, read_examples
from tests.wire.shapes import Octets, name_of
from tests.wire.storage import StorageCall

ROOT: Final = Path(__file__).resolve().parents[2]
WIRE: Final = ROOT / "docs" / "wire.md"
RECORDED_FROM: Final = ("tests/contract", "tests/unit", "tests/end_to_end")

_INTRODUCTION: Final = """\
# Every call that the app makes

What leaves the app, to whom, when and with which permission; each with the page of the reference that it was written
from, and with one real example as a test run has seen it. Addresses in the examples are made public, `***` stands for
what is secret, and lists are shortened.

This page is made from the descriptions in `tests/wire` by `python -m tests.wire.document`. The test run holds every
call of the app, and every answer of the simulators, against the same descriptions: an unknown field, a wrong type, a
missing header, a token where none may be, or a status that is not documented fails the test in which it occurs.

What comes in (Graph's notifications) is in [architecture.md](architecture.md); who is granted what, and how, is in
[operations.md](operations.md).
"""

_SECTIONS: Final[tuple[tuple[str, str, tuple[Endpoint, ...]], ...]] = (
    (
        "Microsoft Graph and OneDrive",
        "At `GRAPH_URL` (`https://graph.microsoft.com`). `{drive}` is `/v1.0/drives/{drive-id}`, "
        "`/v1.0/users/{user}/drive` or `/v1.0/me/drive`. Addresses that OneDrive hands out for content hold their own "
        "permission: they never see a token, and are sent exactly as they came. With Sites.Selected the app needs the "
        "role `write` on the drive's site instead of the permissions that end with `.All`. A `parentReference` has "
        "its `path` percent-encoded; its `name`, and all other names, are as people see them.",
        graph.ENDPOINTS,
    ),
    (
        "Finance & Operations",
        "At `FO_URL`, on-premises with `/namespaces/AXSF` in front of the path. All actions belong to the entity set "
        "DataManagementDefinitionGroups.",
        finance_operations.ENDPOINTS,
    ),
    (
        "Tokens",
        "Made by azure-identity and msal, Microsoft's own libraries. One way is used, as the settings say: managed "
        "identity, secret, certificate, or a signed-in user.",
        entra.ENDPOINTS,
    ),
    (
        "Who gets alerts",
        "At `ALERT_TEAMS_URL` and `ALERT_WEBHOOK_URL`, which are sent exactly as they were set and never see a token. "
        "Mail goes through Microsoft Graph, above.",
        receivers.ENDPOINTS,
    ),
    (
        "The app's own webhook",
        "At `NOTIFICATION_URL`, which otherwise Graph calls.",
        webhook.ENDPOINTS,
    ),
)


def text() -> str:
    """Return the whole page."""
    examples = read_examples()
    parts = [_INTRODUCTION]
    for heading, about, endpoints in _SECTIONS:
        parts += [f"## {heading}\n", f"{about}\n", _table(endpoints)]
        parts += [_endpoint(endpoint, examples) for endpoint in endpoints]
    parts += [_storage(examples), _differences()]
    return "\n".join(parts)


def _table(endpoints: Iterable[Endpoint]) -> str:
    rows = [
        f"| `{one.operation}` | `{one.method} {_path(one)}` | {one.when} | {one.permission} | {one.repeatable} |"
        for one in endpoints
    ]
    head = ["| Call | Method and path | When | Permission | Asking twice |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows]) + "\n"


def _path(endpoint: Endpoint) -> str:
    if endpoint.path == OPAQUE:
        return "{NOTIFICATION_URL}" if endpoint.service is Service.WEBHOOK else "{address that the service returned}"
    return endpoint.path.replace("{prefix}", "")


def _endpoint(endpoint: Endpoint, examples: dict[str, Example]) -> str:
    lines = [f"### {endpoint.operation}: {endpoint.method} {_path(endpoint)}\n"]
    sources = ", ".join(f"<{source}>" for source in (endpoint.source, *endpoint.more_sources))
    lines.append(f"- Source: {sources}")
    lines.append(f"- Proof: {endpoint.proof}")
    if endpoint.query:
        required = [f"`{name}`" for name in sorted(endpoint.required_query)]
        optional = [f"`{name}`" for name in endpoint.query if name not in endpoint.required_query]
        lines.append(f"- Query: {_listed(required, 'required')}{_listed(optional, 'documented')}".rstrip("; "))
    if endpoint.headers or endpoint.optional_headers:
        required = [f"`{name}`" for name in endpoint.headers]
        is_library = len(endpoint.optional_headers) > 5
        optional = [] if is_library else [f"`{name}`" for name in endpoint.optional_headers]
        said = f"{_listed(required, 'required')}{_listed(optional, 'possible')}".rstrip("; ")
        if said:
            lines.append(f"- Headers: {said}")
    if isinstance(endpoint.body, Octets):
        lines.append("- Body: the bytes of the file")
    elif (fields := fields_of(endpoint)) is not None:
        lines.append(f"- Body: `{name_of(fields)}`")
    lines.append(f"- Answers: {', '.join(str(status) for status in endpoint.answers)}; refusals: {_refusals(endpoint)}")
    example = examples.get(key_of(endpoint.service, endpoint.operation, endpoint.method, endpoint.path))
    lines += ["", _example(example) if example else "No test has made this call.", ""]
    return "\n".join(lines)


def _listed(names: Sequence[str], what: str) -> str:
    return f"{', '.join(names)} ({what}); " if names else ""


def _refusals(endpoint: Endpoint) -> str:
    return ", ".join(str(status) for status in sorted(endpoint.refusals))


def _example(example: Example) -> str:
    lines = ["```http", f"{example.method} {example.url}"]
    lines += [f"{name.title()}: {value}" for name, value in example.headers.items()]
    lines += _body(example.body, is_form="urlencoded" in example.headers.get("content-type", ""))
    lines += ["", f"HTTP/1.1 {example.status}"]
    lines += [f"{name.title()}: {value}" for name, value in example.answer_headers.items()]
    lines += _body(example.answer)
    return "\n".join([*lines, "```"])


def _body(value: Any, *, is_form: bool = False) -> list[str]:
    if value is None:
        return []
    if is_form:
        return ["", "\n&".join(f"{name}={one}" for name, one in value.items())]
    return ["", json.dumps(value, indent=2, ensure_ascii=False)]


def _storage(examples: dict[str, Example]) -> str:
    lines = [
        "## Azure Storage\n",
        "Made by azure-storage-blob and azure-storage-queue, Microsoft's own clients, but for the download. Two "
        "accounts: F&O's, of which the app has nothing but the addresses that F&O hands out, and the app's own "
        "(`AzureWebJobsStorage`). The clients choose headers and XML by themselves, so these calls are listed and not "
        "checked field by field; what the app decides about them is held by the tests of the table below.\n",
        "| Call | Made by | Method and path | When | Permission | Asking twice |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    blob = storage.GET_BLOB
    rows: list[tuple[str, frozenset[str], str, str, StorageCall | Endpoint]] = [
        (call.operation, call.modules, call.method, call.path, call) for call in storage.CALLS
    ]
    rows.insert(3, (blob.operation, frozenset({"clients/blobs"}), blob.method, "{container}/{blob}?{sas}", blob))
    for operation, modules, method, path, call in rows:
        made_by = ", ".join(f"`shared/{module}`" for module in sorted(modules))
        lines.append(
            f"| `{operation}` | {made_by} | `{method} {path}` | {call.when} | {call.permission} | {call.repeatable} |"
        )
    for operation, modules, method, path, call in rows:
        example = examples.get(key_of(Service.STORAGE, operation, method, call.path))
        lines += [
            "",
            f"### {operation}, by {', '.join(sorted(modules))}: {method} {path}\n",
            f"- Source: <{call.source}>",
            "",
            _example(example) if example else "No test has made this call.",
        ]
    return "\n".join([*lines, ""])


def _differences() -> str:
    lines = [
        "## Where Azure differs from Azurite\n",
        "All tests run on Azurite. Where Azure does otherwise in what the app uses, a test holds what the app sends:\n",
        "| In Azure | In Azurite | What the app does | Source | Test |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.azure} | {one.azurite} | {one.ours} | <{one.source}> | `{one.test}` |" for one in storage.DIFFERENCES
    ]
    return "\n".join([*lines, ""])


def record(tests: Sequence[str]) -> int:
    """Run tests, by default those that make every call, and keep their examples; return pytest's exit code."""
    environment = {**os.environ, EXAMPLES_VARIABLE: str(EXAMPLES)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(tests or RECORDED_FROM)]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Write the page; return 0, or the exit code of tests that did not pass."""
    parser = argparse.ArgumentParser(prog="python -m tests.wire.document", description=__doc__)
    parser.add_argument(
        "--record", nargs="*", metavar="TESTS", help="run tests first (all that make calls) and take examples from them"
    )
    tests = parser.parse_args(arguments).record
    code = 0 if tests is None else record(tests)
    WIRE.write_text(text(), "utf-8", newline="\n")
    sys.stdout.write(f"{WIRE.name} is written\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
