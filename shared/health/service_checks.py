"""What other services answer: Microsoft Graph, F&O, and the webhook."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from shared.app import Services
from shared.clients.entra.token_facts import token_facts
from shared.clients.graph.subscriptions import shake_hands
from shared.config.model import ExportFlow
from shared.errors import AppError
from shared.health.health import Check, Grade, failed_check

# Seconds after which no other service is asked: a monitor waits for the answer.
ALL_CALLS_S: Final = 20.0

# Permissions of Microsoft Graph that let an app write into drives: into all of the tenant, and into chosen ones.
# https://learn.microsoft.com/graph/permissions-reference
EVERY_DRIVE: Final = frozenset({"Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All"})
OWN_DRIVE: Final = frozenset({"Files.ReadWrite"})  # a signed-in person's
SELECTED: Final = ".Selected"
MAIL: Final = "Mail.Send"

# An execution that F&O does not know: asking for it is the cheapest call that needs all that the app needs.
_NO_EXECUTION: Final = "health-check"


def check_services(services: Services, *, thorough: bool) -> Iterator[Check]:
    """Ask each service, one after the other, until the time is up."""
    began = services.now()
    urls = dict.fromkeys(flow.environment_url for flow in services.settings.flows.all)
    asked: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        ("Microsoft Graph", partial(_graph, services)),
        *((_fo_name(url), partial(_finance_operations, url, services, thorough=thorough)) for url in urls),
    ]
    if thorough and services.settings.notification_url:
        asked.append(("Webhook", partial(_webhook, services)))
    for name, ask in asked:
        if (services.now() - began).total_seconds() > ALL_CALLS_S:
            yield Check(
                name=name, grade=Grade.WARNING, message="Not checked: the services before it took too long to answer."
            )
            continue
        try:
            yield from ask()
        except AppError as error:
            yield failed_check(name, error)


def _graph(services: Services) -> Iterator[Check]:
    permissions = token_facts(services.graph_token.token()).permissions
    yield from _permission_checks(permissions, services)
    for drive in services.settings.flows.drives:
        name = f"OneDrive, {drive}"
        try:
            services.onedrive(drive).ask_drive_id()
        except AppError as error:
            is_selected = permissions is not None and _has_selected(permissions) and not permissions & EVERY_DRIVE
            is_refused = error.call is not None and error.call.status == 403
            yield failed_check(name, error, _site_grant(services) if is_selected and is_refused else "")
        else:
            yield Check(name=name, grade=Grade.OK, message="The app can read the drive.")


def _site_grant(services: Services) -> str:
    return (
        "Sites.Selected alone gives access to no drive: the drive's site must also grant the app the role write, with "
        f"POST {services.settings.graph_url}/v1.0/sites/SITE_ID/permissions."
    )


def _has_selected(permissions: frozenset[str]) -> bool:
    return any(permission.endswith(SELECTED) for permission in permissions)


def _permission_checks(permissions: frozenset[str] | None, services: Services) -> Iterator[Check]:
    """Check the permissions that the token claims; only calls show what the app is really allowed to do."""
    name = "Permissions of Microsoft Graph"
    if permissions is None:
        yield Check(name=name, grade=Grade.OK, message="The token does not list its permissions.")
        return
    listed = ", ".join(sorted(permissions)) or "none"
    enough = EVERY_DRIVE | (OWN_DRIVE if services.settings.onedrive_sign_in == "user" else frozenset())
    if permissions & EVERY_DRIVE and _has_selected(permissions):
        selected = next(each for each in sorted(permissions) if each.endswith(SELECTED))
        every = min(permissions & EVERY_DRIVE)
        yield Check(
            name=name,
            grade=Grade.WARNING,
            message=f"{selected} has no effect while {every} is also granted, which gives access to every drive of "
            f"the tenant. Granted: {listed}.",
            advice=f"Remove {every} if you want {selected}; otherwise remove {selected}.",
        )
    elif permissions & enough or _has_selected(permissions):
        yield Check(name=name, grade=Grade.OK, message=f"Granted: {listed}.")
    else:
        yield Check(
            name=name,
            grade=Grade.PROBLEM,
            message=f"The permission Files.ReadWrite.All of Microsoft Graph is missing. Granted: {listed}.",
            advice="Grant it as an application permission, with an administrator's consent (docs/setup.md, step 3). "
            "Azure caches a managed identity's token for up to a day, so a permission that was granted since "
            "then is not in it yet.",
        )
    if services.settings.is_mailed and MAIL not in permissions:
        yield Check(
            name=name,
            grade=Grade.WARNING,
            message="The permission Mail.Send is missing, so no alert can be mailed.",
            advice="Grant it with consent, or clear ALERT_RECIPIENT; alerts are then only written to the log.",
        )


def _fo_name(environment_url: str) -> str:
    return f"F&O, {urlsplit(environment_url).hostname}"


def _finance_operations(environment_url: str, services: Services, *, thorough: bool) -> Iterator[Check]:
    name = _fo_name(environment_url)
    app_id = token_facts(services.finance_operations_token(environment_url).token()).app_id
    environment = services.finance_operations(environment_url)
    try:
        environment.job_details(_NO_EXECUTION)
    except AppError as error:
        is_refused = error.call is not None and error.call.status == 403
        yield failed_check(name, error, f"The app's client id is {app_id}." if is_refused and app_id else "")
        return
    yield Check(name=name, grade=Grade.OK, message=f"F&O accepts the app{f' as {app_id}' if app_id else ''}.")
    if thorough:
        flows = [flow for flow in services.settings.flows.all if flow.environment_url == environment_url]
        companies = sorted({company for flow in flows for company in flow.named_companies})
        projects = sorted({flow.data_project for flow in flows if isinstance(flow, ExportFlow)})
        for company in companies:
            yield _known(f"{name}, company {company}", partial(environment.has_company, company))
        for project in projects:
            yield _known(f"{name}, data project {project}", partial(environment.has_data_project, project))


def _known(name: str, ask: Callable[[], bool]) -> Check:
    """Return whether F&O has what the settings name. The app itself does not ask this, so it may lack the right to."""
    try:
        is_known = ask()
    except AppError as error:
        return Check(name=name, grade=Grade.WARNING, message=f"This could not be checked: {error}")
    if is_known:
        return Check(name=name, grade=Grade.OK, message="It exists in F&O.")
    return Check(
        name=name,
        grade=Grade.PROBLEM,
        message="It does not exist in F&O, or the app's user in F&O is not allowed to see it.",
        advice="Check the name in the settings, create it in F&O, or give the user the required roles.",
    )


def _webhook(services: Services) -> Iterator[Check]:
    address, _ = services.notified_at()
    try:
        shake_hands(address, services.webhook)
    except AppError as error:
        yield Check(
            name="Webhook",
            grade=Grade.PROBLEM,
            message=str(error),
            advice="Until this is fixed, the scan that runs every minute finds new files.",
        )
    else:
        yield Check(
            name="Webhook",
            grade=Grade.OK,
            message="It answers correctly when called from here. Graph calls it from the internet.",
        )
