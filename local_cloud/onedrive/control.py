"""How a person or another process turns the simulator's knobs and looks behind it: the routes below /_control.

GET, POST /_control/settings; GET, DELETE /_control/mails; GET /_control/violations, /_control/subscriptions,
/_control/deliveries; POST /_control/lifecycle. Those of the fault plan are in local_cloud/faults.py. No token is asked.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from aiohttp import web

from local_cloud.onedrive.api import Api
from local_cloud.onedrive.knobs import Knobs
from local_cloud.onedrive.notifications import LIFECYCLE_EVENTS, Notifier
from local_cloud.onedrive.subscriptions import Subscriptions
from local_cloud.server import answer


class Control:
    def __init__(
        self, *, knobs: Knobs, api: Api, notifier: Notifier, subscriptions: Subscriptions, violations: Sequence[str]
    ) -> None:
        self._knobs = knobs
        self._api = api
        self._notifier = notifier
        self._subscriptions = subscriptions
        self._violations = violations

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/_control/settings", self._show_settings)
        app.router.add_post("/_control/settings", self._take_settings)
        app.router.add_get("/_control/mails", self._show_mails)
        app.router.add_delete("/_control/mails", self._drop_mails)
        app.router.add_get("/_control/violations", self._show_violations)
        app.router.add_get("/_control/subscriptions", self._show_subscriptions)
        app.router.add_get("/_control/deliveries", self._show_deliveries)
        app.router.add_post("/_control/lifecycle", self._send_lifecycle)

    async def _show_settings(self, _request: web.Request) -> web.Response:
        return answer(200, self._knobs.to_json())

    async def _take_settings(self, request: web.Request) -> web.Response:
        try:
            changes = json.loads(await request.text())
            if not isinstance(changes, dict):
                raise ValueError("settings are a JSON object")
            self._knobs.take(changes)
        except ValueError as error:
            return answer(400, {"error": str(error)})
        return answer(200, self._knobs.to_json())

    async def _show_mails(self, _request: web.Request) -> web.Response:
        return answer(200, {"mails": [mail.to_json() for mail in self._api.mails]})

    async def _drop_mails(self, _request: web.Request) -> web.Response:
        self._api.mails.clear()
        return answer(204)

    async def _show_violations(self, _request: web.Request) -> web.Response:
        return answer(200, {"violations": list(self._violations)})

    async def _show_subscriptions(self, _request: web.Request) -> web.Response:
        return answer(200, {"subscriptions": [each.to_json() for each in self._subscriptions.alive()]})

    async def _show_deliveries(self, _request: web.Request) -> web.Response:
        return answer(200, {"deliveries": [asdict(each) for each in self._notifier.deliveries]})

    async def _send_lifecycle(self, request: web.Request) -> web.Response:
        try:
            event = json.loads(await request.text())["lifecycleEvent"]
        except (ValueError, KeyError, TypeError):
            event = None
        if event not in LIFECYCLE_EVENTS:
            return answer(400, {"error": f"lifecycleEvent: one of {', '.join(LIFECYCLE_EVENTS)}"})
        return answer(200, {"sent": self._notifier.send_lifecycle(event)})
