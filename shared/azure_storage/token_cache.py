"""Where a signed-in user's tokens are kept: one blob in the app's own storage, so that all instances share one sign-in.

The blob holds a refresh token. Whoever may read the app's storage account can act as that user; docs/operations.md says
how to keep others out.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobContainer

CONTAINER: Final = "sign-in"
BLOB: Final = "onedrive-token-cache"


class BlobTokenCache:
    """A ``TokenCacheStore`` (clients/entra/signed_in_user.py) in blob storage."""

    def __init__(self, container: "BlobContainer") -> None:
        self._container = container
        self._etag: str | None = None

    def load(self) -> str | None:
        """Return what was saved last, or None if nobody has signed in. Raises TryAgain, NeedsPerson."""
        blob = self._container.read(BLOB)
        self._etag = blob.etag if blob else None
        return blob.content.decode() if blob else None

    def save(self, serialized: str) -> None:
        """Save the cache.

        Raises RecordChanged if somebody else has saved it since it was loaded; TryAgain, NeedsPerson.
        """
        self._etag = self._container.save(BLOB, serialized.encode(), etag=self._etag)
