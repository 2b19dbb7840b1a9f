"""Whether a company is one that files of a flow may be for, where F&O says which there are."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from shared.app import Services
from shared.clients.http.context import waiting_at_most
from shared.config.model import CompaniesListed, CompaniesOfFo, ImportFlow
from shared.config.values import is_company
from shared.errors import AppError, FileRejected
from shared.imports.manifest import shown
from shared.log import log

LISTED_IN_TEXT: Final = 30  # companies that a text names

# A scan asks F&O about an unknown sub-folder at most so often, and waits so many seconds for the answer.
ASKED_EVERY: Final = timedelta(minutes=1)
SCAN_WAITS_S: Final = 3.0


def require_company(flow: ImportFlow, file_name: str, company: str, services: Services) -> None:
    """Raise FileRejected if F&O has to know the company of a file and does not; and what asking F&O raises."""
    if isinstance(flow.companies, CompaniesOfFo) and not services.companies.has(flow.environment_url, company):
        raise FileRejected(
            f"{shown(file_name)} is for company {company}, which F&O does not have. {companies_text(flow, services)} "
            "Correct the company, or create it in F&O; then import the file again."
        )


def company_folders(flow: ImportFlow, sub_folders: Sequence[str], services: Services) -> frozenset[str]:
    """Return which sub-folders of Input are companies that files of the flow may be for.

    If F&O cannot say it now, all that may be companies are: a file's run then says what keeps F&O from answering.
    """
    may_be = frozenset(name for name in sub_folders if is_company(name))
    match flow.companies:
        case CompaniesListed(companies=companies):
            return frozenset(name for name in may_be if name.upper() in companies)
        case CompaniesOfFo():
            has = partial(services.companies.has, flow.environment_url, denied_after=ASKED_EVERY)
            try:
                with waiting_at_most(SCAN_WAITS_S):
                    return frozenset(name for name in may_be if has(name))
            except AppError as error:
                log.warning("scan.companies_unknown", flow_name=flow.name, reason=str(error))
    return may_be


def companies_text(flow: ImportFlow, services: Services) -> str:
    """Return a sentence that says which companies files of a flow may be for, as far as this process knows."""
    match flow.companies:
        case CompaniesListed(companies=known):
            return f"The companies of flow {flow.name} are: {_cut(known)}."
        case CompaniesOfFo():
            known = services.companies.remembered(flow.environment_url)
            return f"F&O has: {_cut(known)}." if known else "The companies are those that F&O has."
    return "A company has 1 to 4 letters or digits."


def _cut(companies: tuple[str, ...]) -> str:
    more = len(companies) - LISTED_IN_TEXT
    return ", ".join(companies[:LISTED_IN_TEXT]) + (f" and {more} more" if more > 0 else "")
