"""Where rows and events live: Azure's tables and event hubs, or what stands in for them on one machine."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hosting.eventhubs.events import EventHubStream
from hosting.services.site import Site
from hosting.settings import WrongSettings
from hosting.tables import AzureTables
from seams.events import EventStream
from seams.tables import Tables


@dataclass(frozen=True, slots=True)
class Seams:
    """Where rows and events live. `stream` opens an event hub by its name."""

    tables: Tables
    stream: Callable[[str], EventStream]


def open_seams(site: Site) -> Seams:
    """Return Azure's, or those that TOLLGATE_SEAMS names. Connects to nothing. Raises WrongSettings."""
    if site.settings.seams:
        module, _, function = site.settings.seams.partition(":")
        opened: Seams = getattr(importlib.import_module(module), function)(site.settings)
        return opened
    return Seams(_tables(site), partial(_stream, site))


def _tables(site: Site) -> Tables:
    settings = site.settings
    if settings.storage_account:
        return AzureTables.by_identity(settings.storage_account, site.identity())
    if settings.storage_connection:
        return _checked("AzureWebJobsStorage", lambda: AzureTables.by_connection_string(settings.storage_connection))
    raise WrongSettings("Set AzureWebJobsStorage or AzureWebJobsStorage__accountName: the ledger's tables live there.")


def _stream(site: Site, hub: str) -> EventStream:
    settings, clock, timeout = site.settings, site.clock, site.settings.publish_timeout_seconds
    if settings.eventhub_namespace:
        return EventHubStream.by_identity(
            settings.eventhub_namespace, site.identity(), hub, timeout_seconds=timeout, clock=clock
        )
    if settings.eventhub_connection:
        return _checked(
            "EVENTHUB",
            lambda: EventHubStream.by_connection_string(
                settings.eventhub_connection, hub, timeout_seconds=timeout, clock=clock
            ),
        )
    raise WrongSettings("Set EVENTHUB or EVENTHUB__fullyQualifiedNamespace: usage events go there.")


def _checked[T](setting: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except ValueError as error:
        raise WrongSettings(f"The setting {setting} is not a connection string that can be used: {error}") from error
