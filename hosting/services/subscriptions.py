"""Who may call: subscriptions in the catalog and the table, their keys, and access tokens of Entra ID."""

import os
from dataclasses import dataclass

from gateway.catalog.catalog import Catalog
from gateway.errors import SubscriptionNotFound
from gateway.identity.callers import Callers
from gateway.identity.entra import EntraRules, EntraTokens
from gateway.identity.key_ring import KeyRing
from gateway.subscriptions.directory import DirectoryRules, StoredDirectory
from gateway.subscriptions.register import SubscriptionRegister
from gateway.subscriptions.store import SubscriptionStore
from gateway.upstream.http11 import Http11Upstream
from hosting.services.site import Site
from hosting.settings import WrongSettings
from seams.tables import Tables


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """`callers` tells who calls; `register` is what operators manage."""

    callers: Callers
    register: SubscriptionRegister

    async def known(self, name: str) -> bool:
        """Tell whether there is such a subscription. Raises GatewayError where the table does not answer."""
        try:
            await self.register.show(name)
        except SubscriptionNotFound:
            return False
        return True


def build_subscriptions(site: Site, catalog: Catalog, tables: Tables) -> Subscriptions:
    """Return the parts; nothing is connected to. Raises WrongSettings."""
    settings, clock = site.settings, site.clock
    store = SubscriptionStore(tables)
    rules = DirectoryRules(settings.subscription_ttl_seconds, settings.subscription_grace_seconds)
    directory = site.owned(StoredDirectory(catalog, store, clock, rules))
    return Subscriptions(
        Callers(directory, _access_tokens(site)), SubscriptionRegister(catalog, store, directory, clock, os.urandom)
    )


def _access_tokens(site: Site) -> EntraTokens | None:
    settings = site.settings
    if not (settings.entra_tenant_id or settings.entra_audience):
        return None
    if not (settings.entra_tenant_id and settings.entra_audience):
        raise WrongSettings("Set ENTRA_TENANT_ID and ENTRA_AUDIENCE, or neither: one says nothing without the other.")
    try:
        rules = EntraRules.of(settings.entra_authority, settings.entra_tenant_id, settings.entra_audience)
    except ValueError as error:
        raise WrongSettings(f"Callers' access tokens cannot be checked: {error}.") from error
    upstream = site.owned(Http11Upstream(settings.connect_timeout_seconds))
    keys = site.owned(KeyRing(rules.authority, rules.tenant, upstream, site.clock))
    return EntraTokens(rules, keys, site.clock)
