"""Jobs put together: what enrichment needs of the subscriptions, the tables, the hub and the network."""

import os
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from enrichment.caller import TicketCaller
from enrichment.enricher import Enricher
from enrichment.jobs.batches import JobBatches
from enrichment.jobs.callback import CallbackCheck
from enrichment.jobs.credentials import Credentials
from enrichment.jobs.deadletters import JobDeadLetters
from enrichment.jobs.deliveries import Deliveries, DeliveryRules
from enrichment.jobs.desk import JobDesk
from enrichment.jobs.destinations import Destinations
from enrichment.jobs.enriching import Answering
from enrichment.jobs.events import JobEvents
from enrichment.jobs.observer import JobObserver
from enrichment.jobs.once import Once
from enrichment.jobs.oversight import Oversight
from enrichment.jobs.queue import JobQueue
from enrichment.jobs.reminders import Reminders
from enrichment.jobs.runner import JobRules, Runner
from enrichment.jobs.store import JobStore
from enrichment.jobs.sweep import Sweep
from enrichment.jobs.work import Enriching, SubscriptionUnknown
from gateway.errors import GatewayError, SubscriptionNotFound
from gateway.identity.callers import Caller, Callers
from gateway.subscriptions.register import SubscriptionRegister
from gateway.subscriptions.store import StoredSubscription
from hosting.outbound import AiohttpOutbound
from hosting.services.models import Models
from hosting.services.seams import Seams
from hosting.services.site import Site
from hosting.services.subscriptions import Subscriptions
from hosting.settings import Settings, WrongSettings
from seams.tables import TableUnavailable


@dataclass(frozen=True, slots=True)
class Jobs:
    """What the routes and the functions use."""

    desk: JobDesk
    answering: Answering
    batches: JobBatches
    sweep: Sweep
    oversight: Oversight


def build_jobs(
    site: Site,
    seams: Seams,
    subscriptions: Subscriptions,
    models: Models,
    *,
    enricher: Enricher,
    observer: JobObserver,
) -> Jobs:
    """Return the parts; nothing is connected to. Raises WrongSettings."""
    settings, clock, rules = site.settings, site.clock, _rules(site.settings)
    store, reminders = JobStore(seams.tables), Reminders(seams.tables)
    dead_letters = JobDeadLetters(seams.tables, observer)
    queue = JobQueue(site.owned(seams.stream(settings.jobs_hub)))
    callbacks, deliveries = _callbacks(site, store, observer)
    runner = Runner(
        store,
        reminders,
        dead_letters,
        work=Enriching(enricher, NamedCallers(subscriptions.register, models), rules.work_seconds),
        deliveries=deliveries,
        clock=clock,
        owner=_draw,
        random=random.random,
        rules=rules,
        observer=observer,
    )
    desk = JobDesk(store, reminders, queue, callbacks, clock=clock, new_id=_draw, rules=rules, observer=observer)
    once = Once(
        store, desk, runner, clock=clock, owner=_draw, wait=settings.sync_seconds, goes_on=settings.http_streams
    )
    events = JobEvents(CallersByKey(subscriptions.callers), trusted=settings.jobs_trusted_producers)
    return Jobs(
        desk,
        Answering(desk, once, rules.work_seconds),
        JobBatches(events, desk, runner, dead_letters, clock=clock, at_once=settings.jobs_at_once),
        Sweep(store, reminders, queue, deliveries, clock=clock, rules=rules),
        Oversight(store, reminders, dead_letters, queue, events, clock=clock, rules=rules, observer=observer),
    )


class NamedCallers:
    """TicketCallers by the register of subscriptions: what a job's owner may do is looked up as the job runs."""

    def __init__(self, register: SubscriptionRegister, models: Models) -> None:
        self._register = register
        self._models = models

    def named(self, subscription: str) -> AbstractAsyncContextManager[TicketCaller]:
        return self._opened(subscription)

    @asynccontextmanager
    async def _opened(self, name: str) -> AsyncIterator[TicketCaller]:
        try:
            found = await self._register.show(name)
        except SubscriptionNotFound as error:
            raise SubscriptionUnknown(name) from error
        subscription = found.subscription() if isinstance(found, StoredSubscription) else found
        async with self._models.for_caller(Caller(subscription)) as models:
            yield TicketCaller(name, models, placeholders=subscription.hide_personal_data)


class CallersByKey:
    """KeyHolders by the gateway's own look-up of keys."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    async def holder(self, key: str) -> str | None:
        try:
            caller = await self._callers.identify([(b"api-key", key.encode())])
        except GatewayError as error:
            if error.status >= 500:
                raise TableUnavailable(error.message) from error
            return None
        return caller.subscription.name if caller.subscription else None


def _callbacks(site: Site, store: JobStore, observer: JobObserver) -> tuple[CallbackCheck, Deliveries]:
    settings, destinations = site.settings, _destinations(site.settings)
    outbound = site.owned(AiohttpOutbound(seconds=settings.callback_timeout_seconds))
    credentials = Credentials(destinations, outbound, site.clock)
    deliveries = Deliveries(
        store,
        destinations,
        credentials,
        outbound,
        signing_key=settings.callback_signing_key,
        clock=site.clock,
        random=random.random,
        rules=_delivery_rules(settings),
        observer=observer,
    )
    return CallbackCheck(destinations, credentials), deliveries


def _destinations(settings: Settings) -> Destinations:
    try:
        destinations = Destinations.of(settings.callback_hosts, settings.callback_secrets, os.environ.get)
    except ValueError as error:
        raise WrongSettings(f"CALLBACK_HOSTS or CALLBACK_SECRETS cannot be read: {error}.") from error
    if settings.on_azure and destinations.loopback:
        raise WrongSettings("CALLBACK_HOSTS names this machine, which is for tests: on Azure name https hosts.")
    return destinations


def _rules(settings: Settings) -> JobRules:
    return JobRules(
        lease=timedelta(seconds=settings.job_lease_seconds), kept=timedelta(days=settings.job_retention_days)
    )


def _delivery_rules(settings: Settings) -> DeliveryRules:
    # A delivery takes three requests at most: for a token, for the journal, and the one that matters.
    return DeliveryRules(held=timedelta(seconds=3 * settings.callback_timeout_seconds + 2))


def _draw() -> str:
    return os.urandom(16).hex()
