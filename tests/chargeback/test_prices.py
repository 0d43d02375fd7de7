"""Prices against amounts worked out by hand from the published list prices."""

from datetime import date
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TieredPrices

from chargeback.prices import Price, Prices
from gateway.usage import Meters

DAY = date(2026, 11, 20)


def amount(
    prices: Prices,
    model: str,
    meters: Meters,
    *,
    day: date = DAY,
    where: str = "global",
    tier: str = "",
    context: str = "",
    version: str = "",
) -> Decimal | None:
    price = prices.price(
        model, day, meters, model_version=version, deployment_type=where, service_tier=tier, context_tier=context
    )
    return None if price is None else price.amount


def tiered(price: Decimal | TieredPrices | None) -> TieredPrices:
    assert isinstance(price, TieredPrices)
    return price


def test_cached_is_part_of_prompt_and_reasoning_of_completion(prices: Prices) -> None:
    """gpt-4o at 2.50 / 1.25 cached / 10 a million: no token is charged twice."""
    meters = Meters(prompt_tokens=1000, cached_tokens=400, completion_tokens=100, reasoning_tokens=60)

    # 600 x 2.50 + 400 x 1.25 + 100 x 10 = 1500 + 500 + 1000 millionths
    assert amount(prices, "gpt-4o", meters) == Decimal("0.003")
    assert amount(prices, "gpt-4o-2024-08-06", meters) == Decimal("0.003")


def test_data_zone_costs_a_tenth_more(prices: Prices) -> None:
    """Data Zone is Global and 10%, Regional is Global."""
    meters = Meters(prompt_tokens=1_000_000, completion_tokens=100_000)

    assert amount(prices, "gpt-4o-mini", meters) == Decimal("0.21")
    assert amount(prices, "gpt-4o-mini", meters, where="datazone") == Decimal("0.231")
    assert amount(prices, "gpt-4o-mini", meters, where="regional") == Decimal("0.21")
    assert amount(prices, "gpt-4o-mini", meters, where="moon") is None


@pytest.mark.parametrize("model", ["gpt-4o", "some-model-of-our-own"])
def test_provisioned_capacity_costs_nothing_per_token(prices: Prices, model: str) -> None:
    """PTU is paid by the hour: 0, and said to be so, also for a model without a price."""
    price = prices.price(
        model, DAY, Meters(prompt_tokens=10), model_version="", deployment_type="ptu", service_tier="", context_tier=""
    )

    assert price == Price(Decimal(0), provisioned=True)


def test_unknown_model_has_no_price(prices: Prices) -> None:
    """A model that nobody lists is unpriced, not free."""
    assert amount(prices, "some-model-of-our-own", Meters(prompt_tokens=10)) is None
    assert amount(prices, "", Meters(prompt_tokens=10)) is None


def test_price_is_the_days(prices: Prices) -> None:
    """gpt-5.6-sol became cheaper on 2026-08-21: each day has its own price."""
    meters = Meters(prompt_tokens=1_000_000)
    model = get_snapshot().find_provider_model("gpt-5.6-sol", None, "azure", None)[1]
    assert isinstance(model.prices, list)
    before, after = [tiered(conditional.prices.input_mtok) for conditional in model.prices]
    assert before.base != after.base

    assert amount(prices, "gpt-5.6-sol", meters, day=date(2026, 8, 20)) == before.base
    assert amount(prices, "gpt-5.6-sol", meters, day=date(2026, 8, 21)) == after.base


def test_context_tier_is_the_single_requests(prices: Prices) -> None:
    """gpt-5.4 is billed at another price for prompts over 272,000 tokens, for all of their tokens."""
    assert prices.context_tier("gpt-5.4", "2026-03-05", DAY, 272_000) == ""
    assert prices.context_tier("gpt-5.4", "2026-03-05", DAY, 272_001) == "over-272000"
    assert prices.context_tier("gpt-4o", "", DAY, 272_001) == ""
    assert prices.context_tier("some-model-of-our-own", "1", DAY, 10**9) == ""

    model = get_snapshot().find_provider_model("gpt-5.4", None, "azure", None)[1].prices
    assert not isinstance(model, list)
    meters = Meters(prompt_tokens=1_000_000, completion_tokens=1_000_000)
    prompt, completion = tiered(model.input_mtok), tiered(model.output_mtok)
    base, above = prompt.base + completion.base, prompt.tiers[0].price + completion.tiers[0].price
    assert base < above
    assert amount(prices, "gpt-5.4", meters) == base
    assert amount(prices, "gpt-5.4", meters, context="over-272000") == above
    assert amount(prices, "gpt-5.4", meters, context="long") is None


def test_service_tiers(prices: Prices) -> None:
    """Priority and batch have their own prices from the day they are listed; a tier without one is unpriced."""
    meters = Meters(prompt_tokens=1_000_000)

    assert amount(prices, "gpt-4o", meters, tier="default") == Decimal("2.5")
    assert amount(prices, "gpt-4o", meters, tier="priority") == Decimal("4.25")
    assert amount(prices, "gpt-4o", meters, tier="batch") == Decimal("1.25")
    assert amount(prices, "gpt-4o", meters, tier="priority", day=date(2026, 1, 1)) is None
    assert amount(prices, "gpt-4o", meters, tier="flex") is None
    assert amount(prices, "gpt-4o", meters, tier="scale") is None


def test_audio_tokens(prices: Prices) -> None:
    """gpt-4o-transcribe: audio input at 6 a million, text at 2.50, output at 10."""
    meters = Meters(prompt_tokens=1000, audio_prompt_tokens=900, completion_tokens=50, audio_milliseconds=60_000)

    # 900 x 6 + 100 x 2.50 + 50 x 10 millionths; the length of the audio only describes it
    assert amount(prices, "gpt-4o-transcribe", meters) == Decimal("0.00615")


def test_kinds_never_exceed_their_total(prices: Prices) -> None:
    """A backend that reports more cached tokens than prompt tokens is billed for the prompt tokens."""
    assert amount(prices, "gpt-4o", Meters(prompt_tokens=10, cached_tokens=1000)) == Decimal("0.0000125")


def test_kind_without_a_price_is_plain(prices: Prices) -> None:
    """Cached tokens of a model without a cached price cost what prompt tokens cost."""
    meters = Meters(prompt_tokens=1_000_000, cached_tokens=500_000)

    assert amount(prices, "text-embedding-3-small", meters) == Decimal("0.02")


def test_characters_and_audio_time(prices: Prices) -> None:
    """tts-1 is billed at 15 a million characters, whisper at 0.36 an hour."""
    assert amount(prices, "tts-1", Meters(characters=1000)) == Decimal("0.015")
    assert amount(prices, "whisper-1", Meters(audio_milliseconds=1_800_000)) == Decimal("0.18")


def test_units_without_a_price_are_unpriced(prices: Prices) -> None:
    """Images without tokens have no price; with tokens the tokens pay."""
    assert amount(prices, "gpt-image-1", Meters(images=1)) is None
    tokens = Meters(images=1, prompt_tokens=100, image_prompt_tokens=50, completion_tokens=1000)
    # 50 x 5 + 50 x 10 + 1000 x 40 millionths
    assert amount(prices, "gpt-image-1", tokens) == Decimal("0.04075")
    assert amount(prices, "gpt-4o", Meters(characters=5)) is None
    assert amount(prices, "tts-1", Meters(prompt_tokens=5)) is None


def test_nothing_used_costs_nothing(prices: Prices) -> None:
    """A request without usage, such as one that a backend refused, is priced at 0."""
    assert amount(prices, "gpt-4o", Meters()) == 0


def test_version_has_its_own_price(prices: Prices) -> None:
    """The first gpt-4o costs 5 a million, later ones 2.50; a version that nobody lists costs what its model does."""
    meters = Meters(prompt_tokens=1_000_000)

    assert amount(prices, "gpt-4o", meters, version="2024-05-13") == Decimal(5)
    assert amount(prices, "gpt-4o", meters, version="2024-11-20") == Decimal("2.5")
    assert amount(prices, "text-embedding-3-small", meters, version="1") == Decimal("0.02")
    assert amount(prices, "some-model-of-our-own", meters, version="1") is None


@pytest.mark.parametrize("model", ["gpt-35-turbo", "gpt-35-turbo-0125", "gpt-3.5-turbo-0125"])
def test_azures_spelling_of_a_model(prices: Prices, model: str) -> None:
    """Azure's gpt-35-turbo is the price list's gpt-3.5-turbo."""
    assert amount(prices, model, Meters(prompt_tokens=1_000_000)) == Decimal("0.5")
