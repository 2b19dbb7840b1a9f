"""What to do about what F&O says: one table for refusals of a submit, errors of an execution, and errors of its rows.

The client of F&O (``clients/fno/refusals.py``) asks it whose a refusal is; the report beside a file, the run's page and
alerts ask it what a person is to do (``what_to_do``). F&O speaks the language of the user that the app is mapped to,
and the words here are English; codes are the same in all languages. What is not known gets no advice, so that none is
wrong. Above 400 lines, because the table is one piece: each row has to be weighed against the others.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.runs.run import Run
from shared.runs.states import Direction, Outcome

_QUOTED: Final = re.compile(r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)")

# Pieces of advice that a person is given about one run.
SHOWN: Final = 3


class Cause(StrEnum):
    """What must change before the same can succeed."""

    FLOW = "flow"  # the flow's settings or its data project: every package meets it
    COMPANY = "company"  # the file's name, or the flow's settings
    FILE = "file"  # only another file can succeed
    UNSURE = "unsure"  # the file, or how F&O is set up
    TIME = "time"  # something was in use or out of reach


class Said(StrEnum):
    """Where F&O says it."""

    SUBMIT = "submit"  # in its answer to ImportFromPackage
    IMPORT = "import"  # among the errors of an import's execution
    EXPORT = "export"  # among the errors of an export's execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What F&O is known to say, and what to do about it."""

    words: re.Pattern[str]
    cause: Cause
    to_do: str  # sentences, without the last one's full stop
    said: frozenset[Said]


_OF_FILES: Final = frozenset({Said.SUBMIT, Said.IMPORT})
_IN_ANY: Final = frozenset(Said)
# Words that an execution also says of a row or of a file that a row names, and then they mean something else.
_AT_SUBMIT: Final = frozenset({Said.SUBMIT})
_OF_EXPORTS: Final = frozenset({Said.EXPORT})


def _advice(cause: Cause, words: str, to_do: str, said: frozenset[Said] = _OF_FILES) -> Advice:
    return Advice(words=re.compile(words, re.IGNORECASE), cause=cause, to_do=to_do, said=said)


def _code(*codes: str) -> str:
    return rf"\b(?:{'|'.join(codes)})\b"


def _short_code(code: str) -> str:
    # A row may hold the same as a value ("Customer FF004"), so the code must stand where codes stand.
    return rf"(?:^|[\[(]|\b(?:error|code)[\s:]+){code}\b"


# The codes that F&O gives for contention, and for a database or service of its own that is out of reach for a moment.
# DMF2025 has two causes: concurrent imports of a project, and a column that the file lacks.
_CONTENTION_CODES: Final = "023|042|1968|1995|1996|1997|2008|2025|2028|2036|2037|2039|2043|2045|2048"

# Parallel work on one data project, as the Data management tables report it.
# Observed: https://azureintegrations.com/2020/03/28/d365uo-recurring-integration-to-avoid-dmf-parallel-execution-issue/
_IN_CONTENTION: Final = (
    r"deadlock|record has never been selected|update conflict"
    r"|cannot (?:create|edit|delete) a record in [^\n]{0,80}(?:\bDMF\w{3,}|processing group)"
)
_EXCEL_IN_USE: Final = r"BOX API can(?:no|')t be used|Excel (?:file )?lock\b"
_OUT_OF_REACH: Final = (
    r"\bAcquireConnections?(?:Error|Failed)|\bdata (?:management|import and export) service [^.\n]{0,20}unreachable"
)
_CONTENTION: Final = re.compile(rf"(?i){_IN_CONTENTION}|{_EXCEL_IN_USE}|{_OUT_OF_REACH}|\bDMF(?:{_CONTENTION_CODES})\b")

_CREATE_PROJECT: Final = (
    "Create the data project once in F&O (Data management > Import), with the composite entity, and set overwrite to "
    "false (IMPORT_OVERWRITE, or overwrite of the flow)"
)
_LOG_SAYS_MORE: Final = "F&O gives no reason here; see the execution log"

# The first one that fits is given, so what is special stands before what is general.
# Codes and causes: https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/dm-error-descriptions
# A code is the file's if all its causes that this page names lie in the file.
_TABLE: Final = (
    # -- every package of the flow meets these
    # https://github.com/MicrosoftDocs/dynamics-365-unified-operations-public/issues/1335
    _advice(Cause.FLOW, r"data project must exist before importing", _CREATE_PROJECT),
    # A composite entity that is imported with overwrite.
    # https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/57
    _advice(Cause.FLOW, r"A DataTable named .{0,200} already belongs to this DataSet", _CREATE_PROJECT),
    # https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/54
    _advice(
        Cause.FLOW,
        r"exists and overwrite has not been specified",
        "Let the import overwrite the data project (its definition, not its data), or give the flow another data "
        "project",
    ),
    # -- the company
    # Observed: an import for a company that does not exist is refused. Assumed: the words.
    # https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/100
    _advice(
        Cause.COMPANY,
        r"\b(?:company|legal ?entity(?:id)?|data ?area(?:id)?)\b[^,;\n]{0,60}"
        r"(?:not (?:exist|(?:be )?found|valid)|invalid|unknown)"
        r"|\b(?:invalid|unknown|wrong) (?:company|legal ?entity)\b",
        "The company is the first part of the file name unless the settings name one. Check it, and check that the "
        "app's user in F&O has access to it",
        _AT_SUBMIT,
    ),
    # -- the file
    # "Could not find file 'C:\...\PackageHeader.xml'", and the elements by name, as .NET's serializer says them.
    # https://github.com/microsoft/Dynamics-AX-Integration/issues/37
    # https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/47
    _advice(
        Cause.FILE,
        r"\bPackageHeader\b|\bManifest\.xml\b|\bDataManagementPackage|zip contains folder",
        "A data package is a zip with PackageHeader.xml, Manifest.xml and the data files themselves, without a folder "
        "around them",
        _AT_SUBMIT,
    ),
    _advice(
        Cause.FILE,
        r"could not find file",
        "F&O does not find that file in the package: its name in the zip and in the manifest must be the same, letter "
        "by letter, accents and their encoding included",
        _AT_SUBMIT,
    ),
    # .NET's words for a zip that is cut off or packed in a way that it does not know.
    # https://github.com/dotnet/runtime/blob/main/src/libraries/System.IO.Compression/src/Resources/Strings.resx
    _advice(
        Cause.FILE,
        r"End of Central Directory|local file header is corrupt|unsupported compression method",
        "Zip the package again with the method Deflate or Store",
        _AT_SUBMIT,
    ),
    # Observed by the author of dmf_package_import.py.
    _advice(
        Cause.FILE,
        r"does not exist in the target environment",
        "Check the entity's name; if it is right, refresh the entity list in F&O "
        "(Data management > Framework parameters > Entity settings)",
    ),
    # Observed by the author of dmf_package_import.py, in refusals and among the errors of executions.
    _advice(
        Cause.FILE,
        r"\bnot unicode\b",
        "The manifest's SourceFormat is a Unicode format, and the data file is not: CSV-Unicode means UTF-16 (little "
        "endian) with a byte order mark and CR LF. Save the data file that way, or name its actual format",
    ),
    # The manifest's SourceFormat wins over the data project's.
    # https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/92
    _advice(
        Cause.FILE,
        r"\bfile is unicode\b",
        "The data file is UTF-16, and the manifest's SourceFormat is not: name CSV-Unicode there (the "
        "manifest counts, not the data project), or save the file in the format's own encoding",
    ),
    # Observed by the author of dmf_package_import.py; codes and the second words are those of Microsoft's page.
    _advice(
        Cause.FILE,
        rf"mapping is incorrect|field(?:s|\(s\))?,? which are not mapped to entity|{_code('DMF2022')}",
        "The columns of the data file and the mapping in the manifest must be the same. Check the columns of the data "
        "file, the names in its first line, and that its lines end with CR LF",
    ),
    # "XML is not in correct format-Exception from HRESULT: 0xC0010009" is also said of columns that are missing.
    # Observed: and of a package that is imported twice at a time.
    # https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/33
    _advice(
        Cause.FILE,
        rf"xml is not in correct format|\b0xC0010009\b|{_code('DMF1830')}",
        "The data file is empty or not XML, or lacks a mapped element; a composite entity needs an element for "
        "each of its entities. Or the package was imported twice at the same time; if the file is complete, copy it "
        "to Input again",
    ),
    _advice(
        Cause.FILE,
        _code("DMF1855"),
        "The data file's type does not match the manifest's SourceFormat: change one of the two",
    ),
    _advice(
        Cause.FILE,
        rf"{_code('DMF1963')}|{_short_code('MAP011')}",
        "A composite entity takes one XML file with an element for each of its entities, even if the element is empty",
    ),
    _advice(
        Cause.FILE,
        _code("DMF1959", "DMF2057"),
        "The data file holds a key more than once: remove the duplicates and copy the file to Input again",
    ),
    _advice(
        Cause.FILE,
        _short_code("FF004"),
        "Correct the data file: its first line must contain the column names, with no blank line before it",
    ),
    _advice(
        Cause.FILE,
        _code("DMF2050"),
        "Correct the data file: each row needs one value per column, blank lines are not allowed, and the last line "
        "must end with a line break",
    ),
    _advice(
        Cause.FILE,
        _code("DMF2018"),
        "Correct the data file: a value does not fit its column (too long, of another type), or a row has too many or "
        "too few values. The execution log names the column",
    ),
    _advice(Cause.FILE, _code("DMF2053"), "The data file has no rows: it needs at least one below the header line"),
    _advice(Cause.FILE, _code("DMF2016"), "Correct the data file: one of its dates or times is not valid"),
    _advice(
        Cause.FILE,
        _code("DMF2055"),
        "Remove the control characters (all but tabs) from the data file, or use a format other than XML",
    ),
    # -- the file, or how F&O is set up
    _advice(
        Cause.UNSURE,
        _code("DMF1966", "DMF2060"),
        "The data file and the mapping share no column, or a mapped column is missing. Make both the same; if they "
        "are, check in F&O whether two entities have the same label, and refresh the entity list",
    ),
    _advice(
        Cause.UNSURE,
        _code("DMF1961"),
        "The entities of the composite entity do not match: check the data of the fields that relate them, and "
        "the relations of an entity of your own",
    ),
    _advice(
        Cause.UNSURE,
        _code("DMF1999"),
        "The delimiter of the data file is not that of its source data format in F&O. Do not change F&O's built-in "
        "formats; create your own for another delimiter (Data management > Configure data source)",
    ),
    _advice(
        Cause.UNSURE,
        _code("DMF040"),
        "F&O could not read the worksheet: check that the workbook has the sheet that the manifest's ExcelSheetName "
        "names, with the column names in its first line. The error may be temporary; if it continues, use a "
        "format other than Excel",
    ),
    _advice(Cause.UNSURE, _code("DMF043", "DMF045", "DMF1969", "DMF2017", "DMF2052"), _LOG_SAYS_MORE, _IN_ANY),
    # -- exports
    _advice(
        Cause.FLOW,
        _code("DMF1957"),
        "The data contains characters that the format does not support: give the entity a format whose name ends with "
        "Unicode, or "
        "XML, in the data project",
        _OF_EXPORTS,
    ),
    _advice(
        Cause.FLOW,
        _code("DMF2009", "DMF2042"),
        "The export has more columns or rows than an Excel file can hold: give the entity another format or a filter "
        "in the data "
        "project",
        _OF_EXPORTS,
    ),
    _advice(Cause.FLOW, _code("DMF1965"), "The export takes too long in F&O: add a filter to the entity", _OF_EXPORTS),
    # -- time
    _advice(
        Cause.TIME,
        _code("DMF2025"),
        "A column that is mapped is missing in the data file, or the data project was in use twice at the same time: "
        "import into it from one place only, or set Enhanced parallel package import in F&O's framework parameters",
    ),
    _advice(
        Cause.TIME,
        rf"{_EXCEL_IN_USE}|{_code('DMF2039')}",
        "F&O imports or exports one Excel file at a time. Run them one after the other (for imports of this app: set "
        "reserve.excel of their flows), or use another format",
        _IN_ANY,
    ),
    _advice(
        Cause.TIME,
        rf"{_IN_CONTENTION}|{_code('DMF1996', 'DMF2036')}",
        "Something else worked on the same data project, entity or records at that time. Run the two one after the "
        "other (for imports of one entity by this app: set reserve.entities of their flows)",
        _IN_ANY,
    ),
    _advice(
        Cause.TIME,
        rf"{_OUT_OF_REACH}|{_code('DMF023', 'DMF042', 'DMF1968', 'DMF1995', 'DMF1997', 'DMF2008', 'DMF2028')}"
        rf"|{_code('DMF2037', 'DMF2043', 'DMF2045', 'DMF2048')}",
        "A database or service of F&O was temporarily unavailable. If this continues, contact Microsoft support",
        _IN_ANY,
    ),
)


def advice_on(text: str, said: Said) -> Advice | None:
    """Return what is known about something that F&O says; None if nothing is."""
    return next((each for each in _TABLE if said in each.said and each.words.search(text)), None)


def is_contention(text: str) -> bool:
    """Return whether F&O's words mean that something was in use or out of reach for the moment, whatever the package.

    text: the reason of a refusal, or the errors of an execution that has ended. One code has another cause as well (see
    ``_CONTENTION_CODES``), so whoever imports again because of such words does so a limited number of times.
    """
    return _CONTENTION.search(text) is not None


_NOT_REPORTED: Final = (
    "F&O reported no row errors; it usually failed before staging, so no row was processed. The usual causes: the data "
    "file's kind, encoding, delimiter or worksheet does not match the manifest's SourceFormat and ExcelSheetName; its "
    "columns or elements differ from the mapping; a composite entity was imported with overwrite, or before its data "
    "project existed; a service of F&O was unavailable."
)
_OF_EXPORT: Final = "The next export starts on schedule. To start one now, press Export now below the list of runs."
_OTHERS: Final[Mapping[Outcome, str]] = {
    Outcome.CANCELED_IN_FO: "It was canceled in F&O. To import it anyway, copy the file to Input again.",
    Outcome.UNKNOWN: "Check in F&O whether the rows exist before you copy the file to Input again.",
    Outcome.REJECTED: "Nothing was imported. Correct the file as described above and copy it to Input again.",
    Outcome.CANCELLED_BY_PERSON: (
        "To import it anyway, press Run again on the run's page, or copy the file to Input again."
    ),
}


def what_to_do(run: Run) -> str:
    """Return what a person is to do about a run that has ended, or whose file is being filed; "" if nothing.

    It goes by the row errors that the run's record keeps, so that report, page and alerts say the same.
    """
    if run.direction is Direction.EXPORT:
        return _about_export(run)
    match run.outcome:
        case Outcome.FAILED:
            return " ".join(_about_failed(run))
        case Outcome.PARTIALLY_SUCCEEDED:
            return " ".join(_about_partly(run))
        case None | Outcome.SUCCEEDED | Outcome.WITHDRAWN:
            return ""
        case Outcome.REJECTED if run.first_import and run.first_import.is_refused and not run.first_import.is_known:
            return (
                "Nothing was imported. Look in F&O for its rows. If they are not there, press Run again on the run's "
                "page."
            )
        case Outcome.REJECTED if run.first_import and run.first_import.is_refused:
            return "Nothing was imported. If its rows are to be imported once more, press Run again on the run's page."
        case outcome:
            return _OTHERS[outcome]


def _about_failed(run: Run) -> Iterator[str]:
    if not run.failed_rows_total:
        yield _NOT_REPORTED if run.are_rows_told else "The app does not have the row errors."
        yield _where_the_log_is(run)
        yield "Correct what the log reports, and copy the file to Input again; if the file is correct, press Run again."
        return
    if run.was_unread and run.submissions[-1].fenced:
        yield "The file is not to blame: press Run again on the run's page."
        return
    known = _known(run, Said.SUBMIT if run.was_unread else Said.IMPORT)
    yield from (f"{each.to_do}." for each in known)
    if not known:
        yield "Correct the rows listed above, or what F&O reports about them, and copy the file to Input again."
    elif {each.cause for each in known} <= {Cause.FLOW, Cause.TIME}:
        yield "Then press Run again on the run's page, or copy the file to Input again."
    else:
        yield "Then copy the file to Input again."


def _about_partly(run: Run) -> Iterator[str]:
    if not run.failed_rows_total:
        yield "Some rows are in F&O and some are not."
        yield "F&O reported no row errors." if run.are_rows_told else "The app does not have the row errors."
        yield _where_the_log_is(run)
        yield "Import a package that contains only the missing rows:"
    else:
        yield from (f"{each.to_do}." for each in _known(run, Said.IMPORT))
        yield "The rows without an error are in F&O. Correct the others and import a package that holds only those:"
    yield "copying this file to Input again imports every row once more."


def _about_export(run: Run) -> str:
    if run.outcome not in (Outcome.FAILED, Outcome.PARTIALLY_SUCCEEDED, Outcome.CANCELED_IN_FO):
        return ""
    said = [f"{each.to_do}." for each in _known(run, Said.EXPORT)]
    if run.are_rows_told and not run.failed_rows_total:
        said.append(_where_the_log_is(run))
    return " ".join((*said, _OF_EXPORT) if run.outcome is not Outcome.PARTIALLY_SUCCEEDED else said)


def _known(run: Run, said: Said) -> list[Advice]:
    """Return the advice on a run's row errors, each piece once, in the order of the rows."""
    found: dict[str, Advice] = {}
    for row in run.failed_rows:
        # What stands in quotes is mostly a value of the row, and may say anything.
        if advice := advice_on(_QUOTED.sub("''", row.message), said):
            found.setdefault(advice.to_do, advice)
    return list(found.values())[:SHOWN]


def _where_the_log_is(run: Run) -> str:
    link = ", linked below" if run.summary_url else ""
    return (
        f"The execution log in F&O says more (Data management > Job history > {run.execution_id} > View execution "
        f"log{link})."
    )
