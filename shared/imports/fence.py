"""The fence of a submit whose answer was lost: its package is emptied, so that a late request can only fail.

If F&O had read the package before, its execution shows itself within the grace time.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared import execution
from shared.app import Services
from shared.clients.blobs.errors import SasExpired
from shared.clients.blobs.write import empty_blob
from shared.clients.fno.client import FinanceOperations
from shared.imports.file import finance_of
from shared.log import log
from shared.runs.run import Run
from shared.runs.states import State
from shared.runs.values import Submission, UploadedPackage
from shared.secret import SecretUrl

# A key to F&O's blob that runs out within this time is not used: F&O reads the package after our call began. And it
# counts as good for as long after its end: the clocks of this host and of F&O's storage may differ.
KEY_MARGIN: Final = timedelta(minutes=5)


def may_still_start(run: Run) -> bool:
    """Return whether F&O may still start the last submission of a cancelled run, with its package."""
    if run.state is not State.CANCELLED or run.cancelled_in is not State.SUBMITTING:
        return False
    return not run.submissions[-1].never_began and run.submissions[-1].fenced is None


def fence_after_cancel(run: Run, services: Services) -> Run:
    """Fence the last submission of a cancelled run, unless F&O has started it by now; or wait until it is fenced."""
    submission = run.submissions[-1]
    if submission.missing_since is None:  # saved before the fence, as in _look_up
        return run.with_submission(replace(submission, missing_since=services.now()))
    fenced = fence(run, submission, services)
    return fenced.waiting(0, services.now()) if fenced.submissions[-1].fenced else fenced


def fence(run: Run, submission: Submission, services: Services) -> Run:
    """Empty the package of a submission; or wait, if only F&O's own key running out can fence it."""
    url: SecretUrl | None = None
    if run.package:
        url, _ = ask_key_again(run.package, finance_of(run, services))
    if url:
        try:
            empty_blob(url)
        except SasExpired:
            url = None
    now = services.now()  # the grace time begins with the fence, however long it took to put it up
    expires = run.package.key_expires if run.package else None
    if url is None and expires and now < expires + KEY_MARGIN:
        log.warning("submission.fenced_by_expiry", expires=expires)
        return run.waiting((expires + KEY_MARGIN - now).total_seconds() + 1, now)
    log.warning("submission.fenced", blob=submission.blob_name)
    fenced = run.with_submission(replace(submission, fenced=now))
    return execution.wait_before_next_submit(fenced, now, now, services) or fenced.waiting(0, now)


def ask_key_again(package: UploadedPackage, fno: FinanceOperations) -> tuple[SecretUrl | None, datetime | None]:
    """Ask F&O for a new key to the uploaded package, and when it runs out; (None, None) if F&O gives none.

    Assumed: asked for the same uniqueFileName, F&O hands out a key to the same blob. If it names another blob the
    caller takes the way that needs no key: upload anew, or wait until F&O's key has run out.
    """
    again = fno.get_azure_write_url(package.blob_name)
    return (again.url, again.url.expires) if again.url.address == package.blob_path else (None, None)
