"""Unit prices, offline, from genai-prices: what a day's sums cost in US dollars.

Source: the data that ships with the genai-prices package (MIT), provider `azure`, which falls back to OpenAI's models.
They are list prices of Azure's Global deployments, by model, by day, by service tier and by the length of the prompt.
Its network updates are never started. All arithmetic is exact Decimal; nothing is rounded here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Final

from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, PriceVariant, StartDateConstraint, TieredPrices

from gateway.usage import Meters

CURRENCY: Final = "USD"
_CACHED_LOOKUPS: Final = 4096
_ZERO: Final = Decimal(0)
_MILLION: Final = Decimal(1_000_000)
_HOUR_MS: Final = Decimal(3_600_000)

# Azure's price pages: a data zone costs 10% more than Global. Regional deployments are billed at Global's price here;
# some cost more, which an own price sheet tells.
_MARKUPS: Final = {"global": Decimal(1), "regional": Decimal(1), "datazone": Decimal("1.1")}

# The names under which genai-prices keeps the price variants of the service tiers that answers carry.
_STANDARD_TIERS: Final = frozenset({"", "default", "auto", "standard"})
_TIERS: Final = {
    "priority": {"service_tier": "priority"},
    "flex": {"service_tier": "flex"},
    "batch": {"processing": "batch"},
}
_TIER_PREFIX: Final = "over-"


@dataclass(frozen=True, slots=True)
class Price:
    """An exact amount in CURRENCY. `provisioned`: paid by the hour with its capacity (PTU), so nothing per token."""

    amount: Decimal
    provisioned: bool = False


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices per token, character or millisecond; None where the model has no such price."""

    prompt: Decimal | None
    cached: Decimal | None
    cache_write: Decimal | None
    audio_prompt: Decimal | None
    image_prompt: Decimal | None
    completion: Decimal | None
    audio_completion: Decimal | None
    character: Decimal | None
    millisecond: Decimal | None


class Prices:
    """Looks prices up by the names in a rollup and keeps what it found; safe to share."""

    def __init__(self, snapshot: DataSnapshot | None = None) -> None:
        self._snapshot = snapshot or get_snapshot()
        self._thresholds = lru_cache(_CACHED_LOOKUPS)(self._find_thresholds)
        self._rates = lru_cache(_CACHED_LOOKUPS)(self._find_rates)

    def context_tier(self, model: str, model_version: str, day: date, prompt_tokens: int) -> str:
        """Return the tier that a prompt of this length is billed in: `""`, or `over-272000` and the like.

        The tier depends on the single request, so it is settled before anything is summed.
        """
        passed = [start for start in self._thresholds(model, model_version, day) if prompt_tokens > start]
        return f"{_TIER_PREFIX}{max(passed)}" if passed else ""

    def price(
        self,
        model: str,
        day: date,
        meters: Meters,
        *,
        model_version: str,
        deployment_type: str,
        service_tier: str,
        context_tier: str,
    ) -> Price | None:
        """Return what the meters' sums cost, or None where any of it has no known price: never a silent 0."""
        if deployment_type == "ptu":
            return Price(_ZERO, provisioned=True)
        markup = _MARKUPS.get(deployment_type)
        rates = self._rates(model, model_version, day, service_tier, context_tier)
        if markup is None or rates is None:
            return None
        parts = (_prompt_amount(rates, meters), _completion_amount(rates, meters), _unit_amount(rates, meters))
        known = [part for part in parts if part is not None]
        return Price(sum(known, _ZERO) * markup) if len(known) == len(parts) else None

    def latest_change(self, day: date) -> date | None:
        """Return the last day on which a price of Azure's or OpenAI's changed: how new the price book is.

        The data itself bears no date.
        """
        models = [
            m for provider in self._snapshot.providers if provider.id in {"azure", "openai"} for m in provider.models
        ]
        books = [book for model in models if isinstance(model.prices, list) for book in model.prices]
        starts = [book.constraint.start_date for book in books if isinstance(book.constraint, StartDateConstraint)]
        return max((start for start in starts if start <= day), default=None)

    def _find_thresholds(self, model: str, model_version: str, day: date) -> tuple[int, ...]:
        found = self._find_model(model, model_version)
        if found is None:
            return ()
        books = [found.get_prices(_noon(day)), *(variant.prices for variant in found.price_variants or ())]
        prices = [price for book in books for price in book.__dict__.values()]
        return tuple({tier.start for price in prices if isinstance(price, TieredPrices) for tier in price.tiers})

    def _find_rates(
        self, model: str, model_version: str, day: date, service_tier: str, context_tier: str
    ) -> Rates | None:
        found = self._find_model(model, model_version)
        start = _start(context_tier)
        if found is None or start is None:
            return None
        if service_tier in _STANDARD_TIERS:
            return _rates(found.get_prices(_noon(day)), start)
        context = _TIERS.get(service_tier)
        if context is None or not any(_applies(variant, context, day) for variant in found.price_variants or ()):
            return None
        return _rates(found.get_prices(_noon(day), context), start)

    def _find_model(self, model: str, model_version: str) -> ModelInfo | None:
        """Find a version by its own price where it has one: gpt-4o-2024-05-13 costs twice what later ones do."""
        # Azure writes gpt-35-turbo where OpenAI's price list has gpt-3.5-turbo.
        name = model.replace("gpt-35-", "gpt-3.5-")
        for reference in (f"{name}-{model_version}", name) if model_version else (name,):
            try:
                return self._snapshot.find_provider_model(reference, None, "azure", None)[1]
            except LookupError:
                continue
        return None


def _prompt_amount(rates: Rates, meters: Meters) -> Decimal | None:
    """Price each prompt token once: special kinds at their own price where there is one, the rest as plain."""
    kinds = (
        (meters.cached_tokens, rates.cached),
        (meters.cache_write_tokens, rates.cache_write),
        (meters.audio_prompt_tokens, rates.audio_prompt),
        (meters.image_prompt_tokens, rates.image_prompt),
    )
    return _split_amount(meters.prompt_tokens, kinds, rates.prompt)


def _completion_amount(rates: Rates, meters: Meters) -> Decimal | None:
    """Reasoning tokens are completion tokens and cost the same; audio has a price of its own."""
    return _split_amount(
        meters.completion_tokens, ((meters.audio_completion_tokens, rates.audio_completion),), rates.completion
    )


def _split_amount(total: int, kinds: Iterable[tuple[int, Decimal | None]], plain: Decimal | None) -> Decimal | None:
    amount, left = _ZERO, total
    for count, rate in kinds:
        # A token may be of two kinds (cached audio): it is taken once, and never more than there are.
        if rate is not None:
            taken = min(count, left)
            amount += taken * rate
            left -= taken
    if left and plain is None:
        return None
    return amount + left * (plain or _ZERO)


def _unit_amount(rates: Rates, meters: Meters) -> Decimal | None:
    """Price characters and audio time; where a model is billed by tokens, these and images only describe them."""
    amount = _ZERO
    by_tokens = bool(meters.prompt_tokens or meters.completion_tokens)
    units = (
        (meters.characters, rates.character),
        (meters.audio_milliseconds, rates.millisecond),
        (meters.images, None),
    )
    for count, rate in units:
        if rate is not None:
            amount += count * rate
        elif count and not by_tokens:
            return None
    return amount


def _rates(book: ModelPrice, start: int) -> Rates:
    def per(unit: Decimal, *names: str) -> Decimal | None:
        price = next((price for name in names if (price := getattr(book, name)) is not None), None)
        return None if price is None else _tier_price(price, start) / unit

    return Rates(
        prompt=per(_MILLION, "input_mtok"),
        cached=per(_MILLION, "cache_read_mtok"),
        cache_write=per(_MILLION, "cache_write_mtok"),
        audio_prompt=per(_MILLION, "input_audio_mtok"),
        image_prompt=per(_MILLION, "input_image_mtok"),
        completion=per(_MILLION, "output_mtok"),
        audio_completion=per(_MILLION, "output_audio_mtok"),
        character=per(_MILLION, "input_mchars"),
        millisecond=per(_HOUR_MS, "audio_hours", "input_audio_hours"),
    )


def _tier_price(price: Decimal | TieredPrices, start: int) -> Decimal:
    """Return the price of the highest tier begun; it holds for all of a request's tokens, not for those above."""
    if isinstance(price, Decimal):
        return price
    return ([price.base] + [tier.price for tier in price.tiers if tier.start <= start])[-1]


def _start(context_tier: str) -> int | None:
    """Return the prompt length above which the tier begins, 0 for the first; None for a tier that nobody defined."""
    digits = context_tier.removeprefix(_TIER_PREFIX)
    if not context_tier:
        return 0
    return int(digits) if digits != context_tier and digits.isascii() and digits.isdecimal() else None


def _applies(variant: PriceVariant, context: dict[str, str], day: date) -> bool:
    active = variant.constraint is None or variant.constraint.active(_noon(day))
    return active and variant.when == context


def _noon(day: date) -> datetime:
    # Prices begin on days. Those that change with the hour are no Azure prices.
    return datetime.combine(day, time(12), UTC)
