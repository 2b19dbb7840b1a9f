"""Where a signed-in user's tokens are kept: one blob in the app's own storage, so that all instances share one sign-in.

The blob holds a refresh token. Whoever may read the app's storage account can act as that user; docs/operations.md says
how to keep others out.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from shared.azure_storage.transport import storage_error, storage_errors
from shared.errors import AppError, ItemChanged

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

CONTAINER: Final = "sign-in"
BLOB: Final = "onedrive-token-cache"


class BlobTokenCache:
    """A ``TokenCacheStore`` (clients/entra/signed_in_user.py) in blob storage."""

    def __init__(self, blobs: "BlobServiceClient") -> None:
        self._container = blobs.get_container_client(CONTAINER)
        self._etag: str | None = None

    def load(self) -> str | None:
        """Return what was saved last, or None where nobody has signed in. Raises TryAgain, NeedsPerson."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            download = self._container.download_blob(BLOB)
            self._etag = download.properties.etag
            return download.readall().decode()
        except ResourceNotFoundError:
            self._etag = None
            return None
        except storage_errors() as error:
            raise _explained(error, "read sign-in") from error

    def save(self, serialized: str) -> None:
        """Save the cache.

        Raises ItemChanged where it was saved by somebody else since it was loaded; TryAgain, NeedsPerson.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

        blob, content = self._container.get_blob_client(BLOB), serialized.encode()
        try:
            if self._etag is None:
                try:
                    written = blob.upload_blob(content, overwrite=False)
                except ResourceNotFoundError:
                    with suppress(ResourceExistsError):  # another process was quicker
                        self._container.create_container()
                    written = blob.upload_blob(content, overwrite=False)
            else:
                written = blob.upload_blob(
                    content, overwrite=True, etag=self._etag, match_condition=MatchConditions.IfNotModified
                )
        except (ResourceExistsError, ResourceModifiedError) as error:
            raise ItemChanged("Another process has saved the sign-in since it was read") from error
        except storage_errors() as error:
            raise _explained(error, "save sign-in") from error
        self._etag = str(written["etag"])


def _explained(error: Exception, operation: str) -> AppError:
    return storage_error(error, service="blob storage", operation=operation, role="Storage Blob Data Owner")
