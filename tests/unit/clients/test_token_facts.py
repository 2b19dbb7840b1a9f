"""What an access token says about the app."""

import pytest

from shared.clients.entra.token_facts import token_facts
from tests.tokens import a_token


def test_an_apps_roles_a_persons_scopes_and_the_client_id_are_read_from_a_token() -> None:
    assert token_facts(a_token(appid="app", roles=["A", "B"])).permissions == frozenset("AB")
    assert token_facts(a_token(azp="app", scp="C D")).permissions == frozenset("CD")
    assert token_facts(a_token(azp="app")).app_id == token_facts(a_token(appid="app")).app_id == "app"


@pytest.mark.parametrize("token", ["", "EwB4A8l6BAAU", "a.b.c", "a.!.c", "head.W10.signature", "a.AAAA.c"])
def test_a_token_that_tells_nothing_is_not_held_against_anybody(token: str) -> None:
    facts = token_facts(token)

    assert (facts.app_id, facts.permissions) == ("", None)
