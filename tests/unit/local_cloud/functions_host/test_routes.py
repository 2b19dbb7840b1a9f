"""ASP.NET's route templates: https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-templates"""

import pytest

from local_cloud.functions_host.routes import Route, RouteInvalid

A_GUID = "CD2C1638-1638-72D5-1638-DEADBEEF1638"


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("api/runs", "/api/runs", {}),
        ("api/runs", "/API/Runs/", {}),  # letter case and a last slash do not count
        ("api/runs", "/api/runs/1", None),
        ("api/runs/{id}", "/api/runs/a%20b", {"id": "a b"}),
        ("api/runs/{id}", "/api/runs/a%2Fb", {"id": "a%2Fb"}),  # an encoded slash separates nothing
        ("api/runs/{id}", "/api/runs", None),
        ("api/runs/{id?}", "/api/runs", {}),
        ("api/runs/{id=7}", "/api/runs", {"id": "7"}),
        ("api/runs/{id:int}", "/api/runs/12", {"id": "12"}),
        ("api/runs/{id:int}", "/api/runs/x", None),
        ("api/runs/{id:int}", "/api/runs/99999999999", None),
        ("api/runs/{id:int?}", "/api/runs", {}),
        ("api/runs/{id:long}", "/api/runs/99999999999", {"id": "99999999999"}),
        ("api/runs/{id:alpha}", "/api/runs/abc", {"id": "abc"}),
        ("api/runs/{id:alpha}", "/api/runs/ab1", None),
        ("api/runs/{id:bool}", "/api/runs/True", {"id": "True"}),
        ("api/runs/{id:guid}", f"/api/runs/{A_GUID}", {"id": A_GUID}),
        ("api/runs/{id:guid}", "/api/runs/x", None),
        ("api/runs/{id:alpha:length(2,3)}", "/api/runs/abcd", None),
        ("api/runs/{id:range(1,5)}", "/api/runs/5", {"id": "5"}),
        ("api/runs/{id:min(6)}", "/api/runs/5", None),
        ("api/runs/{id:maxlength(3)}", "/api/runs/5", {"id": "5"}),
        ("files/{*path}", "/files/a/b.zip", {"path": "a/b.zip"}),
        ("files/{*path}", "/files", {}),
        ("files/{name}.{end}", "/files/a.zip", {"name": "a", "end": "zip"}),
        ("files/{name}.{end}", "/files/a", None),
        ("", "/", {}),
    ],
)
def test_a_template_matches_a_path(template: str, path: str, values: dict[str, str] | None) -> None:
    assert Route.parse(template).match(path) == values


def test_the_more_specific_template_goes_first() -> None:
    templates = ["items/{*rest}", "items/{id}", "items/{id:int}", "items/special", "items/{*n:int}"]
    ordered = sorted(templates, key=lambda template: Route.parse(template).precedence)
    assert ordered == ["items/special", "items/{id:int}", "items/{id}", "items/{*n:int}", "items/{*rest}"]


@pytest.mark.parametrize("template", ["runs/{id:colour}", "runs/{id", "runs/{}"])
def test_a_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(RouteInvalid):
        Route.parse(template)
