"""Which channels a route switches on."""

from dataclasses import fields

import pytest

from shared.alerts.channels import CHANNELS, ChannelParts, alerts_http, build_channels
from shared.config.integrations import AlertRoute
from shared.config.settings import read_settings
from shared.secret import SecretUrl
from tests.alerts import BEGAN

ROUTES = {
    "mail": AlertRoute(recipient="ops@contoso.com"),
    "teams": AlertRoute(teams_url=SecretUrl("https://teams.contoso.com/x")),
    "webhook": AlertRoute(webhook_url=SecretUrl("https://events.contoso.com/x")),
    "log": AlertRoute(),
}


def test_every_address_of_a_route_has_a_channel() -> None:
    assert set(CHANNELS) == {each.name for each in fields(AlertRoute)}


@pytest.mark.parametrize(("kind", "route"), ROUTES.items())
def test_a_route_switches_on_the_channels_that_it_has_addresses_for_and_else_the_log(
    kind: str, route: AlertRoute
) -> None:
    settings = read_settings(
        {
            "AzureWebJobsStorage": "UseDevelopmentStorage=true",
            "FO_URL": "https://contoso.operations.dynamics.com",
            "ONEDRIVE_DRIVE": "drives/b!1",
        }
    )
    http = alerts_http()

    channels = build_channels(route, ChannelParts(settings=settings, graph=http, webhooks=http, clock=lambda: BEGAN))

    assert [channel.name.partition("-")[0] for channel in channels] == [kind]
