"""The gateway as this app's settings make it."""

import os
import random

from chargeback.prices import Prices
from gateway.answers.relay import Relay, StreamRules
from gateway.attempts.dispatch import Dispatcher, DispatchRules
from gateway.cache.cache import Cache
from gateway.cache.embeddings import Embeddings
from gateway.cache.kept_rows import KeptRows
from gateway.catalog.catalog import Catalog
from gateway.identity.callers import Callers
from gateway.limits.limiter import Limiter
from gateway.limits.sharing import Sharing
from gateway.metering.background import BackgroundBills
from gateway.metering.metering import Meter
from gateway.metering.open_responses import OpenResponses
from gateway.observer import Observer
from gateway.publishing.publisher import UsagePublisher
from gateway.requests.bodies import BodyRules
from gateway.requests.intake import Intake
from gateway.routes import Gateway
from gateway.routing.affinity import Affinity
from gateway.safety.content_safety import ContentSafety
from gateway.safety.prompt_log import PromptLog
from gateway.safety.shield import PromptShield
from gateway.upstream.http11 import Http11Upstream
from hosting.identity import EntraTokenSource
from hosting.services.backends import Backends
from hosting.services.charges import RollupCharges, StatementPricing
from hosting.services.site import Site
from hosting.settings import Settings
from seams.tables import Tables
from seams.tokens import TokenSource


def build_gateway(
    site: Site,
    catalog: Catalog,
    tables: Tables,
    *,
    callers: Callers,
    backends: Backends,
    limiter: Limiter,
    meter: Meter,
    prompt_log: PromptLog,
    observer: Observer,
) -> Gateway:
    """Return the gateway; nothing is connected to."""
    settings, clock = site.settings, site.clock
    affinity = Affinity(tables, site.clock)
    bodies = BodyRules(settings.max_body_bytes, settings.body_timeout_seconds, settings.upload_spool_bytes)
    return Gateway(
        catalog,
        callers,
        intake=Intake(catalog, affinity, clock, bodies),
        dispatcher=_dispatcher(site, backends, meter, observer),
        relay=Relay(StreamRules(settings.idle_timeout_seconds, settings.heartbeat_seconds), affinity.learn),
        meter=meter,
        affinity=affinity,
        limiter=limiter,
        cache=site.owned(Cache(KeptRows(tables, clock), Embeddings(), clock)),
        responses=OpenResponses(tables, clock),
        shield=PromptShield(_content_safety(site)),
        prompt_log=prompt_log,
        observer=observer,
    )


def build_background_bills(
    site: Site, catalog: Catalog, tables: Tables, backends: Backends, publisher: UsagePublisher
) -> BackgroundBills:
    return BackgroundBills(
        OpenResponses(tables, site.clock),
        catalog,
        backends.upstream,
        tokens=backends.tokens,
        publisher=publisher,
        clock=site.clock,
    )


def build_limiter(site: Site, tables: Tables, prices: Prices) -> Limiter:
    """Return what holds subscriptions to their limits, with money counted as their statements will."""
    charges = RollupCharges(tables, prices, site.clock)
    sharing = Sharing(tables, site.clock, charges, instance=os.urandom(6).hex(), random=random.random)
    return site.owned(Limiter(site.clock, StatementPricing(prices), sharing))


def _dispatcher(site: Site, backends: Backends, meter: Meter, observer: Observer) -> Dispatcher:
    return Dispatcher(
        backends.pool,
        backends.upstream,
        backends.cooldowns,
        tokens=backends.tokens,
        clock=site.clock,
        rules=_dispatch_rules(site.settings),
        random=random.random,
        announce=meter.announce,
        observer=observer,
    )


def _dispatch_rules(settings: Settings) -> DispatchRules:
    return DispatchRules(
        attempts=settings.max_attempts,
        first_byte=settings.first_byte_timeout_seconds,
        deadline=settings.deadline_seconds,
        wait=settings.recovery_wait_seconds,
    )


def _content_safety(site: Site) -> ContentSafety | None:
    settings = site.settings
    if not settings.content_safety_endpoint:
        return None
    upstream = site.owned(Http11Upstream(settings.connect_timeout_seconds))
    credential: str | TokenSource = settings.content_safety_key
    if not credential:
        credential = site.owned(EntraTokenSource(site.identity(), settings.token_scope, site.clock))
    endpoint = settings.content_safety_endpoint.rstrip("/")
    return ContentSafety(upstream, endpoint, credential, settings.content_safety_timeout_seconds)
