"""One live run: which services it speaks to, what it makes there, and how that goes away again.

``__main__.py`` starts pytest in a process of its own; what both must know travels in the environment.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from operations.sign_in import with_file
from shared.app import Services
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.subscriptions import Subscription
from shared.config.settings import Settings, read_settings
from shared.config.values import is_loopback
from shared.errors import AppError, NeedsPerson
from shared.secret import SecretUrl

SETTINGS_VARIABLE: Final = "LIVE_SETTINGS"  # the settings file
RUN_VARIABLE: Final = "LIVE_RUN"  # the run's name; new for each run, so that nothing left in a shell starts one
COMPANY_VARIABLE: Final = "LIVE_COMPANY"
REPORT_VARIABLE: Final = "LIVE_REPORT"  # where report.py writes

PREFIX: Final = "onedrive-fo-live-"


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """What a run speaks to and makes. The settings are those of the file alone, whatever this shell has set."""

    name: str  # of its folder: "onedrive-fo-live-20261123142000"
    settings: Settings
    company: str  # F&O's; "" where neither the settings nor the person named one

    @classmethod
    def of(cls, name: str, file: Path, company: str = "") -> Self:
        """Return the run that a settings file describes. Raises SettingsInvalid."""
        values = with_file({}, file)
        # azure-identity asks the environment itself where a managed identity gets its tokens.
        for variable in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
            if variable in values:
                os.environ.setdefault(variable, values[variable])
        settings = read_settings(values)
        if not settings.flows.all:
            raise NeedsPerson("The settings have no import and no export, so no drive and no environment.")
        return cls(name=name, settings=settings, company=company or _company(settings))

    @classmethod
    def asked_for(cls, environ: Mapping[str, str] = os.environ) -> Self | None:
        """Return the run that ``python -m tests.live`` has asked this process for; None in any other process."""
        file, name = environ.get(SETTINGS_VARIABLE), environ.get(RUN_VARIABLE)
        if not file or not name:
            return None
        run = cls.of(name, Path(file), environ.get(COMPANY_VARIABLE, ""))
        run.require_not_by_accident(environ)
        return run

    def require_not_by_accident(self, environ: Mapping[str, str]) -> None:
        """Raise NeedsPerson in continuous integration, but for services on this machine."""
        strangers = [host for host in self.hosts if not is_loopback(host)]
        if environ.get("CI") and strangers:
            raise NeedsPerson(f"CI is set, and this would write to {', '.join(strangers)}. Nothing was done.")

    @cached_property
    def services(self) -> Services:
        """The app's own parts, by these settings."""
        return Services(self.settings)

    @property
    def drive(self) -> str:
        """The drive of the first flow."""
        return self.settings.flows.all[0].drive

    @property
    def environment_url(self) -> str:
        """The F&O environment of the first flow."""
        return self.settings.flows.all[0].environment_url

    @property
    def environment_host(self) -> str:
        """What the person types who knows what is about to be done."""
        return urlsplit(self.environment_url).hostname or ""

    @property
    def hosts(self) -> list[str]:
        """The machines that would be written to."""
        addresses = [self.settings.graph_url, self.environment_url]
        if self.settings.notification_url:
            addresses.append(self.settings.notification_url.reveal())
        return list(dict.fromkeys(urlsplit(address).hostname or "" for address in addresses))

    @property
    def project_prefix(self) -> str:
        """What the names of the data projects begin with: "Live-20261123142000"."""
        return f"Live-{self.name.removeprefix(PREFIX)}"

    @property
    def notification_url(self) -> SecretUrl | None:
        """Where Graph is to call, with a mark by which this run knows its subscriptions again."""
        if self.settings.notification_url is None:
            return None
        url = self.settings.notification_url.reveal()
        return SecretUrl(f"{url}{'&' if '?' in url else '?'}{self._mark}")

    @property
    def _mark(self) -> str:
        return f"live={self.name}"

    def is_ours(self, subscription: Subscription) -> bool:
        """Return whether this run has made a subscription."""
        return self._mark in subscription.notification_url.reveal()

    def folder(self) -> DriveItem | None:
        """Return the run's folder, if it is there."""
        return self.services.onedrive(self.drive).find(self.name)

    def delete_subscriptions(self) -> int:
        """Delete the run's subscriptions and return how many there were. Raises what Graph's client raises."""
        ours = [each for each in self.services.subscriptions.list() if self.is_ours(each)]
        for each in ours:
            self.services.subscriptions.delete(each.subscription_id)
        return len(ours)

    def clean_up(self, suites: tuple[str, ...]) -> tuple[list[str], list[str]]:
        """Delete what the run has made and can delete; never raises what the services raise.

        Returns what was done and what was left, in words.
        """
        done: list[str] = []
        left: list[str] = []
        if "subscriptions" in suites and self.settings.notification_url:
            try:
                if count := self.delete_subscriptions():
                    done.append(f"{count} subscription(s) deleted that a test had not deleted itself")
            except AppError as error:
                left.append(f"subscriptions, if any; they end by themselves within 30 days: {error}")
        if "onedrive" in suites:
            try:
                if folder := self.folder():
                    self.services.onedrive(self.drive).delete(folder.item_id)
                    done.append(f"folder {self.name} put into the recycle bin")
            except AppError as error:
                left.append(f"folder {self.name} in the root of {self.drive}, please delete it: {error}")
        return done, left

    def close(self) -> None:
        """Close the connections."""
        services = self.services
        for http in (services.downloads, services._graph, services.finance_operations(self.environment_url)._http):
            http.close()


def _company(settings: Settings) -> str:
    return next((flow.only_company for flow in settings.flows.all if flow.only_company), "")
