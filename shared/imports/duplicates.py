"""Whether the content of a package was imported before: decided by a mark that is made before the submit.

A mark names the run that was first, and is only a pointer: what counts is what that run's record says. As long as no
execution of it may have written rows, the mark is free for the next run with the same content. So nothing has to be
given back, and a crash at any moment leaves nothing that is wrong. A run marks while it holds the reservation of its
data project, so no other run with the same content is about to submit.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

from shared.app import Services
from shared.config.model import ALLOW, REFUSE
from shared.errors import FileRejected, RecordChanged, TryAgain
from shared.imports.marks import mark_name
from shared.log import log
from shared.runs.addresses import address_of
from shared.runs.machine import StepFailed
from shared.runs.record import Damaged
from shared.runs.run import Run
from shared.runs.values import FirstImport, UploadedPackage

# How long a mark counts, from the last import of its content on: as long as F&O keeps its job history by default, so
# that this import can be looked up.
# https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/data-import-export-job
KEPT_FOR: Final = timedelta(days=90)
# Tries to make a mark that another run makes at the same moment.
TRIES: Final = 4


def mark(run: Run, package: UploadedPackage, rule: str, services: Services) -> Run:
    """Return a run that is about to be submitted, with the run that imported the same content first, if there is one.

    It was reserved just before. rule: what its flow says. Raises StepFailed with FileRejected if that is to refuse it.
    """
    if rule == ALLOW or not package.sha256:
        return replace(run, first_import=None)
    name = mark_name(run.environment_url, run.company, run.data_project, package.sha256)
    first = _first(name, run, services)
    if first is None:
        return replace(run, first_import=None)
    if run.rerun_of:  # a person has asked for the same rows once more
        _note_again(name, services)
        return replace(run, first_import=None)
    log.warning("package.duplicate", first_run_id=first.run_id, first_file=first.file_name, rule=rule)
    if rule != REFUSE:
        _note_again(name, services)
        return replace(run, first_import=first)
    app_url = services.settings.app_url
    text = (
        f"{run.file.name} was not imported. {first.text} Flow {run.flow_name} refuses the same content (duplicates)."
        + (f" The first run: {app_url}/api/runs/{first.address}" if app_url and first.is_known else "")
    )
    raise StepFailed(replace(run, first_import=replace(first, is_refused=True)), FileRejected(text))


def _first(name: str, run: Run, services: Services) -> FirstImport | None:
    """Return the run that has the mark of a content; None if that is this run, from now on at the latest.

    A damaged mark may be any run's, and stays, so that it is asked about until a person has decided: with Run again.
    """
    now = services.now()
    own = FirstImport(run_id=run.run_id, address=address_of(run), file_name=run.file.name, since=now)
    for _ in range(TRIES):
        if services.marks.create(name, own):
            return None
        first, etag, last = services.marks.read(name)
        if first and first.run_id == run.run_id:
            return None
        if first and now - (last or first.since) < KEPT_FOR and _may_have_written(first, name, services):
            return first
        if not etag:
            continue  # it was deleted just now
        if first is None and not run.rerun_of:
            return replace(own, run_id="", address="", file_name="")
        try:
            services.marks.replace(name, own, etag)
        except RecordChanged:
            continue
        return None
    raise TryAgain(f"The mark of the content of {run.file.name} is being changed by other workers")


def _note_again(name: str, services: Services) -> None:
    """Note that the content of a mark is imported once more, so that it counts from now on."""
    first, etag, _ = services.marks.read(name)
    if first:
        with suppress(RecordChanged):  # somebody has damaged or deleted it
            services.marks.replace(name, first, etag, last=services.now())


def _may_have_written(first: FirstImport, name: str, services: Services) -> bool:
    """Return whether the run that a mark names may have written that content; True if nobody can tell any more.

    F&O may have refused it before the settings were mended, so that it wrote into another company or data project.
    """
    try:
        run = services.store.run_at(first.address)
    except Damaged:
        return True
    return run is None or (run.may_have_written and _is_marked_as(run, name))


def _is_marked_as(run: Run, name: str) -> bool:
    """Return whether a mark is that of the content that a run has sent, or sends; True if its record does not say."""
    if run.package is None or not run.package.sha256:
        return True
    return mark_name(run.environment_url, run.company, run.data_project, run.package.sha256) == name
