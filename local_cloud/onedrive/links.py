"""Pre-authenticated addresses: who has one needs no token, as long as it lives.

They stand on another port than the API, because clients such as requests drop the Authorization header only when host
or port change; one that leaks its token is caught here.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from local_cloud.onedrive.errors import misuse, unauthenticated

# As SharePoint's look; the part before _layouts is the person's site.
DOWNLOAD_PATH: Final = "/personal/local/_layouts/15/download.aspx"
UPLOAD_PATH: Final = "/personal/local/_api/v2.0/drive/items/uploadSession"
MONITOR_PATH: Final = "/_api/v2.0/monitor"


class Links:
    """Makes the addresses and checks what comes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self.base_url = ""  # of the content port, set when it is known

    def download(self, guid: str, life_s: float) -> str:
        tempauth = self._sign("download", guid, life_s)
        return f"{self.base_url}{DOWNLOAD_PATH}?UniqueId={guid.lower()}&Translate=false&tempauth={tempauth}"

    def upload(self, session_id: str, life_s: float) -> str:
        return f"{self.base_url}{UPLOAD_PATH}?guid={session_id}&tempauth={self._sign('upload', session_id, life_s)}"

    def session_of(self, url: str) -> str:
        """Return the id of the upload session that an address is of. Raises GraphError 401, Misuse for any other."""
        if not url.startswith(f"{self.base_url}{UPLOAD_PATH}?"):
            raise misuse("@microsoft.graph.sourceUrl is not the uploadUrl of a session.")
        query = parse_qs(urlsplit(url).query)
        session_id, tempauth = query.get("guid", [""])[0], query.get("tempauth", [""])[0]
        self.check("upload", session_id, tempauth)
        return session_id

    def monitor(self, operation_id: str) -> str:
        tempauth = self._sign("monitor", operation_id, 24 * 3600)
        return f"{self.base_url}{MONITOR_PATH}/{operation_id}?tempauth={tempauth}"

    def check(self, use: str, subject: str, tempauth: str) -> None:
        """Raise GraphError 401 unless this was signed here for this use and subject, and is still alive."""
        version, _, rest = tempauth.partition(".")
        payload, _, signature = rest.partition(".")
        if version != "v1" or not hmac.compare_digest(signature.encode(), self._signature(payload).encode()):
            raise unauthenticated("The tempauth of this address is not valid.")
        said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if said["use"] != use or said["subject"].casefold() != subject.casefold():
            raise unauthenticated("The tempauth is for another address.")
        if said["expires"] <= self._clock():
            raise unauthenticated("The tempauth of this address has expired.")

    def _sign(self, use: str, subject: str, life_s: float) -> str:
        claims = json.dumps({"use": use, "subject": subject, "expires": self._clock() + life_s})
        payload = base64.urlsafe_b64encode(claims.encode()).decode().rstrip("=")
        return f"v1.{payload}.{self._signature(payload)}"

    def _signature(self, payload: str) -> str:
        digest = hmac.new(self._key, payload.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
