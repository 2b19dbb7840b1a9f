"""OneDrive to F&O: the way of one data package from Input to Success or Error.

    FOUND -> CLAIMED -> SUBMITTING -> EXECUTING -> FINISHED -> FILED

Each public function below is what one state makes us do; STEPS at the end is the table. A step makes at most one
irreversible call and neither saves nor sleeps: ``runs/worker.py`` does. The promise that all of it serves: a package is
imported exactly once, whatever breaks. It rests on four things: the move to Processing is the claim, the data project
is reserved and the execution id saved before it is sent, and after a lost answer we look up, fence, and only then send
again.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared import execution
from shared.app import Services
from shared.clients.fno.client import ExecutionStatus, FinanceOperations
from shared.clients.fno.refusals import CompanyUnknown, PackageUnreadable
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.config.model import ImportFlow
from shared.config.values import folded
from shared.errors import (
    AnswerLost,
    AppError,
    FileRejected,
    ItemChanged,
    NeedsPerson,
    NotComplete,
    NotFound,
    TryAgain,
)
from shared.imports import counts, duplicates, off_times, places, report
from shared.imports.contention import examine, late_execution
from shared.imports.fence import fence, fence_after_cancel, may_still_start
from shared.imports.file import (
    belongs_to_another_run,
    facts_of,
    filed_facts_of,
    finance_of,
    find_again,
    find_claimed,
    flow_of,
    has_new_content,
    is_in_processing,
    is_too_young,
    move,
    onedrive_of,
    refuse_malware,
    why_incomplete,
    why_not_in_input,
    with_facts_of,
)
from shared.imports.order import note_end, rest_s, wait_for_earlier
from shared.imports.upload import LARGE, arguments_of, has_usable_upload, key_to, upload, without_package
from shared.log import log
from shared.reservations import reserve
from shared.reservations.reservation import names_of
from shared.run_settings import is_configured, known_import_of, saved_import_of, settings_text, with_settings
from shared.runs.blame import INCOMPLETE_RETRY_S
from shared.runs.machine import StateMachine, Step, StepFailed
from shared.runs.run import Run, new_execution_id
from shared.runs.states import Outcome, State
from shared.runs.values import Arguments, Submission
from shared.runs.worker import advance
from shared.secret import SecretUrl

# How long a file may stay empty before it is refused.
EMPTY_FOR: Final = timedelta(minutes=10)
# For how long the sub-folder of a file is taken to have the name that the listing gave it.
# Assumed: to rename a folder changes the eTag of no file in it.
FOLDER_KEEPS_NAME: Final = timedelta(minutes=1)
# Time between two looks whether a filed file is checked out, as long as none of the drive is.
CHECK_OUT_EVERY: Final = timedelta(hours=1)


def advance_imports(text: str, services: Services) -> None:
    """Do what is due in a lane of imports."""
    advance(text, MACHINE, services)


def claim(run: Run, services: Services) -> Run:
    """FOUND: move the file to Processing, if it is complete and still the one that was listed.

    The move is the claim. It carries the eTag of the listing, so that of two workers one loses, and so does a change.
    """
    if not is_configured(run, services):
        return run.withdrawn(_why_it_stays(run), services.now())
    try:
        return _claim(run, services)
    except FileRejected as error:
        # It is to be filed, also if its flow is removed before that.
        raise StepFailed(with_settings(run, services), error) from error
    except StepFailed as failed:
        if not isinstance(failed.error, FileRejected):
            raise
        raise StepFailed(with_settings(failed.run, services), failed.error) from failed


def _claim(run: Run, services: Services) -> Run:
    flow, onedrive = flow_of(run, services), onedrive_of(run, services)
    run = off_times.put_off(run, flow, services)
    if off_times.is_put_off(run):
        return run
    if waiting := wait_for_earlier(run, flow, services):
        return waiting
    if run.waits:
        return run.waits_no_more(services.now())  # goes on at once
    is_taken = flow.files.match(run.file.name)  # the patterns may have been changed since it was found
    if not is_taken or not run.file.is_complete or _may_have_another_company(run, flow, services):
        run = _check_again(run, onedrive, flow, services)
        if run.state is not State.FOUND or run.due > services.now():
            return run
    try:
        item = move(run, onedrive.move_from, places.processing_folder(run, flow), services, etag=run.file.etag)
    except (ItemChanged, NotFound) as error:
        log.info("file.changed", reason=error.message)
        again = _check_again(run, onedrive, flow, services)
        if again.state is State.FOUND:  # nothing of it has changed, so it is not the file's fault
            raise StepFailed(again, TryAgain(error.message, call=error.call)) from error
        return again
    return _record_claim(run, item, flow, services.now())


def _why_it_stays(run: Run) -> str:
    return f"The settings no longer have an import named '{run.flow_name}', so the file stays where it is."


def _may_have_another_company(run: Run, flow: ImportFlow, services: Services) -> bool:
    """Return whether the file may lie in the sub-folder of another company by now, although its eTag is the same."""
    if not run.file.sub_folder or (run.file.etag and services.now() - run.opened < FOLDER_KEEPS_NAME):
        return False
    services.folders.forget(flow.drive, places.input_folder(run, flow))
    return True


def _check_again(run: Run, onedrive: OneDrive, flow: ImportFlow, services: Services) -> Run:
    """Check the file of a FOUND run again: changed, incomplete, claimed by an earlier try, or gone."""
    now = services.now()
    run, item = find_again(run, onedrive, services)
    in_input, in_processing = places.input_folder(run, flow), places.processing_folder(run, flow)
    is_in_input = item is not None and item.parent_id == services.folders.find(flow.drive, in_input)
    if item and not is_in_input and services.folders.is_at(flow.drive, in_processing, item.parent_id):
        if belongs_to_another_run(run, services):
            return run.withdrawn("Another run is importing the same file.", now)
        return _record_claim(run, item, flow, now)  # our own move, whose answer was lost
    if run.rerun_of:  # it lies where it was filed, and may be no other than the one that the person saw there
        gone = "The file was moved, changed or deleted after a person requested another import of it."
        return run if item and item.etag == run.file.etag else run.withdrawn(gone, now)
    if item is None or not (is_in_input or services.folders.is_at(flow.drive, in_input, item.parent_id)):
        return run.withdrawn(why_not_in_input(run, item, flow, services), now)
    if reason := _why_not_ours(run, item, flow, services):
        return run.withdrawn(reason, now)
    refuse_malware(run, item, in_input)
    is_complete = not item.is_empty and not item.is_pending
    has_changed = item.etag != run.file.etag
    run = replace(run, file=replace(facts_of(run, item, in_input), name=item.name, is_complete=is_complete))
    seen_so_since = now if has_changed else run.opened
    empty_since = run.held.since if run.held else seen_so_since
    if item.is_empty and now - empty_since > EMPTY_FOR:
        minutes = EMPTY_FOR.total_seconds() / 60
        text = f"{item.name} has been empty for {minutes:.0f} minutes. Export it again and copy it to Input again."
        raise StepFailed(run, FileRejected(text))
    if has_changed or not is_complete:
        raise StepFailed(run, NotComplete(why_incomplete(item), retry_after_s=INCOMPLETE_RETRY_S))
    return run


def _why_not_ours(run: Run, item: DriveItem, flow: ImportFlow, services: Services) -> str:
    """Return why a file that has changed in Input is to be found anew by a scan, "" if it is still this run's."""
    is_renamed = item.name != run.file.name
    if is_renamed and services.settings.flows.taker_of(flow, item.name) is not flow:
        return f"The file was renamed to {item.name}, which flow {flow.name} does not take."
    if not flow.files.match(item.name):
        return f"The settings were changed since the file was found: flow {flow.name} no longer takes it."
    if item.etag != run.file.etag and is_too_young(item, flow, services.now()):
        age_s = flow.files.minimum_age_seconds
        return f"The file was changed before its import started. The app imports it once it is {age_s} seconds old."
    return ""


def _record_claim(run: Run, item: DriveItem, flow: ImportFlow, now: datetime) -> Run:
    refuse_malware(run, item, places.processing_folder(run, flow))
    log.info("file.claimed", size_bytes=item.size_bytes)
    claimed = replace(run.moved_to(State.CLAIMED, now), flow_settings=settings_text(flow))
    return with_facts_of(claimed, item, flow)


def prepare(run: Run, services: Services) -> Run:
    """CLAIMED: upload the package to F&O, reserve its data project and what its flow says, choose the execution id.

    An upload that is still good is used again. The id is saved before it is sent, and with it what F&O is told. Whether
    the content was imported before is decided under the reservation.
    """
    flow = flow_of(run, services)
    run = off_times.put_off(run, flow, services)
    if off_times.is_put_off(run):
        return run
    if not has_usable_upload(run) or _are_rules_mended(run, services):
        run = upload(run, services)
        if run.state is not State.CLAIMED:
            return run
        if run.file.size_bytes > LARGE:
            return run  # saved, and gone on with at once
    package, now = run.package, services.now()
    if package is None:
        raise TryAgain(f"The package of {run.file.name} is not uploaded")
    execution_id = package.blob_name.removesuffix(".zip")
    if any(each.execution_id == execution_id for each in run.submissions):
        execution_id = new_execution_id(run.data_project, now)  # an id is sent once, even if F&O refused it
    try:
        names = names_of(run, with_entities=flow.reserve.entities, with_excel=flow.reserve.excel)
        run = reserve.reserve(run, flow.environment_url, execution_id, services, names=names)
        if run.in_process.package_url is None:  # uploaded by an earlier try, perhaps days ago
            run = _with_file_checked(run, flow, services)
            if run.state is not State.CLAIMED or run.package is None:
                return run
        rule = (run.duplicates if run.may_have_begun else "") or flow.duplicates
        run = duplicates.mark(run, package, rule, services)
        url, expires = key_to(run, package, services)
    except AppError as error:
        raise StepFailed(run, error) from error  # with what it has reserved, which is then given back
    if url is None:
        log.info("package.key_lost", blob=package.blob_name)
        return without_package(run)  # uploaded anew at once
    chosen = Submission(execution_id=execution_id, chosen=services.now(), blob_name=package.blob_name)
    run = replace(run, arguments=run.pinned_arguments or arguments_of(run, flow))
    submitting = run.waits_no_more(services.now()).submitting(chosen, services.now())
    in_process = replace(submitting.in_process, package_url=url)
    return replace(
        submitting,
        package=replace(package, key_expires=expires),
        duplicates=rule,
        in_process=in_process,
    )


def _with_file_checked(run: Run, flow: ImportFlow, services: Services) -> Run:
    """Return a run whose package was uploaded before, if its file is still there; without that if it was replaced."""
    run, item = find_claimed(run, flow, services)
    return without_package(run) if item and has_new_content(run, item) else run


def _are_rules_mended(run: Run, services: Services) -> bool:
    """Return whether company and data project are looked up by other rules now than when the package was uploaded."""
    if run.pinned_arguments or not run.flow_settings:
        return False
    then, now = saved_import_of(run), flow_of(run, services)
    if then is None:  # another version has written it
        return True
    return (then.company, then.companies, then.data_project) != (now.company, now.companies, now.data_project)


def submit(run: Run, services: Services) -> Run:
    """SUBMITTING: tell F&O to import, once. If anyone may have told it already, look instead.

    The worker holds the import lock of the environment: in parallel F&O fails these calls.
    """
    package_url = run.in_process.package_url
    if not run.in_process.has_chosen_id or package_url is None:
        return _look_up(run, services)
    arguments = run.arguments or arguments_of(run, flow_of(run, services))
    try:
        answered = _send(run, arguments, package_url, finance_of(run, services))
    except AnswerLost:
        raise
    except PackageUnreadable as error:
        raise execution.record_refusal(without_package(run), error, State.CLAIMED, services.now()) from error
    except CompanyUnknown as error:
        raise execution.record_refusal(
            run, _blame_settings(error, run, services), State.CLAIMED, services.now()
        ) from error
    except AppError as error:
        raise execution.record_refusal(run, error, State.CLAIMED, services.now()) from error
    log.info("import.submitted", data_project=run.data_project, company=run.company)
    return execution.record_accepted(run, answered, services)


def _send(run: Run, arguments: Arguments, package_url: SecretUrl, fno: FinanceOperations) -> str:
    """Call the action by which F&O imports a package; return the execution id that F&O answers with."""
    if more := arguments.asynchronous:
        return fno.import_from_package_async(
            package_url=package_url,
            data_project=arguments.data_project,
            execution_id=run.execution_id,
            legal_entity=arguments.company,
            overwrite=arguments.overwrite,
            execute=arguments.execute,
            fail_on_error=more.fail_on_error,
            run_async_without_batch=more.run_async_without_batch,
            threshold_to_run_in_batch=more.threshold_to_run_in_batch,
        )
    return fno.import_from_package(
        package_url=package_url,
        data_project=arguments.data_project,
        execution_id=run.execution_id,
        legal_entity=arguments.company,
        overwrite=arguments.overwrite,
        execute=arguments.execute,
    )


def _blame_settings(error: CompanyUnknown, run: Run, services: Services) -> AppError:
    """Return the error for a company that F&O does not have: no file can cure it if the settings give the company."""
    company = flow_of(run, services).only_company
    if not company:
        return error
    return NeedsPerson(
        f"{error.message}. The settings of flow {run.flow_name} name the company {company}", call=error.call
    )


def _look_up(run: Run, services: Services) -> Run:
    """SUBMITTING, and it is not known whether F&O has started: ask; else fence, wait, ask again, upload anew.

    The fence: the uploaded package is overwritten with nothing. From then on a request that is still on its way can
    only fail; if F&O had read the package before, its execution shows itself within the grace time.
    """
    now, run = services.now(), execution.with_reserved(run, flow_of(run, services).environment_url)
    if known := execution.known_submission(run, finance_of(run, services)):
        return execution.record_found(run, known, now)
    submission = run.submissions[-1]
    if submission.missing_since is None:
        # Saved before the fence: a worker that is still about to send this id has then lost the run, and what F&O says
        # to it about an empty package is not taken for an answer about the file.
        return run.with_submission(replace(submission, missing_since=now))
    if submission.fenced is None:
        return fence(run, submission, services)
    if waiting := execution.wait_before_next_submit(run, submission.fenced, now, services):
        return waiting
    log.warning("submission.lost", fenced=submission.fenced)
    return replace(execution.record_lost_submit(run, State.CLAIMED, services), package=None)


def poll(run: Run, services: Services) -> Run:
    """EXECUTING: ask F&O once how far it is."""
    run = execution.with_reserved(run, flow_of(run, services).environment_url)
    fno = finance_of(run, services)
    polled = execution.poll(run, fno, services)
    run = polled.of(run)
    if polled.is_forgotten:
        return run.finished(Outcome.UNKNOWN, execution.forgotten_message(run), services.now())
    if not polled.status.is_final:
        return execution.put_off_poll(run, polled, stuck_after(run, services), services)
    if polled.status is ExecutionStatus.FAILED:
        failure = examine(run, fno, services)
        run = failure.run
        if failure.is_open:
            return run
        if failure.why_again:
            log.warning("import.contention", execution_id=run.execution_id, reason=failure.why_again)
            again = replace(run.moved_to(State.CLAIMED, services.now()), package=None, resubmits=run.resubmits + 1)
            text = f"Execution {run.execution_id} {failure.why_again}; nothing was changed"
            raise StepFailed(again, TryAgain(text, retry_after_s=failure.wait_s))
    run, reason = replace(run, warning=late_execution(run, fno)), _why_ended(run, polled.status)
    if reason and run.warning:
        run, reason = replace(run, warning=""), f"{reason} {run.warning}"
    return run.finished(Outcome(polled.status.value), reason, services.now())


def _why_ended(run: Run, status: ExecutionStatus) -> str:
    """Return the reason of a run whose execution has ended with that status."""
    if status is ExecutionStatus.SUCCEEDED:
        return ""
    reason = f"The execution ended in F&O with status {status.value}."
    if status is not ExecutionStatus.FAILED or run.submissions[-1].fenced is None:
        return reason
    emptied = "F&O's response to the submit was lost, so the app emptied the package that it had uploaded."
    if run.was_unread:
        return f"{reason} {emptied} F&O read it only after that, as {run.resubmits} times before. It changed nothing."
    return f"{reason} {emptied} F&O may have read it before or after that: check in F&O whether rows were imported."


def file_away(run: Run, services: Services) -> Run:
    """FINISHED, CANCELLED: move the file to Success or Error; beside a failed one put a report that helps a person.

    A run that a person cancelled while F&O may have been told is fenced first.
    """
    if may_still_start(run):
        return fence_after_cancel(run, services)
    if run.cancelled_in is State.FOUND and not is_configured(run, services) and not _is_watched(run, services):
        reason = f"{run.reason} {_why_it_stays(run)}".strip()
        return replace(run.moved_to(State.FILED, services.now()), reason=reason)
    flow, onedrive = flow_of(run, services), onedrive_of(run, services)
    if counts.are_missing(run):
        run = counts.ask(run, flow, finance_of(run, services), services)
        if counts.are_missing(run):
            return run  # asked again in a moment
    succeeded = run.outcome is Outcome.SUCCEEDED
    folder = run.filed_folder or places.filed_folder(run, flow)
    if _is_untouched(run, folder):
        # If it was moved or changed since, this fails, and the next try looks where it is.
        item = move(run, onedrive.move, folder, services, etag=run.file.etag)
    else:
        run, found = find_again(run, onedrive, services)
        if found is None:
            gone = f"{run.reason} The file itself was deleted before it could be filed away.".strip()
            return replace(run.moved_to(State.FILED, services.now()), reason=gone)
        is_replaced = has_new_content(run, found)
        if run.state is State.CANCELLED and is_replaced and not _stays_in_processing(found, run, flow, services):
            changed = f"{run.reason} Its content has changed since then, so the app treats it as a new file.".strip()
            return replace(run.moved_to(State.FILED, services.now()), reason=changed)
        is_there = found.parent_id == services.folders.find(flow.drive, folder)
        item = found if is_there else move(run, onedrive.move, folder, services, etag=found.etag)
        run = _with_word_of_replaced(run, flow) if is_replaced else run
    folder_id = services.folders.find(flow.drive, folder)  # now: the move may have looked it up anew
    # What is put beside it goes there too, whatever the settings say by then.
    run = replace(run, file=filed_facts_of(run, item, folder), filed_folder=folder)
    try:
        if not succeeded:
            run = report.put_beside(run, onedrive, folder, folder_id, finance_of(run, services), services)
            if run.due > services.now():
                return run  # F&O is still making its error files
        if flow.result_file:
            run = report.put_result_beside(run, onedrive, folder, folder_id, services)
        _check_in(run, item, onedrive, services)
    except AppError as error:
        raise StepFailed(run, error) from error  # with what is known of the report
    return run.moved_to(State.FILED, services.now())


def _stays_in_processing(item: DriveItem, run: Run, flow: ImportFlow, services: Services) -> bool:
    """Return whether the file of a cancelled run is where nobody would find it as a new one."""
    is_in_input = services.folders.is_at(flow.drive, places.input_folder(run, flow), item.parent_id)
    return not is_in_input and is_in_processing(item, run, flow, services)


def _with_word_of_replaced(run: Run, flow: ImportFlow) -> Run:
    """Return a run whose page and alert tell that its file holds something else than what was imported."""
    text = (
        f"{run.file.name} was replaced before it was filed, and the new content was not imported. Copy the file into "
        f"{places.input_folder(run, flow)} to import it."
    )
    if run.outcome is Outcome.SUCCEEDED:
        return replace(run, warning=f"{run.warning} {text}".strip())
    return replace(run, reason=f"{run.reason} {text}".strip())


def _is_watched(run: Run, services: Services) -> bool:
    """Return whether an import of the settings would find the file of a cancelled run where it lies, and import it."""
    inputs = (places.input_folder(run, flow) for flow in services.settings.flows.imports)
    return folded(run.file.folder) in map(folded, inputs)


def _is_untouched(run: Run, folder: str) -> bool:
    """Return whether no try to move the file to that folder is recorded, so that it is expected where it was."""
    is_untried = run.state is State.FINISHED and run.attempts == 0 and run.file.folder != folder
    return is_untried and run.file.etag != ""


def _check_in(run: Run, item: DriveItem, onedrive: OneDrive, services: Services) -> None:
    """Check a filed file in, if it is checked out to the app: nobody else would see it.

    Assumed: a move checks nothing out, also in a library that requires check-out. So as long as no filed file of a
    drive is found to be checked out, only one in an hour is looked at: each look is a call.
    """
    drive, now = flow_of(run, services).drive, services.now()
    seen = services.seen_checked_in.get(drive)
    if seen and now - seen < CHECK_OUT_EVERY:
        return
    if not report.check_in(run, item, onedrive):
        services.seen_checked_in[drive] = now


def import_lock(run: Run, services: Services) -> AbstractContextManager[None]:
    """Return what keeps other imports of the environment from calling ImportFromPackage."""
    return services.import_lock(flow_of(run, services).environment_url)


def keeps_order(run: Run, services: Services) -> bool:
    """Return whether no file of the run's flow may pass it."""
    flow = known_import_of(run, services)
    return flow is not None and flow.strict_order


def stuck_after(run: Run, services: Services) -> timedelta:
    """Return after which time a person is told that an import does not go on."""
    flow = known_import_of(run, services)
    limit = services.settings.import_stuck_after
    return flow.stuck_after(limit) if flow else limit


STEPS: Final[Mapping[State, Step]] = {
    State.FOUND: claim,
    State.CLAIMED: prepare,
    State.SUBMITTING: submit,
    State.EXECUTING: poll,
    State.FINISHED: file_away,
    State.CANCELLED: file_away,
}
MACHINE: Final = StateMachine(
    steps=STEPS,
    stuck_after=stuck_after,
    lock=import_lock,
    keeps_order=keeps_order,
    rest_s=rest_s,
    note_end=note_end,
)
