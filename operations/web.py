"""A request and its response, as handlers and pages see them. Knows neither Azure Functions nor what is asked."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What a person or a program asks for."""

    query: Mapping[str, str]
    target: str = ""  # the last part of the path: the address of a run, or a verb
    body: bytes = b""
    user: str = ""  # who has signed in, if App Service authentication is on; shown only, it proves nothing
    has_key_in_header: bool = False
    wants_json: bool = False  # the address is that of JSON, or nothing else is accepted
    etag: str = ""  # of the version that the client has
    received: str = ""  # when, in ISO 8601: an action about all that a page shows leaves out what is newer


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResponse:
    """What is sent back."""

    status: int
    body: str
    mimetype: str
    headers: Mapping[str, str]
