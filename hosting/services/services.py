"""The composition root: everything that the app is made of, built from its settings in one place.

Building connects to nothing. The catalog and the settings are checked here, so that a wrong one stops the start.
"""

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from chargeback.prices import Prices
from enrichment.enricher import Enricher
from gateway.identity.callers import Callers
from gateway.metering.background import BackgroundBills
from gateway.metering.metering import Meter
from gateway.metering.tokens import VOCABULARIES, TokenCounter
from gateway.publishing.republisher import Republisher
from gateway.routes import Gateway
from gateway.routing.shared_cooldowns import SharedCooldowns
from gateway.safety.prompt_log import PromptLog
from gateway.subscriptions.register import SubscriptionRegister
from hosting.monitoring.log_levels import set_log_levels
from hosting.monitoring.monitoring import Monitoring, Watched, Watchers
from hosting.services.backends import build_backends
from hosting.services.books import Books, build_books
from hosting.services.catalog import open_catalog
from hosting.services.enrichers import build_enricher
from hosting.services.gateway import build_background_bills, build_gateway, build_limiter
from hosting.services.jobs import Jobs, build_jobs
from hosting.services.models import Models
from hosting.services.publishing import build_publishing
from hosting.services.seams import open_seams
from hosting.services.site import Site
from hosting.services.subscriptions import build_subscriptions
from hosting.settings import Settings
from seams.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class Services:
    callers: Callers
    register: SubscriptionRegister
    gateway: Gateway
    models: Models
    enricher: Enricher
    jobs: Jobs
    republisher: Republisher
    background_bills: BackgroundBills
    books: Books
    counter: TokenCounter
    cooldowns: SharedCooldowns
    monitoring: Monitoring
    closing: AsyncExitStack

    async def close(self) -> None:
        """Wait for usage events under way, then let go of connections; never called on Azure."""
        await self.closing.aclose()


def build_services(settings: Settings, clock: Clock | None = None) -> Services:
    """Return the app's parts; sets the levels of loggers. Raises CatalogError and WrongSettings."""
    set_log_levels(settings.log_level)
    site = Site(settings, clock or SystemClock())
    watchers = Watchers.of(settings, site.clock)
    observer = watchers.observers
    catalog, prices = open_catalog(settings), Prices()
    seams = open_seams(site)
    tables, stream = site.owned(seams.tables), site.owned(seams.stream(settings.usage_hub))
    counter = _counter(site)
    subscriptions = build_subscriptions(site, catalog, tables)
    publishing = build_publishing(site, tables, stream, observer)
    prompt_log = site.owned(PromptLog(seams.stream(settings.prompt_hub), site.clock))
    backends = build_backends(site, catalog, tables, observer)
    watched = Watched(
        catalog, backends.pool, publishing.publisher, publishing.delivery, tables, counter, prices, prompt_log
    )
    monitoring = site.owned(Monitoring(settings, site.clock, watchers, watched))
    gateway = build_gateway(
        site,
        catalog,
        tables,
        callers=subscriptions.callers,
        backends=backends,
        limiter=build_limiter(site, tables, prices),
        meter=site.owned(Meter(counter, publishing.publisher, site.clock, observer)),
        prompt_log=prompt_log,
        observer=observer,
    )
    models = Models(gateway=gateway)
    enricher = build_enricher(settings, catalog, prices, site.clock)
    return Services(
        callers=subscriptions.callers,
        register=subscriptions.register,
        gateway=gateway,
        models=models,
        enricher=enricher,
        jobs=build_jobs(site, seams, subscriptions, models, enricher=enricher, observer=watchers.jobs),
        republisher=publishing.republisher,
        background_bills=build_background_bills(site, catalog, tables, backends, publishing.publisher),
        books=build_books(site, tables, stream, prices, subscriptions),
        counter=counter,
        cooldowns=backends.cooldowns,
        monitoring=monitoring,
        closing=site.closing,
    )


def _counter(site: Site) -> TokenCounter:
    # One folder for our check and for tiktoken, which would download what it does not find in its own.
    folder = os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(VOCABULARIES))
    counter = TokenCounter(Path(folder))
    site.closing.callback(counter.close)
    return counter
