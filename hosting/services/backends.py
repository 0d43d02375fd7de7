"""The way to the catalog's backends: connections, access tokens, and which of them are to be left alone."""

import random
from dataclasses import dataclass

from gateway.catalog.catalog import Catalog, ManagedIdentity
from gateway.observer import Observer
from gateway.routing.breaker import BreakerRules
from gateway.routing.pool import Pool
from gateway.routing.shared_cooldowns import SharedCooldowns
from gateway.upstream.http11 import Http11Upstream
from gateway.upstream.upstream import Upstream
from hosting.identity import EntraTokenSource
from hosting.services.site import Site
from seams.tables import Tables
from seams.tokens import TokenSource, TokenUnavailable


@dataclass(frozen=True, slots=True)
class Backends:
    """`tokens` is what managed identity proves itself to them with."""

    pool: Pool
    upstream: Upstream
    tokens: TokenSource
    cooldowns: SharedCooldowns


def build_backends(site: Site, catalog: Catalog, tables: Tables, observer: Observer) -> Backends:
    """Return the parts; nothing is connected to."""
    settings = site.settings
    pool = Pool(random.random, BreakerRules(), settings.first_byte_timeout_seconds, observer)
    tokens = site.owned(_tokens(site, catalog))
    upstream = site.owned(Http11Upstream(settings.connect_timeout_seconds))
    return Backends(pool, upstream, tokens, site.owned(SharedCooldowns(tables, pool, site.clock)))


def _tokens(site: Site, catalog: Catalog) -> TokenSource:
    if any(isinstance(backend.auth, ManagedIdentity) for backend in catalog.backends.values()):
        return EntraTokenSource(site.identity(), site.settings.token_scope, site.clock)
    return _NoTokens()


class _NoTokens:
    """For a catalog whose backends are all reached by keys or by callers' tokens."""

    async def token(self) -> str:
        raise TokenUnavailable("no backend is reached by managed identity")

    async def close(self) -> None:
        return
