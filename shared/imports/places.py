"""In which folder a file of an import lies at each stage. Pure; folders are absolute paths in the flow's drive."""

from shared.config.model import ImportFlow
from shared.runs.run import Run
from shared.runs.states import Outcome


def input_folder(_run: Run, flow: ImportFlow) -> str:
    """Return where the file appears."""
    return flow.input_folder


def processing_folder(_run: Run, flow: ImportFlow) -> str:
    """Return where the file is while F&O works on it."""
    return flow.processing_folder


def filed_folder(run: Run, flow: ImportFlow) -> str:
    """Return where the file goes once its outcome is known."""
    return flow.success_folder if run.outcome is Outcome.SUCCEEDED else flow.error_folder
