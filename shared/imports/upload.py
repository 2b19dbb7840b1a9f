"""The package of an import on its way into F&O's blob storage: checked, streamed, and the key to it."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from shared.app import Services
from shared.clients.blobs.quick_xor_hash import is_same_content
from shared.clients.blobs.read import open_package
from shared.clients.blobs.write import stream_to_blob
from shared.config.model import Asynchronous, ImportFlow
from shared.errors import DataDamaged, FileRejected
from shared.imports import rules
from shared.imports.companies import require_company
from shared.imports.fence import KEY_MARGIN, ask_key_again
from shared.imports.file import (
    finance_of,
    find_claimed,
    flow_of,
    onedrive_of,
    with_facts_of,
)
from shared.imports.package import check_package
from shared.log import log
from shared.run_settings import settings_text
from shared.runs.machine import StepFailed
from shared.runs.run import Run, new_execution_id
from shared.runs.values import Arguments, AsyncArguments, UploadedPackage
from shared.secret import SecretUrl

# Bytes from which an upload is saved when it is done, so that a crash does not repeat it.
LARGE: Final = 8 * 1024 * 1024


def arguments_of(run: Run, flow: ImportFlow) -> Arguments:
    """Return what F&O is told with the package of a run, as the settings are now."""
    action = flow.action
    asynchronous = (
        AsyncArguments(
            fail_on_error=action.fail_on_error,
            run_async_without_batch=action.run_async_without_batch,
            threshold_to_run_in_batch=action.threshold_to_run_in_batch,
        )
        if isinstance(action, Asynchronous)
        else None
    )
    return Arguments(
        data_project=run.data_project,
        company=run.company,
        overwrite=flow.overwrite,
        execute=flow.execute,
        asynchronous=asynchronous,
    )


def without_package(run: Run) -> Run:
    """Return a run whose package is to be uploaded anew."""
    return replace(run, package=None, in_process=replace(run.in_process, package_url=None))


def has_usable_upload(run: Run) -> bool:
    """Return whether the uploaded package may be sent: it never was with a lost answer, and is not fenced."""
    package = run.package
    return package is not None and all(
        each.never_began and each.fenced is None for each in run.submissions if each.blob_name == package.blob_name
    )


def key_to(run: Run, package: UploadedPackage, services: Services) -> tuple[SecretUrl | None, datetime | None]:
    """Return a key to the uploaded package that is good for long enough; (None, None) if F&O gives none."""
    url, expires = run.in_process.package_url, package.key_expires
    if url is None or (expires and expires - services.now() < KEY_MARGIN):
        return ask_key_again(package, finance_of(run, services))
    return url, expires


def upload(run: Run, services: Services) -> Run:
    """Check the package of a CLAIMED run, and stream it into F&O's blob storage.

    Raises NoRoom if other large packages take the process's memory.
    """
    with services.room.taken(run.file.size_bytes):
        flow = flow_of(run, services)
        # Assumed: the answer to the claiming move tells all that asking for the item does. If it does not, it is asked.
        if run.in_process.download_url is None:
            run, item = find_claimed(run, flow, services)
            if item is None:
                return run
            run = with_facts_of(run, item, flow)
        try:
            return _check_and_stream(run, services)
        except FileRejected as error:
            raise StepFailed(run, error) from error  # with what is known of the file, which may have been replaced


def _check_and_stream(run: Run, services: Services) -> Run:
    flow, file = flow_of(run, services), run.file
    url = run.in_process.download_url or onedrive_of(run, services).content_url(file.item_id)
    if pinned := run.pinned_arguments:
        company, project = pinned.company, pinned.data_project
    else:
        company = rules.company_of(flow, file.name, file.sub_folder)
        require_company(flow, file.name, company, services)
        project = rules.project_of(flow, file.name, company)
    with open_package(url, file.size_bytes, services.downloads, quick_xor_hash=file.quick_xor_hash) as package:
        facts = check_package(package.file)
        data_project = rules.require_project(project, facts.data_project)
        blob_name = f"{new_execution_id(data_project, services.now())}.zip"
        target = finance_of(run, services).get_azure_write_url(blob_name)
        sent = stream_to_blob(package.chunks(), target.url)
    if not is_same_content((sent.size_bytes, sent.quick_xor_hash), (file.size_bytes, file.quick_xor_hash)):
        raise DataDamaged(
            f"{file.name} was changed during the upload: {sent.size_bytes} of {file.size_bytes} bytes, quickXorHash "
            f"{sent.quick_xor_hash} instead of {file.quick_xor_hash}. Nothing was imported; it is uploaded again."
        )

    log.info("package.uploaded", size_bytes=sent.size_bytes, data_project=data_project, company=company)
    return replace(
        run,
        company=company,
        data_project=data_project,
        flow_settings=settings_text(flow),
        entities=tuple(entity.name for entity in facts.entities),
        has_excel=any(entity.is_excel for entity in facts.entities),
        package=UploadedPackage(
            blob_name=blob_name, blob_path=target.url.address, key_expires=target.url.expires, sha256=sent.sha256
        ),
        in_process=replace(run.in_process, download_url=None, package_url=target.url),
    )
