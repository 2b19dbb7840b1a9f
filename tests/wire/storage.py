"""Azure Storage, which the app talks to through Microsoft's own clients: what it calls, not field by field.

Two accounts: F&O's, with nothing but the SAS that F&O hands out, and the app's own.
"""

import re
from dataclasses import dataclass
from typing import Final

from tests.wire.endpoints import OPAQUE, Endpoint, Proof, Request, Service
from tests.wire.shapes import FILLED, Octets, Scalar

_REST: Final = "https://learn.microsoft.com/rest/api/storageservices"
_SAS: Final = "the SAS in the address, as F&O issued it: sv, sr, sig, st, se and sp=rw (sp=r for exports)"
_BLOBS: Final = "Storage Blob Data Contributor on the app's own account"
_QUEUES: Final = "Storage Queue Data Contributor on the app's own account"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCall:
    """One operation of the REST API and which of the app's folders makes it, as paths below ``shared``."""

    operation: str  # its name in the REST reference; that of shared/clients/blobs/write.py where it names it
    modules: frozenset[str]  # of shared/clients
    calls: frozenset[str]  # the methods of the clients that make it
    method: str
    path: str  # below the account's address
    marks: str  # what in the query or in the headers tells it from others
    when: str
    permission: str
    repeatable: str
    source: str

    @property
    def name(self) -> str:
        """Return what it is counted under: F&O's packages and the app's own records are put with the same operation."""
        return f"{self.operation} ({', '.join(sorted(self.modules))})"

    def is_made_by(self, module: str) -> bool:
        """Return whether a module makes this call; module: its path below ``shared``, without the suffix."""
        return any(f"{module}/".startswith(f"{each}/") for each in self.modules)

    def matches(self, request: Request) -> bool:
        """Return whether a request is this call; the first match counts."""
        if request.method != self.method:
            return False
        query = dict(request.query)
        for mark in self.marks.split():
            name, _, value = mark.partition("=")
            seen = query.get(name, request.headers.get(name))
            if seen is None or (value and seen != value):
                return False
        return True


# The one call of blob storage that is plain HTTP, and so is checked like those of the other services.
GET_BLOB: Final = Endpoint(
    service=Service.STORAGE,
    operation="download",
    method="GET",
    path=OPAQUE,
    proof=Proof.NONE,
    when="To read an exported package, 4 MiB at a time, and the error files of an import.",
    permission=_SAS,
    repeatable="yes",
    source=f"{_REST}/get-blob",
    more_sources=(f"{_REST}/specifying-the-range-header-for-blob-service-operations",),
    optional_headers={
        "range": Scalar("bytes=first-last", lambda value: bool(re.fullmatch(r"bytes=\d+-\d+", str(value)))),
        "if-match": FILLED,
        "x-ms-client-request-id": FILLED,
    },
    answers={200: Octets(), 206: Octets()},
    refusals=frozenset({400, 401, 403, 404, 409, 412, 416, 500, 503}),
)

CALLS: Final = (
    StorageCall(
        operation="Put Block List",
        modules=frozenset({"clients/blobs"}),
        calls=frozenset({"commit_block_list"}),
        method="PUT",
        path="{container}/{blob}?comp=blocklist&{sas}",
        marks="comp=blocklist",
        when="After the last block of a package.",
        permission=_SAS,
        repeatable="yes",
        source=f"{_REST}/put-block-list",
    ),
    StorageCall(
        operation="Put Block",
        modules=frozenset({"clients/blobs"}),
        calls=frozenset({"stage_block"}),
        method="PUT",
        path="{container}/{blob}?comp=block&blockid={id}&{sas}",
        marks="comp=block",
        when="For each 4 MiB of a package of more than 1 MiB.",
        permission=_SAS,
        repeatable="yes",
        source=f"{_REST}/put-block",
    ),
    StorageCall(
        operation="Put Blob",
        modules=frozenset({"clients/blobs"}),
        calls=frozenset({"upload_blob"}),
        method="PUT",
        path="{container}/{blob}?{sas}",
        marks="x-ms-blob-type=BlockBlob",
        when="For a package of up to 1 MiB, and to empty a package's blob after a lost answer.",
        permission=_SAS,
        repeatable="yes",
        source=f"{_REST}/put-blob",
    ),
    StorageCall(
        operation="Create Container",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"create_container"}),
        method="PUT",
        path="{container}?restype=container",
        marks="restype=container",
        when="Once in the life of a new app.",
        permission=_BLOBS,
        repeatable="yes: one that is there is answered with 409",
        source=f"{_REST}/create-container",
    ),
    StorageCall(
        operation="List Blobs",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"list_blobs", "list_blob_names"}),
        method="GET",
        path="{container}?restype=container&comp=list&prefix={prefix}",
        marks="comp=list",
        when="At each wake-up, a few rows of the lane, and the rest of them if the first are set aside; at a look that "
        "finds files, the names of all open runs; every minute, all open runs, reservations and alerts. For a page of "
        "history, all open runs, and ended ones day by day until the page is full.",
        permission=_BLOBS,
        repeatable="yes",
        source=f"{_REST}/list-blobs",
    ),
    StorageCall(
        operation="Lease Blob",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"acquire_lease", "renew", "release"}),
        method="PUT",
        path="{container}/{blob}?comp=lease",
        marks="comp=lease",
        when="While a worker has a lane or alerts are delivered, renewed meanwhile.",
        permission=_BLOBS,
        repeatable="yes: a lease that is held is answered with 409",
        source=f"{_REST}/lease-blob",
    ),
    StorageCall(
        operation="Put Blob",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"upload_blob"}),
        method="PUT",
        path="{container}/{blob}",
        marks="x-ms-blob-type=BlockBlob",
        when="For run records, reservations, marks, alerts and the token cache; only if it is new (If-None-Match: *) "
        "or as it was read (If-Match).",
        permission=_BLOBS,
        repeatable="yes: the condition turns the second one away",
        source=f"{_REST}/put-blob",
    ),
    StorageCall(
        operation="Get Messages",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"receive_messages"}),
        method="GET",
        path="{queue}-poison/messages?numofmessages=32&visibilitytimeout=600",
        marks="numofmessages visibilitytimeout",
        when="Every minute, for poison messages.",
        permission=_QUEUES,
        repeatable="yes: what was taken is seen again ten minutes later",
        source=f"{_REST}/get-messages",
    ),
    StorageCall(
        operation="Get Queue Metadata",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"get_queue_properties"}),
        method="GET",
        path="{queue}?comp=metadata",
        marks="comp=metadata",
        when="When a person or a monitor asks for the app's health, for each queue and its poison queue.",
        permission=_QUEUES,
        repeatable="yes",
        source=f"{_REST}/get-queue-metadata",
    ),
    StorageCall(
        operation="Delete Message",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"delete_message"}),
        method="DELETE",
        path="{queue}-poison/messages/{message}?popreceipt={receipt}",
        marks="popreceipt",
        when="For each of those, once its alert is queued.",
        permission=_QUEUES,
        repeatable="yes: one that is gone is answered with 404",
        source=f"{_REST}/delete-message2",
    ),
    StorageCall(
        operation="Get Blob",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"download_blob"}),
        method="GET",
        path="{container}/{blob}",
        marks="",
        when="To read run records, reservations, marks, alerts and the token cache.",
        permission=_BLOBS,
        repeatable="yes",
        source=f"{_REST}/get-blob",
    ),
    StorageCall(
        operation="Delete Blob",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"delete_blob"}),
        method="DELETE",
        path="{container}/{blob}",
        marks="",
        when="When a run has ended, for its open record, and when its execution has, for its reservation, as they were "
        "read (If-Match); when all was told of an alert.",
        permission=_BLOBS,
        repeatable="yes",
        source=f"{_REST}/delete-blob",
    ),
    StorageCall(
        operation="Create Queue",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"create_queue"}),
        method="PUT",
        path="{queue}",
        marks="",
        when="Once in the life of a new app, per queue.",
        permission=_QUEUES,
        repeatable="yes",
        source=f"{_REST}/create-queue4",
    ),
    StorageCall(
        operation="Put Message",
        modules=frozenset({"azure_storage"}),
        calls=frozenset({"send_message"}),
        method="POST",
        path="{queue}/messages?visibilitytimeout={seconds}",
        marks="visibilitytimeout",
        when="For each wake-up, with the delay until its run is due.",
        permission=_QUEUES,
        repeatable="yes: a wake-up too many ends at once",
        source=f"{_REST}/put-message",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that Azure does otherwise than Azurite, and the test of what we send that holds our side."""

    azure: str
    azurite: str
    ours: str
    source: str
    test: str  # path::name


_TRANSFER: Final = "tests/unit/clients/test_transfer.py"
_OWN: Final = "tests/wire/test_storage_differences.py"

DIFFERENCES: Final = (
    Difference(
        azure="A request with a SAS is handled by the rules of the SAS's own version (sv), whatever x-ms-version says; "
        "F&O has been seen to hand out sv=2014-02-14.",
        azurite="Handles every request by one set of rules.",
        ours="Writes use nothing that storage of 2014 does not know: no header and no query beyond it.",
        source=f"{_REST}/previous-azure-storage-service-versions#requests-authorized-via-shared-access-signature",
        test=f"{_TRANSFER}::test_writes_use_nothing_that_storage_of_2014_does_not_know",
    ),
    Difference(
        azure="Before version 2016-05-31 a block has 4 MiB at most.",
        azurite="Takes larger blocks under any version.",
        ours="Blocks have 4 MiB.",
        source=f"{_REST}/put-block#remarks",
        test=f"{_OWN}::test_no_block_is_larger_than_storage_of_2014_takes",
    ),
    Difference(
        azure="Before version 2016-05-31 a blob is put at once up to 64 MiB.",
        azurite="Takes more under any version.",
        ours="More than 1 MiB goes as blocks.",
        source=f"{_REST}/put-blob#remarks",
        test=f"{_OWN}::test_more_than_a_mebibyte_goes_as_blocks",
    ),
    Difference(
        azure="Refuses an x-ms-version that it does not know; knows all older ones.",
        azurite="Knows versions up to its own release; run with --skipApiVersionCheck, it does not look.",
        ours="Packages are written with the oldest version that the client speaks. The app's own account is asked with "
        "the newest one of the pinned client, which Microsoft releases after it is deployed.",
        source=f"{_REST}/versioning-for-the-azure-storage-services",
        test=f"{_OWN}::test_every_call_names_its_version",
    ),
    Difference(
        azure="A SAS that has run out or has a wrong signature is 403 AuthenticationFailed.",
        azurite="403 AuthorizationFailure.",
        ours="The status decides and not the code: a new address is asked for.",
        source=f"{_REST}/sas-error-codes",
        test=f"{_OWN}::test_a_sas_that_is_not_accepted_is_asked_for_anew_whatever_the_code",
    ),
    Difference(
        azure="A SAS from before 2015-04-05 that lacks a permission is 404, a newer one 403 "
        "AuthorizationPermissionMismatch.",
        azurite="403 under any version.",
        ours="404 says that there is no such place; nothing is taken for written.",
        source=f"{_REST}/sas-error-codes",
        test=f"{_OWN}::test_an_old_sas_without_the_permission_writes_nothing",
    ),
    Difference(
        azure="The blob of a package that F&O reads is fetched by F&O from Azure's own address.",
        azurite="Copies from a URL only in part.",
        ours="No copy from a URL, no append and no page blob is ever asked for.",
        source=f"{_REST}/put-block-from-url",
        test=f"{_OWN}::test_no_call_but_those_of_the_table_is_made",
    ),
    Difference(
        azure="Messages are at most 64 KiB, and a wake-up may be delayed by 7 days at most.",
        azurite="The same, and delays beyond are refused too.",
        ours="Delays end at 6 days; texts are base64.",
        source=f"{_REST}/put-message",
        test=f"{_OWN}::test_no_wake_up_is_delayed_by_more_than_storage_takes",
    ),
)
