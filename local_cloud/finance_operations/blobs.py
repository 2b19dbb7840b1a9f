"""F&O's own blob storage, played by Azurite: the containers, and the SAS URLs as F&O hands them out.

Azurite takes more than Azure does under the old ``sv`` that F&O was seen to give out: a single PUT of more than 64 MB
and blocks of more than 4 MiB, which Azure refuses there. It says AuthorizationFailure where Azure says
AuthenticationFailed of an expired URL; both with 403.
"""

import base64
import hashlib
import hmac
import threading
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode

from azure.storage.blob import BlobServiceClient, ContentSettings

UPLOADS: Final = "dmf"  # packages to import
DOWNLOADS: Final = "temporary-file"  # exported packages and error files
_STARTS_BEFORE: Final = timedelta(minutes=5)  # Observed in Recurring-Integrations-Scheduler#113


class Blobs:
    """Blobs in two containers, which are made on first use. Thread-safe; close it when done.

    connection_string: of Azurite, as AzureWebJobsStorage has it.
    """

    def __init__(self, connection_string: str) -> None:
        self._service = BlobServiceClient.from_connection_string(connection_string)
        self._account = str(self._service.account_name)
        self._key = base64.b64decode(self._service.credential.account_key)
        self._containers: set[str] = set()
        self.shown_at = self._service.url.rstrip("/")  # where others reach the account: what URLs begin with
        self._lock = threading.Lock()

    def close(self) -> None:
        self._service.close()

    def put(self, name: str, content: bytes, content_type: str) -> None:
        """Write a blob that F&O offers for download; one of that name is replaced."""
        self._ensure(DOWNLOADS)
        blob = self._service.get_blob_client(DOWNLOADS, name)
        blob.upload_blob(content, overwrite=True, content_settings=ContentSettings(content_type=content_type))

    def write_url(self, name: str, *, life_s: float, sas_version: str) -> str:
        """Return the URL under which a package may be uploaded and read."""
        self._ensure(UPLOADS)
        return self._signed(UPLOADS, name, "rw", life_s, sas_version)

    def read_url(self, name: str, *, life_s: float, sas_version: str) -> str:
        """Return the URL under which a blob may be downloaded."""
        return self._signed(DOWNLOADS, name, "r", life_s, sas_version)

    def direct(self, url: str) -> str:
        """Return a URL that was handed out as F&O itself reads it: from the storage, not from where others reach it."""
        return self._service.url.rstrip("/") + url.removeprefix(self.shown_at) if url.startswith(self.shown_at) else url

    def _ensure(self, container: str) -> None:
        with self._lock:
            if container in self._containers:
                return
            client = self._service.get_container_client(container)
            if not client.exists():
                client.create_container()
            self._containers.add(container)

    def _signed(self, container: str, name: str, permissions: str, life_s: float, version: str) -> str:
        # The wall clock, whatever clock the simulator has been given: Azurite checks the times by it. Seconds are cut
        # off, so that a URL never lives longer than it was told to.
        now = datetime.now(UTC)
        starts = _stamp(min(now - _STARTS_BEFORE, now + timedelta(seconds=life_s) - _STARTS_BEFORE))
        expires = _stamp(now + timedelta(seconds=life_s))
        resource = f"/blob/{self._account}/{container}/{name}"
        # The layout is that of the version 2015-04-05: Azurite takes it for every version before 2018-11-09, also for
        # those in which Azure itself left out the address and protocol. Nobody but Azurite looks at the signature.
        # https://learn.microsoft.com/rest/api/storageservices/create-service-sas#version-2015-04-05-and-later
        nothing = [""] * 5  # response headers
        if version >= "2020-12-06":
            lines = [permissions, starts, expires, resource, "", "", "", version, "b", "", "", *nothing]
        elif version >= "2018-11-09":
            lines = [permissions, starts, expires, resource, "", "", "", version, "b", "", *nothing]
        else:
            lines = [permissions, starts, expires, resource, "", "", "", version, *nothing]
        digest = hmac.new(self._key, "\n".join(lines).encode(), hashlib.sha256).digest()
        query = urlencode(
            {
                "sv": version,
                "sr": "b",
                "sig": base64.b64encode(digest).decode(),
                "st": starts,
                "se": expires,
                "sp": permissions,
            }
        )
        return f"{self.shown_at}/{container}/{quote(name)}?{query}"


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
