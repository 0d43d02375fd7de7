"""The catalog that the settings name, checked."""

import hashlib
import os

from gateway.catalog.catalog import Catalog
from gateway.catalog.catalog_file import load_catalog
from hosting.settings import DEMO_CATALOG, Settings, WrongSettings

DEMO_KEYS = ("demo-service-desk", "demo-data-science", "demo-operator")


def open_catalog(settings: Settings) -> Catalog:
    """Return the catalog; the demo's where none is named, which Azure refuses. Raises CatalogError, WrongSettings."""
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
