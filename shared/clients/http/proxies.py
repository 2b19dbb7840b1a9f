"""What the process's environment says about calls to a server: proxies and trusted certificates."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests


class ProxySettings:
    """HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE and the like, as requests understands them.

    Read once for each server: requests itself does so at every call, which costs as much as a fifth of a small call
    to storage.
    """

    def __init__(self) -> None:
        self._known: dict[str, Mapping[str, Any]] = {}

    def of(self, url: str) -> Mapping[str, Any]:
        """Return ``proxies`` and ``verify`` for a call to that address."""
        parts = urlsplit(url)
        server = f"{parts.scheme}://{parts.netloc}/"
        if server not in self._known:
            found = requests.Session().merge_environment_settings(server, {}, None, None, None)
            self._known[server] = {"proxies": found["proxies"], "verify": found["verify"]}
        return self._known[server]
