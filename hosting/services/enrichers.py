"""Enrichment as this app's settings make it, and what its model calls cost as the statement will price them."""

from decimal import Decimal

from chargeback.prices import Prices
from enrichment.calls.calls import ModelCall
from enrichment.enricher import Enricher, EnricherRules
from enrichment.suggestions.priorities import PriorityMatrix
from enrichment.suggestions.triage import TriageRules
from gateway.answers.reports import split_version
from gateway.catalog.catalog import Catalog
from gateway.usage import Meters
from hosting.services.charges import StatementPricing
from hosting.settings import Settings
from seams.clock import Clock


def build_enricher(settings: Settings, catalog: Catalog, prices: Prices, clock: Clock) -> Enricher:
    rules = EnricherRules(
        deployment=settings.enrichment_deployment,
        embeddings=settings.enrichment_embeddings,
        parallel_calls=settings.enrichment_parallel_calls,
        triage=TriageRules(settings.enrichment_apply_at, PriorityMatrix.parsed(settings.priority_matrix)),
    )
    return Enricher(rules, CallCosts(StatementPricing(prices), catalog, clock))


class CallCosts:
    def __init__(self, pricing: StatementPricing, catalog: Catalog, clock: Clock) -> None:
        self._pricing = pricing
        self._catalog = catalog
        self._clock = clock

    def cost(self, call: ModelCall) -> Decimal | None:
        """Return US dollars; None where there is no price, or the backend is not in the catalog."""
        if call.replayed:
            return Decimal(0)
        backend = self._catalog.backends.get(call.backend)
        if backend is None:
            return None
        model, version = split_version(call.model)
        meters = Meters(
            prompt_tokens=call.prompt_tokens,
            cached_tokens=call.cached_tokens,
            completion_tokens=call.completion_tokens,
        )
        return self._pricing.amount(
            model,
            self._clock.now().date(),
            meters,
            model_version=version,
            deployment_type=backend.deployment_type,
            service_tier="",
        )
