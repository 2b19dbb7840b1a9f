"""The certificate that lets clients speak TLS to a server on this machine."""

import ssl
from pathlib import Path

import trustme


def server_certificate(ca_file: Path) -> ssl.SSLContext:
    """Return a TLS context for ``Server`` on 127.0.0.1 and localhost, issued by a new CA.

    ca_file: where the CA's certificate is written, as PEM: clients trust it through REQUESTS_CA_BUNDLE or `verify`.
    The CA's key is not kept.
    """
    authority = trustme.CA(organization_name="local cloud")
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context
