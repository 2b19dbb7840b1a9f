"""Tokens that are good for one audience and one hour."""

import pytest

from local_cloud.tokens import TokenDesk, TokenRefused

GRAPH = "https://graph.microsoft.com"
APP = "11111111-2222-3333-4444-555555555555"


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_token_says_whom_it_is_for_and_who_asked() -> None:
    clock = Clock()
    desk = TokenDesk(clock=clock)

    claims = desk.check(f"Bearer {desk.issue(GRAPH, app_id=APP, expires_s=60)}", GRAPH)

    assert (claims.audience, claims.app_id, claims.user) == (GRAPH, APP, None)
    assert (claims.issued_s, claims.expires_s) == (clock.now_s, clock.now_s + 60)


def test_a_token_of_a_signed_in_user_says_who_that_is() -> None:
    desk = TokenDesk()

    token = desk.issue(GRAPH, app_id=APP, user="ada@contoso.onmicrosoft.com")

    assert desk.check(f"Bearer {token}", GRAPH).user == "ada@contoso.onmicrosoft.com"


def test_two_tokens_are_never_the_same() -> None:
    desk = TokenDesk(clock=Clock())

    assert desk.issue(GRAPH, app_id=APP) != desk.issue(GRAPH, app_id=APP)


def test_a_slash_at_the_end_of_the_audience_does_not_matter() -> None:
    desk = TokenDesk()

    assert desk.check(f"Bearer {desk.issue(GRAPH + '/', app_id=APP)}", GRAPH).audience == GRAPH


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dTpw", "Bearer not-a-token"])
def test_a_request_without_a_token_is_refused_with_401(header: str | None) -> None:
    with pytest.raises(TokenRefused) as refused:
        TokenDesk().check(header, GRAPH)

    assert refused.value.status == 401
    assert refused.value.reason


def test_a_token_for_another_audience_is_refused() -> None:
    desk = TokenDesk()

    with pytest.raises(TokenRefused, match=r"for https://management\.azure\.com, not for"):
        desk.check(f"Bearer {desk.issue('https://management.azure.com', app_id=APP)}", GRAPH)


def test_a_token_from_another_desk_is_refused() -> None:
    token = TokenDesk().issue(GRAPH, app_id=APP)

    with pytest.raises(TokenRefused, match="not a token of this cloud"):
        TokenDesk().check(f"Bearer {token}", GRAPH)


def test_desks_with_one_key_accept_each_others_tokens() -> None:
    key = bytes(range(64))

    assert TokenDesk(key=key).check(f"bearer {TokenDesk(key=key).issue(GRAPH, app_id=APP)}", GRAPH).app_id == APP


def test_a_token_is_good_until_it_expires() -> None:
    clock = Clock()
    desk = TokenDesk(clock=clock)
    header = f"Bearer {desk.issue(GRAPH, app_id=APP, expires_s=60)}"

    clock.now_s += 59.9
    assert desk.check(header, GRAPH).app_id == APP

    clock.now_s += 0.1
    with pytest.raises(TokenRefused, match="expired"):
        desk.check(header, GRAPH)


def test_all_tokens_can_be_made_to_expire_at_once_and_new_ones_are_good() -> None:
    desk = TokenDesk()
    old = desk.issue(GRAPH, app_id=APP)

    desk.expire_all()

    with pytest.raises(TokenRefused, match="expired"):
        desk.check(f"Bearer {old}", GRAPH)
    assert desk.check(f"Bearer {desk.issue(GRAPH, app_id=APP)}", GRAPH).app_id == APP


@pytest.mark.parametrize("permissions", [("Files.ReadWrite.All",), ()])
def test_a_token_of_an_app_says_what_it_may_do(permissions: tuple[str, ...]) -> None:
    desk = TokenDesk()

    token = desk.issue(GRAPH, app_id=APP, permissions=permissions)

    assert desk.check(f"Bearer {token}", GRAPH).permissions == permissions


def test_a_token_that_says_nothing_of_permissions_has_all() -> None:
    desk = TokenDesk()

    assert desk.check(f"Bearer {desk.issue(GRAPH, app_id=APP)}", GRAPH).permissions is None
