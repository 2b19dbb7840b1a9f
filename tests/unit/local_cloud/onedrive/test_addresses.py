"""How items are addressed, and who may ask: graph_onedrive §3.1, §5, §7, §9.1, §9.2, §9.5 (transport)."""

import pytest
import requests

from local_cloud.faults import Fault, status
from tests.unit.local_cloud.onedrive.graph import DEADLINE_S, Graph, as_object, code_of


@pytest.mark.parametrize(
    "address",
    [
        "root:/In%20box/100%25%20%231.zip",
        "root:/In%20box/100%25%20%231.zip:",
        "root:/IN%20BOX/100%25%20%231.ZIP",
        "root%3A%2FIn%20box%2F100%25%20%231.zip%3A",
        "items/{folder}:/100%25%20%231.zip:",
    ],
)
def test_one_file_has_many_addresses(graph: Graph, address: str) -> None:
    """§3.1: segments encoded, a trailing colon is valid, case does not count; §9.2: decoded before it is parsed."""
    graph.put("In box/100% #1.zip", b"content")
    response = graph.get(address.format(folder=graph.item("In%20box")["id"]))
    assert (response.status_code, response.json().get("name")) == (200, "100% #1.zip")
    assert graph.violations == []


def test_a_plus_in_an_address_is_a_plus(graph: Graph) -> None:
    """§3.1: a space is %20, never +."""
    graph.put("a+b.zip", b"content")
    assert graph.get("root:/a+b.zip").status_code == 200
    assert graph.get("root:/a%20b.zip").status_code == 404


@pytest.mark.parametrize("drive", ["drives/b!local", "drives/b%21local", "/users/anna@contoso.com/drive"])
def test_the_drive_has_several_addresses(graph: Graph, drive: str) -> None:
    """§1.1, §9.2: by id and through its owner; a doubled slash behind the version is harmless."""
    for base in ("/v1.0/", "/v1.0//", "/v2.0/"):
        url = f"{graph.simulator.graph_url}{base}{drive.removeprefix('/')}/root"
        assert graph.get(url).json()["id"] == graph.item("")["id"]


def test_me_needs_a_person_who_signed_in(graph: Graph) -> None:
    """§7: personal addresses are delegated only."""
    refused = graph.get("/me/drive/root")
    assert (refused.status_code, code_of(refused)) == (400, "BadRequest")
    token = graph.desk.issue(graph.simulator.graph_url, app_id="the-app", user="anna@contoso.com")
    assert graph.get("/me/drive/root", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert graph.get("/me/drive", headers={"Authorization": f"Bearer {token}"}).json()["driveType"] == "business"


def test_another_drive_is_not_found(graph: Graph) -> None:
    assert graph.get("/drives/b!other/root").status_code == 404
    assert graph.violations == []


def test_a_missing_folder_on_the_way_is_not_found(graph: Graph) -> None:
    """§9.1: 404 itemNotFound is required when an intermediate segment is missing."""
    graph.put("a.zip", b"content")
    for path in ("Missing/a.zip", "a.zip/b.zip"):
        response = graph.get(f"root:/{path}")
        assert (response.status_code, code_of(response)) == (404, "itemNotFound")


@pytest.mark.parametrize("path", ["/drives/b!local/search", "/me/messages", "root/versions", "/nonsense", "items"])
def test_an_unknown_route_is_refused_and_written_down(graph: Graph, path: str) -> None:
    """§9.5: unknown route gives JSON with 400 or 404."""
    response = graph.get(path)
    assert (response.status_code, code_of(response)) == (400, "BadRequest")
    assert len(graph.violations) == 1


def test_a_wrong_method_is_refused_and_written_down(graph: Graph) -> None:
    assert graph.call("PUT", "root/children").status_code == 405
    assert len(graph.violations) == 1


def test_an_unknown_query_option_is_refused_and_written_down(graph: Graph) -> None:
    assert graph.get("root/children?$search=a").status_code == 400
    assert len(graph.violations) == 1


@pytest.mark.parametrize("header", ["Bearer nonsense", "Basic YTpi"])
def test_a_token_that_is_not_good_is_refused(graph: Graph, header: str) -> None:
    """§5, §7: 401 InvalidAuthenticationToken with a challenge; that may happen to the best client."""
    response = graph.get("root", headers={"Authorization": header})
    assert (response.status_code, code_of(response)) == (401, "InvalidAuthenticationToken")
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")
    assert graph.violations == []


def test_a_token_for_another_audience_is_refused(graph: Graph) -> None:
    token = graph.desk.issue("https://elsewhere.example", app_id="the-app")
    assert graph.get("root", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_call_without_a_token_is_written_down(graph: Graph) -> None:
    assert requests.get(graph.url("root"), timeout=DEADLINE_S).status_code == 401
    assert len(graph.violations) == 1


def test_every_answer_carries_what_support_asks_for(graph: Graph) -> None:
    """§5: request-id, client-request-id, Date, x-ms-ags-diagnostic; in the error's body too."""
    response = graph.get("root:/missing", headers={"client-request-id": "my-id"})
    assert response.headers["client-request-id"] == "my-id"
    assert {"Date", "x-ms-ags-diagnostic"} <= set(response.headers)
    inner = as_object(response)["error"]["innerError"]
    assert inner["request-id"] == response.headers["request-id"]
    assert inner["client-request-id"] == "my-id"
    assert response.headers["Content-Type"].startswith("application/json")


def test_a_planned_fault_carries_a_request_id_too(graph: Graph) -> None:
    graph.faults.add(Fault("graph", "GET", "/root", do=status(503, {"Retry-After": "7"})))
    response = graph.get("root")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
    assert response.headers["request-id"]
