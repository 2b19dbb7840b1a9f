"""Entra ID, as far as this app meets it: who may have a token, and the words in which it is refused.

Two doors lead to the same rules. App Service's managed identity endpoint is plain http, as in Azure. The v2.0 endpoints
are for TLS (msal and azure-identity insist on it), with a certificate from `server_certificate`. Tokens themselves are
the business of ``local_cloud/tokens.py``.

What is not there: interactive sign-in and consent, conditional access, federation, the v1 endpoints. Any user name is
a user, and any resource has a service principal unless `Entra` is told which ones do.
"""

from local_cloud.entra.apps import RegisteredApp
from local_cloud.entra.certificate import server_certificate
from local_cloud.entra.tenant import (
    CONSUMERS_TENANT_ID,
    DEFAULT_USER,
    DOMAIN,
    GRAPH,
    SERVICE,
    TENANT_ID,
    Entra,
)

__all__ = [
    "CONSUMERS_TENANT_ID",
    "DEFAULT_USER",
    "DOMAIN",
    "GRAPH",
    "SERVICE",
    "TENANT_ID",
    "Entra",
    "RegisteredApp",
    "server_certificate",
]
