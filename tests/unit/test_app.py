"""The app's parts are built once, by whichever thread comes first, and building them calls nobody."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest

from shared.app import Services, built_once
from shared.config.settings import read_settings


def some_services(**settings: str) -> Services:
    return Services(
        read_settings(
            {
                "AzureWebJobsStorage__accountName": "account",
                "FO_URL": "https://contoso.operations.dynamics.com",
                "ONEDRIVE_DRIVE": "drives/b!one",
                "OUTBOUND_SCHEDULE": "0 * * * * *",
                **settings,
            }
        )
    )


def parts() -> list[str]:
    return [name for name, part in vars(Services).items() if isinstance(part, built_once)]


@pytest.mark.parametrize("name", parts())
@pytest.mark.parametrize("sign_in", ["app", "user"])
def test_a_part_is_built_without_a_call(name: str, sign_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("somebody is called")

    user = {"ONEDRIVE_SIGN_IN": "user", "SIGN_IN_CLIENT_ID": "11111111-2222-3333-4444-555555555555"}
    services = some_services(**(user | {"SIGN_IN_TENANT": "contoso.com"} if sign_in == "user" else {}))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    if name == "signed_in_user" and sign_in == "app":
        pytest.skip("nobody signs in")

    assert getattr(services, name) is getattr(services, name)


def test_two_threads_that_need_a_part_at_once_get_the_same_one() -> None:
    services, together = some_services(), threading.Barrier(8)
    found: list[object] = []

    def use(_: int) -> None:
        together.wait()
        found.append(services.graph_token)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))

    assert len({id(part) for part in found}) == 1
    assert len(found) == 8
