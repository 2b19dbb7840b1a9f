"""What the process's environment says about the way to a server: proxies and trusted certificates."""

import os
import ssl
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
from urllib3 import PoolManager, ProxyManager
from urllib3.util import create_urllib3_context, make_headers

from shared.escapes import decoded


def proxy_for(url: str) -> str:
    """Return the address of the proxy for a call, "" for none: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY."""
    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def ca_bundle() -> str:
    """Return the file or folder of the certificates to trust."""
    # The variables that requests reads, and with it azure-identity, msal and the storage SDK: all of them must trust
    # the same proxy.
    given = [os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]  # in the order of requests
    return given[0] or given[1] or certifi.where()


def open_pools(proxy: str, *, servers: int, connections: int) -> PoolManager:
    """Return pools that keep connections to so many servers, and so many to each, open; proxy: "" for none."""
    context = _trust(ca_bundle())
    if not proxy:
        return PoolManager(servers, maxsize=connections, ssl_context=context)
    sign_in, _, _ = urlsplit(proxy).netloc.rpartition("@")
    headers = make_headers(proxy_basic_auth=decoded(sign_in)) if sign_in else None
    return ProxyManager(
        proxy, servers, proxy_headers=headers, proxy_ssl_context=context, maxsize=connections, ssl_context=context
    )


@cache
def _trust(bundle: str) -> ssl.SSLContext:
    # To read 150 certificates takes 20 ms, so all connections of the process share what was read once.
    context = create_urllib3_context()
    context.load_verify_locations(**{"capath" if Path(bundle).is_dir() else "cafile": bundle})
    return context
