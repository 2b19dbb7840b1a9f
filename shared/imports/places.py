"""In which folder a file of an import lies at each stage. Pure; folders are absolute paths in the flow's drive.

A file that was found in a sub-folder of Input has that sub-folder in every other place too, whatever the settings say
by then.
"""

from shared.config.model import ImportFlow
from shared.runs.run import Run
from shared.runs.states import Outcome


def input_folder(run: Run, flow: ImportFlow) -> str:
    """Return where the file appears."""
    return within(flow.input_folder, run.file.sub_folder)


def processing_folder(run: Run, flow: ImportFlow) -> str:
    """Return where the file is while F&O works on it."""
    return within(flow.processing_folder, run.file.sub_folder)


def filed_folder(run: Run, flow: ImportFlow) -> str:
    """Return where the file goes once its outcome is known."""
    folder = flow.success_folder if run.outcome is Outcome.SUCCEEDED else flow.error_folder
    return within(folder, run.file.sub_folder)


def within(folder: str, sub_folder: str) -> str:
    """Return a sub-folder of a folder; "" as the sub-folder: the folder itself."""
    return f"{folder}/{sub_folder}" if sub_folder else folder
