"""A plain client for the tests of the simulated OneDrive: requests, a token, and nothing that knows better."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import requests

from local_cloud.faults import FaultPlan
from local_cloud.onedrive import Knobs, OneDriveSimulator
from local_cloud.tokens import TokenDesk

DEADLINE_S: Final = 60.0  # costs nothing when all is well
UNIT: Final = 320 * 1024  # bytes; what chunks of an upload session are multiples of


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds


class Graph:
    """A simulator with a client that has a token for it."""

    def __init__(self, folder: Path, clock: Clock, **options: Any) -> None:
        self.clock = clock
        # Who takes notifications may stand still for a while: that is no answer that came too late.
        self.knobs = Knobs(
            scan_interval_s=0.05,
            notification_delay_s=0.02,
            validation_timeout_s=DEADLINE_S,
            delivery_timeout_s=DEADLINE_S,
            retry_timeout_s=DEADLINE_S,
        )
        self.desk = TokenDesk()
        self.faults = FaultPlan()
        self.folder = folder
        self.simulator = OneDriveSimulator(folder, self.desk, self.faults, knobs=self.knobs, clock=clock, **options)
        self.http = requests.Session()
        self.plain = requests.Session()  # never has a token

    def start(self) -> None:
        self.simulator.start()
        token = self.desk.issue(self.simulator.graph_url, app_id="the-app")
        self.http.headers["Authorization"] = f"Bearer {token}"

    def stop(self) -> None:
        self.http.close()
        self.plain.close()
        self.simulator.stop()

    @property
    def violations(self) -> list[str]:
        return self.simulator.violations

    def url(self, path: str) -> str:
        """path: absolute below the version when it begins with a slash, else below the drive."""
        if path.startswith("http"):
            return path
        base = f"{self.simulator.graph_url}/v1.0"
        return base + path if path.startswith("/") else f"{base}/drives/{self.simulator.drive_id}/{path}"

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.http.request(method, self.url(path), allow_redirects=False, timeout=DEADLINE_S, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, body: object, **options: Any) -> requests.Response:
        return self.call("POST", path, json=body, **options)

    def patch(self, path: str, body: object, **options: Any) -> requests.Response:
        return self.call("PATCH", path, json=body, **options)

    def item(self, path: str) -> dict[str, Any]:
        """Return the item at a path below the root."""
        response = self.get(f"root:/{path}" if path else "root")
        assert response.status_code == 200, response.text
        return as_object(response)

    def names_in(self, path: str) -> list[str]:
        response = self.get(f"root:/{path}:/children" if path else "root/children")
        assert response.status_code == 200, response.text
        return [each["name"] for each in response.json()["value"]]

    def folder_id(self, name: str) -> str:
        """Make a folder on disk and return its id."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        return str(self.item(name)["id"])

    def put(self, name: str, content: bytes, *, modified_s: float | None = None) -> Path:
        """Put a file into the folder by hand, all at once: the simulator never sees a part of it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made = self.folder.parent / "made"
        made.write_bytes(content)
        if modified_s is not None:
            os.utime(made, (modified_s, modified_s))
        return made.replace(path)

    def open_session(self, name: str, *, conflict: str = "fail", **item: object) -> str:
        """Open an upload session in the root and return its upload URL."""
        body = {"item": {"@microsoft.graph.conflictBehavior": conflict, "name": name, **item}}
        response = self.post(f"root:/{name}:/createUploadSession", body)
        assert response.status_code == 200, response.text
        return str(response.json()["uploadUrl"])

    def send(
        self, url: str, start: int, chunk: bytes, total: int, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send a chunk to an upload URL."""
        content_range = f"bytes {start}-{start + len(chunk) - 1}/{total}"
        return self.plain.put(
            url, data=chunk, headers={"Content-Range": content_range, **(headers or {})}, timeout=DEADLINE_S
        )


def as_object(response: requests.Response) -> dict[str, Any]:
    body = response.json()
    assert isinstance(body, dict)
    return body


def code_of(response: requests.Response) -> str:
    return str(response.json()["error"]["code"])


def wait_until(fact: Callable[[], object]) -> None:
    """Return once the fact is so; fail after DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while not fact():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.005)
