"""Signing keys: fetched, rotated, asked for by forged ids, and served on while their provider is out of order."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from gateway.errors import IdentityUnavailable, TokenRefused
from gateway.identity.entra import EntraTokens
from gateway.identity.key_ring import KeyRules
from tests.gateway.identity_provider import APP, HandClock, IdentityProvider, Mood, identity_provider, token_reader

PROVEN = (f"azp:{APP}",)
MOODS: list[Mood] = ["down", "moved", "garbage", "huge", "endless", "another's", "no keys", "far keys"]


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with identity_provider() as provider:
        yield provider


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


async def refused(tokens: EntraTokens, token: str) -> type[Exception] | None:
    try:
        await tokens.identities(token)
    except (TokenRefused, IdentityUnavailable) as error:
        return type(error)
    return None


async def until(condition: object) -> None:
    """Wait until a condition holds; it is a function without arguments."""
    assert callable(condition)
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_one_fetch_for_all_who_wait(provider: IdentityProvider, clock: HandClock) -> None:
    """Any number of first tokens at one moment make one fetch."""
    async with token_reader(provider, clock) as tokens:
        assert provider.fetches == 0
        many = [provider.token(oid=str(number), azp=None) for number in range(50)]
        found = await asyncio.gather(*map(tokens.identities, many))
        assert [one for (one,) in found] == [f"oid:{number}" for number in range(50)]
        assert provider.fetches == 1


async def test_a_flood_of_unknown_ids(provider: IdentityProvider, clock: HandClock) -> None:
    """Forged key ids lead to one fetch in 30 seconds, and those who come with known ones notice nothing."""
    async with token_reader(provider, clock) as tokens:
        await tokens.identities(provider.token())
        forged = [provider.token(f"unknown {number}", signed_by="evil") for number in range(100)]
        for seconds in (0, 29, 30, 45, 59, 60):
            clock.passed = seconds
            found = await asyncio.gather(*(refused(tokens, token) for token in forged))
            assert set(found) == {TokenRefused}
            assert await tokens.identities(provider.token(oid=str(seconds)))
        assert provider.fetches == 3


async def test_a_new_key_is_picked_up(provider: IdentityProvider, clock: HandClock) -> None:
    """A key that is published later serves as soon as its first token comes, at most 30 seconds after a fetch."""
    async with token_reader(provider, clock) as tokens:
        assert await tokens.identities(provider.token()) == PROVEN
        provider.kids = ("first", "second")
        assert await refused(tokens, provider.token("second")) is TokenRefused
        clock.passed = 30
        assert await tokens.identities(provider.token("second")) == PROVEN
        assert provider.fetches == 2


async def test_a_key_that_is_withdrawn(provider: IdentityProvider, clock: HandClock) -> None:
    """With its key a token's worth ends, remembered or not; tokens of keys that stay are still remembered."""
    provider.kids = ("first", "second")
    async with token_reader(provider, clock) as tokens:
        withdrawn, stays = provider.token("first"), provider.token("second")
        await tokens.identities(withdrawn)
        await tokens.identities(stays)
        kept = dict(tokens._kept)
        provider.kids = ("second",)
        clock.passed = 30
        assert await refused(tokens, provider.token("unknown", signed_by="evil")) is TokenRefused
        assert await refused(tokens, withdrawn) is TokenRefused
        assert await tokens.identities(stays) == PROVEN
        assert [each is kept[digest] for digest, each in tokens._kept.items()] == [True]


async def test_keys_are_fetched_ahead(provider: IdentityProvider, clock: HandClock) -> None:
    """Keys are fetched anew without anybody asking, and a rotation is known before its first token."""
    async with token_reader(provider, clock, KeyRules(refresh=0.02, timeout=5)) as tokens:
        await tokens.identities(provider.token())
        provider.kids = ("second",)
        fetches = provider.fetches
        await until(lambda: provider.fetches >= fetches + 3)
        assert await tokens.identities(provider.token("second")) == PROVEN
        assert await refused(tokens, provider.token("first")) is TokenRefused


@pytest.mark.parametrize("mood", MOODS)
async def test_known_keys_serve_on(
    provider: IdentityProvider, clock: HandClock, mood: Mood, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the provider answers, known keys go on, unknown ones cannot be judged, and recovery is noticed."""
    async with token_reader(provider, clock) as tokens:
        await tokens.identities(provider.token())
        provider.mood, clock.passed = mood, 30
        unknown = provider.token("second")
        assert await refused(tokens, unknown) is IdentityUnavailable
        assert await refused(tokens, unknown) is IdentityUnavailable
        assert provider.fetches == 2
        assert await tokens.identities(provider.token(oid="another")) == (*PROVEN, "oid:another")
        assert [record.levelno for record in caplog.records if "the 1 known ones go on" in record.message] == [
            logging.ERROR
        ]
        provider.mood, provider.kids, clock.passed = "good", ("first", "second"), 60
        assert await tokens.identities(unknown) == PROVEN


@pytest.mark.parametrize("mood", MOODS)
async def test_without_any_keys(provider: IdentityProvider, clock: HandClock, mood: Mood) -> None:
    """Without keys no token can be judged: to be tried again, after a moment, and then judged."""
    provider.mood = mood
    async with token_reader(provider, clock) as tokens:
        for _ in range(20):
            with pytest.raises(IdentityUnavailable, match="Try again") as unavailable:
                await tokens.identities(provider.token())
        assert provider.fetches == 1
        assert dict(unavailable.value.headers)[b"retry-after"] == b"1"
        provider.mood, clock.passed = "good", 1
        assert await tokens.identities(provider.token()) == PROVEN


async def test_a_provider_that_is_gone(clock: HandClock) -> None:
    """Where nothing listens, tokens cannot be judged."""
    gone = IdentityProvider(url="http://127.0.0.1:9")
    async with token_reader(gone, clock) as tokens:
        assert await refused(tokens, gone.token()) is IdentityUnavailable


async def test_a_slow_provider_keeps_nobody_else(provider: IdentityProvider, clock: HandClock) -> None:
    """While keys are waited for, tokens of known keys are checked at once; the wait has an end."""
    async with token_reader(provider, clock, KeyRules(timeout=1.0)) as tokens:
        await tokens.identities(provider.token())
        provider.mood, clock.passed = "slow", 30
        waiting = asyncio.create_task(refused(tokens, provider.token("second")))
        await until(lambda: provider.fetches == 2)
        assert await tokens.identities(provider.token(oid="another"))
        assert not waiting.done()
        assert await waiting is IdentityUnavailable


async def test_waiting_is_bounded(provider: IdentityProvider, clock: HandClock) -> None:
    """Only so many requests wait for keys; the others are told to come back at once."""
    provider.mood = "slow"
    async with token_reader(provider, clock, KeyRules(timeout=1.0, waiting=3)) as tokens:
        waiting = [asyncio.create_task(refused(tokens, provider.token(oid=str(number)))) for number in range(8)]
        await until(lambda: sum(asked.done() for asked in waiting) == 5)
        assert set(await asyncio.gather(*waiting)) == {IdentityUnavailable}


async def test_one_who_leaves_ends_no_fetch(provider: IdentityProvider, clock: HandClock) -> None:
    """A request that is cancelled while it waits leaves the fetch to the others."""
    provider.mood = "slow"
    async with token_reader(provider, clock) as tokens:
        first = asyncio.create_task(tokens.identities(provider.token()))
        second = asyncio.create_task(tokens.identities(provider.token(oid="another")))
        await until(lambda: provider.fetches == 1)
        first.cancel()
        assert await second == (*PROVEN, "oid:another")
        assert first.cancelled()
        assert provider.fetches == 1


async def test_closing_frees_those_who_wait(provider: IdentityProvider, clock: HandClock) -> None:
    """Closed in the middle of a fetch, nobody waits on; known keys serve on, unknown ones cannot be judged."""
    provider.mood = "slow"
    async with token_reader(provider, clock) as tokens:
        waiting = asyncio.create_task(refused(tokens, provider.token()))
        await until(lambda: provider.fetches == 1)
        await tokens._keys.close()
        assert await waiting is IdentityUnavailable
        assert await refused(tokens, provider.token()) is IdentityUnavailable
