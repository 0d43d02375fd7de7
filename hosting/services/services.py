"""The composition root: everything that the app is made of, built from its settings in one place.

Building connects to nothing. The catalog and the settings are checked here, so that a wrong one stops the start.
"""

import hashlib
import os
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from chargeback.prices import Prices
from enrichment.enricher import Enricher
from enrichment.jobs.destinations import Destinations
from gateway.answers.relay import Relay, StreamRules
from gateway.attempts.dispatch import Dispatcher, DispatchRules
from gateway.cache.cache import Cache
from gateway.cache.embeddings import Embeddings
from gateway.cache.kept_rows import KeptRows
from gateway.catalog.catalog import Catalog, ManagedIdentity
from gateway.catalog.catalog_file import load_catalog
from gateway.identity.callers import Callers
from gateway.identity.entra import EntraRules, EntraTokens
from gateway.identity.key_ring import KeyRing
from gateway.limits.limiter import Limiter
from gateway.limits.sharing import Sharing
from gateway.metering.background import BackgroundBills
from gateway.metering.metering import Meter
from gateway.metering.open_responses import OpenResponses
from gateway.metering.tokens import VOCABULARIES, TokenCounter
from gateway.publishing.delivery import Delivery
from gateway.publishing.outbox import Outbox
from gateway.publishing.publisher import UsagePublisher
from gateway.publishing.republisher import Republisher
from gateway.requests.bodies import BodyRules
from gateway.requests.intake import Intake
from gateway.routes import Gateway
from gateway.routing.affinity import Affinity
from gateway.routing.breaker import BreakerRules
from gateway.routing.pool import Pool
from gateway.routing.shared_cooldowns import SharedCooldowns
from gateway.safety.content_safety import ContentSafety
from gateway.safety.prompt_log import PromptLog
from gateway.safety.shield import PromptShield
from gateway.subscriptions.directory import DirectoryRules, StoredDirectory
from gateway.subscriptions.register import SubscriptionRegister
from gateway.subscriptions.store import SubscriptionStore
from gateway.upstream.http11 import Http11Upstream
from hosting.identity import EntraTokenSource
from hosting.monitoring.log_levels import set_log_levels
from hosting.monitoring.monitoring import Monitoring, Watched, Watchers
from hosting.outbound import AiohttpOutbound
from hosting.services.books import Books, build_books
from hosting.services.charges import RollupCharges, StatementPricing
from hosting.services.enrichers import build_enricher
from hosting.services.jobs import Jobs, JobSeams, NamedCallers, build_jobs
from hosting.services.models import Models
from hosting.services.seams import Seams, open_seams
from hosting.services.site import Site
from hosting.settings import DEMO_CATALOG, Settings, WrongSettings
from seams.clock import Clock, SystemClock
from seams.events import EventStream
from seams.tables import Tables
from seams.tokens import TokenSource, TokenUnavailable

DEMO_KEYS = ("demo-service-desk", "demo-data-science", "demo-operator")


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    catalog: Catalog
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
    return _Builder(settings, clock or SystemClock()).services()


class _Builder:
    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._site = Site(settings, clock)
        self._settings = settings
        self._clock = clock
        self._closing = self._site.closing
        self._watchers = Watchers.of(settings, clock)
        self._observer = self._watchers.observers

    def services(self) -> Services:
        settings = self._settings
        catalog = _catalog(settings)
        seams, stream = self._open()
        counter = self._counter()
        store = SubscriptionStore(seams.tables)
        directory = self._directory(catalog, store)
        callers = Callers(directory, self._callers_tokens())
        prices = Prices()
        outbox, delivery, publisher = self._publishing(seams.tables, stream)
        meter = Meter(counter, publisher, self._clock, self._observer)
        pool = Pool(random.random, BreakerRules(), settings.first_byte_timeout_seconds, self._observer)
        prompt_log = PromptLog(seams.stream(settings.prompt_hub), self._clock)
        monitoring = self._monitoring(
            Watched(catalog, pool, publisher, delivery, seams.tables, counter, prices, prompt_log)
        )
        cooldowns = SharedCooldowns(seams.tables, pool, self._clock)
        upstream, tokens = self._reach(catalog)
        responses = OpenResponses(seams.tables, self._clock)
        gateway = self._gateway(
            catalog,
            callers,
            seams.tables,
            meter=meter,
            dispatcher=self._dispatcher(pool, upstream, tokens, cooldowns, meter),
            limiter=self._limiter(seams.tables, prices),
            responses=responses,
            prompt_log=prompt_log,
        )
        bills = BackgroundBills(responses, catalog, upstream, tokens=tokens, publisher=publisher, clock=self._clock)
        register = SubscriptionRegister(catalog, store, directory, self._clock, os.urandom)
        models = Models(gateway=gateway)
        enricher = build_enricher(settings, catalog, prices, self._clock)
        return Services(
            settings=settings,
            catalog=catalog,
            callers=callers,
            register=register,
            gateway=gateway,
            models=models,
            enricher=enricher,
            jobs=self._jobs(seams, callers, NamedCallers(register, models), enricher),
            republisher=Republisher(outbox, stream, self._clock, self._observer),
            background_bills=bills,
            books=build_books(settings, seams.tables, stream, self._clock, prices=prices, register=register),
            counter=counter,
            cooldowns=cooldowns,
            monitoring=monitoring,
            closing=self._closing,
        )

    def _open(self) -> tuple[Seams, EventStream]:
        """Return the seams, and the stream of usage events."""
        seams = open_seams(self._site)
        stream = seams.stream(self._settings.usage_hub)
        self._closing.push_async_callback(seams.tables.close)
        self._closing.push_async_callback(stream.close)
        return seams, stream

    def _publishing(self, tables: Tables, stream: EventStream) -> tuple[Outbox, Delivery, UsagePublisher]:
        outbox = Outbox(tables, self._clock, os.urandom(6).hex())
        delivery = Delivery(stream, outbox, self._observer)
        settings = self._settings
        return outbox, delivery, UsagePublisher(delivery, intents=settings.usage_intents, keys=settings.usage_keys)

    def _counter(self) -> TokenCounter:
        # One folder for our check and for tiktoken, which would download what it does not find in its own.
        folder = os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(VOCABULARIES))
        counter = TokenCounter(Path(folder))
        self._closing.callback(counter.close)
        return counter

    def _jobs(self, seams: Seams, callers: Callers, named: NamedCallers, enricher: Enricher) -> Jobs:
        settings = self._settings
        try:
            destinations = Destinations.of(settings.callback_hosts, settings.callback_secrets, os.environ.get)
        except ValueError as error:
            raise WrongSettings(f"CALLBACK_HOSTS or CALLBACK_SECRETS cannot be read: {error}.") from error
        if settings.on_azure and destinations.loopback:
            raise WrongSettings("CALLBACK_HOSTS names this machine, which is for tests: on Azure name https hosts.")
        stream, outbound = seams.stream(settings.jobs_hub), AiohttpOutbound(seconds=settings.callback_timeout_seconds)
        self._closing.push_async_callback(stream.close)
        self._closing.push_async_callback(outbound.close)
        outer = JobSeams(seams.tables, stream, outbound, self._clock)
        return build_jobs(settings, outer, destinations, enricher=enricher, callers=named, holders=callers)

    def _monitoring(self, watched: Watched) -> Monitoring:
        monitoring = Monitoring(self._settings, self._clock, self._watchers, watched)
        self._closing.push_async_callback(monitoring.close)
        return monitoring

    def _directory(self, catalog: Catalog, store: SubscriptionStore) -> StoredDirectory:
        settings = self._settings
        rules = DirectoryRules(settings.subscription_ttl_seconds, settings.subscription_grace_seconds)
        directory = StoredDirectory(catalog, store, self._clock, rules)
        self._closing.push_async_callback(directory.close)
        return directory

    def _callers_tokens(self) -> EntraTokens | None:
        settings = self._settings
        if not (settings.entra_tenant_id or settings.entra_audience):
            return None
        if not (settings.entra_tenant_id and settings.entra_audience):
            raise WrongSettings(
                "Set ENTRA_TENANT_ID and ENTRA_AUDIENCE, or neither: one says nothing without the other."
            )
        try:
            rules = EntraRules.of(settings.entra_authority, settings.entra_tenant_id, settings.entra_audience)
        except ValueError as error:
            raise WrongSettings(f"Callers' access tokens cannot be checked: {error}.") from error
        upstream = Http11Upstream(settings.connect_timeout_seconds)
        keys = KeyRing(rules.authority, rules.tenant, upstream, self._clock)
        self._closing.push_async_callback(upstream.close)
        self._closing.push_async_callback(keys.close)
        return EntraTokens(rules, keys, self._clock)

    def _reach(self, catalog: Catalog) -> tuple[Http11Upstream, TokenSource]:
        """Return how backends are reached, and what managed identity proves itself to them with."""
        upstream = Http11Upstream(self._settings.connect_timeout_seconds)
        tokens = self._tokens(catalog)
        self._closing.push_async_callback(tokens.close)
        self._closing.push_async_callback(upstream.close)
        return upstream, tokens

    def _dispatcher(
        self, pool: Pool, upstream: Http11Upstream, tokens: TokenSource, cooldowns: SharedCooldowns, meter: Meter
    ) -> Dispatcher:
        settings = self._settings
        self._closing.push_async_callback(cooldowns.close)
        return Dispatcher(
            pool,
            upstream,
            cooldowns,
            tokens=tokens,
            clock=self._clock,
            rules=DispatchRules(
                attempts=settings.max_attempts,
                first_byte=settings.first_byte_timeout_seconds,
                deadline=settings.deadline_seconds,
                wait=settings.recovery_wait_seconds,
            ),
            random=random.random,
            announce=meter.announce,
            observer=self._observer,
        )

    def _gateway(
        self,
        catalog: Catalog,
        callers: Callers,
        tables: Tables,
        *,
        meter: Meter,
        dispatcher: Dispatcher,
        limiter: Limiter,
        responses: OpenResponses,
        prompt_log: PromptLog,
    ) -> Gateway:
        settings = self._settings
        affinity = Affinity(tables)
        cache = Cache(KeptRows(tables, self._clock), Embeddings(), self._clock)
        self._closing.push_async_callback(limiter.close)
        self._closing.push_async_callback(meter.close)
        self._closing.push_async_callback(cache.close)
        self._closing.push_async_callback(prompt_log.close)
        bodies = BodyRules(settings.max_body_bytes, settings.body_timeout_seconds, settings.upload_spool_bytes)
        return Gateway(
            catalog,
            callers,
            intake=Intake(catalog, affinity, self._clock, bodies),
            dispatcher=dispatcher,
            relay=Relay(StreamRules(settings.idle_timeout_seconds, settings.heartbeat_seconds), affinity.learn),
            meter=meter,
            affinity=affinity,
            limiter=limiter,
            cache=cache,
            responses=responses,
            shield=PromptShield(self._content_safety()),
            prompt_log=prompt_log,
            observer=self._observer,
        )

    def _limiter(self, tables: Tables, prices: Prices) -> Limiter:
        charges = RollupCharges(tables, prices, self._clock)
        sharing = Sharing(tables, self._clock, charges, instance=os.urandom(6).hex(), random=random.random)
        return Limiter(self._clock, StatementPricing(prices), sharing)

    def _content_safety(self) -> ContentSafety | None:
        settings = self._settings
        if not settings.content_safety_endpoint:
            return None
        upstream = Http11Upstream(settings.connect_timeout_seconds)
        self._closing.push_async_callback(upstream.close)
        credential: str | TokenSource = settings.content_safety_key
        if not credential:
            credential = EntraTokenSource(self._site.identity(), settings.token_scope, self._clock)
            self._closing.push_async_callback(credential.close)
        endpoint = settings.content_safety_endpoint.rstrip("/")
        return ContentSafety(upstream, endpoint, credential, settings.content_safety_timeout_seconds)

    def _tokens(self, catalog: Catalog) -> TokenSource:
        if any(isinstance(backend.auth, ManagedIdentity) for backend in catalog.backends.values()):
            return EntraTokenSource(self._site.identity(), self._settings.token_scope, self._clock)
        return _NoTokens()


class _NoTokens:
    """For a catalog whose backends are all reached by keys or by callers' tokens."""

    async def token(self) -> str:
        raise TokenUnavailable("no backend is reached by managed identity")

    async def close(self) -> None:
        return


def _catalog(settings: Settings) -> Catalog:
    source = settings.gateway_catalog
    if not source:
        if settings.on_azure or not DEMO_CATALOG.exists():
            raise WrongSettings("Set GATEWAY_CATALOG: the path of the catalog, or the catalog itself as JSON.")
        source = str(DEMO_CATALOG)
    catalog = load_catalog(source, os.environ.get)
    if settings.on_azure:
        _refuse_demo_keys(catalog)
    return catalog


def _refuse_demo_keys(catalog: Catalog) -> None:
    demo = {hashlib.sha256(key.encode()).digest() for key in DEMO_KEYS}
    held = set(catalog.operator_digests)
    for subscription in catalog.subscriptions.values():
        held.update(subscription.key_digests)
    if held & demo:
        raise WrongSettings(
            "The catalog holds a demo key, which everybody knows: on Azure the app does not start with it."
        )
