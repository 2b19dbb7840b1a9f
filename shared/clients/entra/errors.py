"""What Entra ID's refusals mean, whichever library asked."""

import re
from collections.abc import Mapping
from typing import Final

SERVICE: Final = "Entra ID"


# https://learn.microsoft.com/entra/identity-platform/reference-error-codes
_ADVICE: Final[Mapping[str, str]] = {
    "AADSTS7000215": "The client secret is wrong: set it to the secret's value, not its id",
    "AADSTS7000222": "The client secret has expired: create a new one and enter it in the settings",
    "AADSTS700027": "The certificate is not registered with the app, or has expired: upload it to the app registration",
    "AADSTS700016": "The tenant does not know this client id: check both in the settings",
    "AADSTS90002": "There is no such tenant: check the tenant id in the settings",
    "AADSTS900023": "There is no such tenant: check the tenant id in the settings",
    "AADSTS500011": "The tenant does not know the service behind this address: check the F&O address in the settings",
    "AADSTS65001": "Consent is missing: have an administrator grant consent for the app's permissions",
    "AADSTS7000218": "The app registration does not allow public client flows: turn them on under Authentication",
    "AADSTS7000112": "The app registration is disabled: have an administrator enable it",
    "AADSTS53003": "A Conditional Access policy blocks it: have an administrator exempt this app",
}


PASSING_CODES: Final = frozenset(
    {"temporarily_unavailable", "server_error", "AADSTS90033", "AADSTS90024", "AADSTS50196", "AADSTS90055"}
)


def advice_on(text: str) -> str:
    """Return what to do about the error code in a message, "" if nothing is known."""
    return _ADVICE.get(error_code_in(text), "")


def error_code_in(text: str) -> str:
    """Return the AADSTS code in a message, "" if there is none."""
    found = re.search(r"AADSTS\d+", text)
    return found.group() if found else ""


def first_line(text: str) -> str:
    """Return the part for a person; Entra ID appends trace ids and times on lines of their own."""
    return (text.strip().splitlines() or [""])[0].strip().rstrip(".")[:500]


def is_passing(error: BaseException, status: int | None, text: str) -> bool:
    """Return whether the trouble may end by itself: out of reach, overloaded, a proxy's page instead of JSON."""
    if status is not None and status >= 400:
        return status in (408, 429) or status >= 500 or error_code_in(text) in PASSING_CODES
    return any(_is_network_error(one) for one in _chain(error))


def _is_network_error(error: BaseException) -> bool:
    import requests  # here: it takes longer to import than the rest of the app, and a cold host needs it for nothing

    if isinstance(error, requests.RequestException):
        return True
    # By name, so that this module can be imported without the libraries.
    # MsalServiceError: an answer of 500 and above, which msal may also repeat from memory.
    return type(error).__name__ in {
        "DecodeError",
        "JSONDecodeError",
        "MsalServiceError",
        "ServiceRequestError",
        "ServiceResponseError",
    }


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or one.__context__
    return chain
