"""Access tokens as tests need them: only the claims matter."""

import base64
import json


def a_token(**claims: object) -> str:
    """Return a token that nobody has signed."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{payload}.signature"
