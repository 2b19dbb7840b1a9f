"""The reference: plain scripts that make the calls that the work takes, and nothing else.

They share no code with the app. ``python -m tests.benchmarks.plain imports COUNT LANE...`` says that it is ready and
imports what appears in ``LANE/Input``, until it has imported so many packages of each lane: a thread for each lane, one
package after the other, nothing recorded, nothing checked, no failure survived.
``python -m tests.benchmarks.plain poll SECONDS FOLDER`` looks into ``FOLDER/Input`` every so many seconds, as the Logic
App does, and moves what it finds to ``FOLDER/Processing``, until it is stopped.

Addresses and the way to a token come from the app's settings in the environment.
"""

import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import requests

TIMEOUT_S: Final = 60
LOOK_S: Final = 0.1
PUT_BLOB: Final = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2019-12-12"}

_import_turn: Final = threading.Lock()  # F&O fails imports that are called in parallel


class Caller:
    """A connection to each service, with tokens."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """settings: those of the app."""
        self._settings = settings
        self._http = requests.Session()
        self._http.trust_env = False  # everything is on this machine: no proxy
        self._graph, self._fno = settings["GRAPH_URL"], settings["FO_URL"]
        self._drive = f"{self._graph}/v1.0/{settings['ONEDRIVE_DRIVE']}"
        self._tokens = {audience: self._token(audience) for audience in (self._graph, self._fno)}

    def item(self, path: str) -> dict[str, Any]:
        """Return a file or folder."""
        return self._called("GET", f"{self._drive}/root:/{path}", self._graph)

    def folder_id(self, path: str) -> str:
        """Return the id of a folder."""
        return str(self.item(path)["id"])

    def files(self, folder: str) -> list[dict[str, Any]]:
        """Return the files of a folder, the oldest first."""
        url, files = f"{self._drive}/items/{folder}/children", []
        while url:
            page = self._called("GET", url, self._graph)
            files += page["value"]
            url = page.get("@odata.nextLink", "")
        return sorted(files, key=lambda file: str(file["lastModifiedDateTime"]))

    def move(self, item: str, folder: str) -> None:
        """Move a file to a folder."""
        self._called("PATCH", f"{self._drive}/items/{item}", self._graph, {"parentReference": {"id": folder}})

    def download(self, file: dict[str, Any]) -> bytes:
        """Return a file's content."""
        return self._answered(self._http.get(file["@microsoft.graph.downloadUrl"], timeout=TIMEOUT_S)).content

    def upload_url(self, path: str) -> str:
        """Return the address of a new upload session."""
        url = f"{self._drive}/root:/{path}:/createUploadSession"
        return str(self._called("POST", url, self._graph, {"item": {}})["uploadUrl"])

    def action(self, name: str, **parameters: object) -> str:
        """Call an action of F&O and return its value."""
        url = f"{self._fno}/data/DataManagementDefinitionGroups/Microsoft.Dynamics.DataEntities.{name}"
        return str(self._called("POST", url, self._fno, parameters)["value"])

    def write_url(self, name: str) -> str:
        """Return an address to which a package can be written."""
        return str(json.loads(self.action("GetAzureWriteUrl", uniqueFileName=name))["BlobUrl"])

    def put_blob(self, url: str, content: bytes) -> None:
        """Write a blob."""
        self._answered(self._http.put(url, data=content, headers=PUT_BLOB, timeout=TIMEOUT_S))

    def _called(self, method: str, url: str, audience: str, body: object = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._tokens[audience]}"}
        answer = self._http.request(method, url, json=body, headers=headers, timeout=TIMEOUT_S)
        content: dict[str, Any] = self._answered(answer).json()
        return content

    def _token(self, audience: str) -> str:
        answer = self._http.get(
            self._settings["IDENTITY_ENDPOINT"],
            params={"resource": audience, "api-version": "2019-08-01"},
            headers={"X-IDENTITY-HEADER": self._settings["IDENTITY_HEADER"]},
            timeout=TIMEOUT_S,
        )
        return str(self._answered(answer).json()["access_token"])

    @staticmethod
    def _answered(answer: requests.Response) -> requests.Response:
        answer.raise_for_status()
        return answer


def import_lane(lane: str, count: int, ready: threading.Barrier) -> None:
    """Import so many packages of a lane."""
    caller = Caller(os.environ)  # the addresses, as the benchmark hands them to this process
    input_id, processing, success = (caller.folder_id(f"{lane}/{name}") for name in ("Input", "Processing", "Success"))
    ready.wait()
    while count > 0:
        files = caller.files(input_id)
        for file in files:
            import_package(lane, caller, file, processing, success)
        count -= len(files)
        if not files:
            time.sleep(LOOK_S)  # as a plain script waits for files


def import_package(lane: str, caller: Caller, file: dict[str, Any], processing: str, success: str) -> None:
    """Import one package; processing, success: the ids of the folders that it is moved to."""
    caller.move(file["id"], processing)
    content = caller.download(file)
    execution = str(uuid.uuid4())
    url = caller.write_url(f"{execution}.zip")
    caller.put_blob(url, content)
    with _import_turn:
        caller.action(
            "ImportFromPackage",
            packageUrl=url,
            definitionGroupId=lane,
            executionId=execution,
            execute=True,
            overwrite=True,
            legalEntityId="USMF",
        )
    while caller.action("GetExecutionSummaryStatus", executionId=execution) != "Succeeded":
        time.sleep(0.1)  # as a plain script waits; F&O takes no time here, so it hardly ever does
    caller.move(file["id"], success)


def imports(count: int, lanes: Sequence[str]) -> None:
    """Import so many packages of each lane, all lanes side by side."""
    ready = threading.Barrier(len(lanes) + 1)
    with ThreadPoolExecutor(len(lanes)) as pool:
        done = [pool.submit(import_lane, lane, count, ready) for lane in lanes]
        ready.wait()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for each in done:
            each.result()


def poll(every_s: float, folder: str) -> None:
    """Look again and again."""
    caller = Caller(os.environ)  # as in import_lane
    input_id, processing = (caller.folder_id(f"{folder}/{name}") for name in ("Input", "Processing"))
    sys.stdout.write("polling\n")
    sys.stdout.flush()
    while True:
        for file in caller.files(input_id):
            caller.move(file["id"], processing)
        time.sleep(every_s)  # the Logic App's poll, which is what is measured here


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    match arguments:
        case ["imports", count, *lanes]:
            imports(int(count), lanes)
        case ["poll", every_s, folder]:
            poll(float(every_s), folder)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
