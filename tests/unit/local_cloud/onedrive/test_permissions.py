"""What an app may do with the permissions in its token: https://learn.microsoft.com/graph/permissions-reference"""

import pytest
import requests

from local_cloud.onedrive import OneDriveSimulator
from tests.unit.local_cloud.onedrive.graph import Graph

TOP = "/drives/b!local/root"
READ = ("GET", TOP)
WRITE = ("POST", f"{TOP}/children")
WATCH = ("GET", "/subscriptions")
MAIL = ("POST", "/users/app@contoso.com/sendMail")


def status(simulator: OneDriveSimulator, token: str, call: tuple[str, str]) -> int:
    method, path = call
    body = {"name": "New", "folder": {}} if call is WRITE else {"message": {"toRecipients": []}}
    return requests.request(
        method,
        f"{simulator.graph_url}/v1.0{path}",
        json=body if method == "POST" else None,
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    ).status_code


@pytest.mark.parametrize(
    ("permissions", "forbidden"),
    [
        ((), {READ, WRITE, WATCH, MAIL}),
        (("Files.Read.All",), {WRITE, WATCH, MAIL}),
        (("Files.ReadWrite.All",), {MAIL}),
        (("Files.ReadWrite.All", "Mail.Send"), set()),
        (("Mail.Send",), {READ, WRITE, WATCH}),
        (("Sites.Selected",), {READ, WRITE, WATCH, MAIL}),
    ],
)
def test_what_an_app_has_no_permission_for_is_forbidden(
    graph: Graph, permissions: tuple[str, ...], forbidden: set[tuple[str, str]]
) -> None:
    token = graph.desk.issue(graph.simulator.graph_url, app_id="app", permissions=permissions)

    refused = {call for call in (READ, WRITE, WATCH, MAIL) if status(graph.simulator, token, call) == 403}

    assert refused == forbidden


def test_sites_selected_is_enough_where_the_site_has_granted_it(graph: Graph) -> None:
    token = graph.desk.issue(graph.simulator.graph_url, app_id="app", permissions=("Sites.Selected",))
    graph.knobs.sites_selected_is_granted = True

    assert status(graph.simulator, token, READ) == 200
    assert status(graph.simulator, token, WRITE) == 201
    assert status(graph.simulator, token, MAIL) == 403
