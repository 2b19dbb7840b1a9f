"""In which folder a file of an import lies at each stage. Pure; folders are absolute paths in the flow's drive.

A file that was found in a sub-folder of Input has that sub-folder in every other place too, whatever the settings say
by then.
"""

from datetime import UTC

from shared.config.model import DateFolders, ImportFlow, PartialFiling
from shared.runs.run import Run
from shared.runs.states import Outcome


def input_folder(run: Run, flow: ImportFlow) -> str:
    """Return where the file appears."""
    return within(flow.input_folder, run.file.sub_folder)


def processing_folder(run: Run, flow: ImportFlow) -> str:
    """Return where the file is while F&O works on it."""
    return within(flow.processing_folder, run.file.sub_folder)


def filed_folder(run: Run, flow: ImportFlow) -> str:
    """Return where the file goes once its outcome is known: the same whenever it is asked."""
    return within(_outcome_folder(run, flow), run.file.sub_folder) + _date_folders(run, flow)


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


def within(folder: str, sub_folder: str) -> str:
    """Return a sub-folder of a folder; "" as the sub-folder: the folder itself."""
    return f"{folder}/{sub_folder}" if sub_folder else folder
