"""Which channels a route switches on."""

import pytest

from shared.alerts.channels import CHANNELS, ChannelParts, alerts_http, build_channels
from shared.config.alert_route import AlertRoute
from shared.config.settings import read_settings
from shared.secret import SecretUrl
from tests.alerts import BEGAN
from tests.builders import SETTINGS

ROUTES = {
    "mail": AlertRoute(recipient="ops@contoso.com"),
    "teams": AlertRoute(teams_url=SecretUrl("https://teams.contoso.com/x")),
    "webhook": AlertRoute(webhook_url=SecretUrl("https://events.contoso.com/x")),
    "log": AlertRoute(),
}


def test_every_channel_has_a_route_here() -> None:
    missing = set(CHANNELS) - {name for route in ROUTES.values() for name in CHANNELS if getattr(route, name)}

    assert not missing, f"ROUTES needs a route with {sorted(missing)} (recipe 'An alert channel')"


@pytest.mark.parametrize(("kind", "route"), ROUTES.items())
def test_a_route_switches_on_the_channels_that_it_has_addresses_for_and_else_the_log(
    kind: str, route: AlertRoute
) -> None:
    settings, http = read_settings(SETTINGS), alerts_http()

    channels = build_channels(route, ChannelParts(settings=settings, graph=http, webhooks=http, clock=lambda: BEGAN))

    assert [channel.name.partition("-")[0] for channel in channels] == [kind]
