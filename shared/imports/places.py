"""In which folder a file of an import lies at each stage. Pure; folders are absolute paths in the flow's drive."""

from datetime import UTC

from shared.config.model import DateFolders, ImportFlow, PartialFiling
from shared.runs.run import Run
from shared.runs.states import Outcome


def input_folder(_run: Run, flow: ImportFlow) -> str:
    """Return where the file appears."""
    return flow.input_folder


def processing_folder(_run: Run, flow: ImportFlow) -> str:
    """Return where the file is while F&O works on it."""
    return flow.processing_folder


def filed_folder(run: Run, flow: ImportFlow) -> str:
    """Return where the file goes once its outcome is known: the same whenever it is asked."""
    return _outcome_folder(run, flow) + _date_folders(run, flow)


def _outcome_folder(run: Run, flow: ImportFlow) -> str:
    if run.outcome is Outcome.SUCCEEDED:
        return flow.success_folder
    if run.outcome is Outcome.PARTIALLY_SUCCEEDED:
        match flow.filing.partially_succeeded:
            case PartialFiling.SUCCESS:
                return flow.success_folder
            case PartialFiling.FOLDER:
                return flow.partial_folder
    return flow.error_folder


def _date_folders(run: Run, flow: ImportFlow) -> str:
    known = (run.outcome_known or run.state_since).astimezone(UTC)
    match flow.filing.date_folders:
        case DateFolders.NONE:
            return ""
        case DateFolders.MONTH:
            return f"/{known:%Y/%m}"
        case DateFolders.DAY:
            return f"/{known:%Y/%m/%d}"
