"""How usage events leave the gateway: to the hub, else to the outbox, from which they follow later."""

import os
from dataclasses import dataclass

from gateway.observer import Observer
from gateway.publishing.delivery import Delivery
from gateway.publishing.outbox import Outbox
from gateway.publishing.publisher import UsagePublisher
from gateway.publishing.republisher import Republisher
from hosting.services.site import Site
from seams.events import EventStream
from seams.tables import Tables


@dataclass(frozen=True, slots=True)
class Publishing:
    publisher: UsagePublisher
    delivery: Delivery
    republisher: Republisher


def build_publishing(site: Site, tables: Tables, stream: EventStream, observer: Observer) -> Publishing:
    """Return the parts; `stream` is the hub of usage events. Nothing is connected to."""
    settings = site.settings
    outbox = Outbox(tables, site.clock, os.urandom(6).hex())
    delivery = Delivery(stream, outbox, observer)
    return Publishing(
        UsagePublisher(delivery, intents=settings.usage_intents, keys=settings.usage_keys),
        delivery,
        Republisher(outbox, stream, site.clock, observer),
    )
