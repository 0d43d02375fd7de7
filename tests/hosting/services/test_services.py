"""The composition root on the settings of a deployed app, which is reached and reaches others by identity."""

import json

import pytest
from azure.core.credentials import AccessToken

from hosting.eventhubs.events import EventHubStream
from hosting.services import site
from hosting.services.seams import open_seams
from hosting.services.services import build_services
from hosting.services.site import Site
from hosting.settings import Settings
from hosting.tables import AzureTables
from seams.clock import SystemClock

CATALOG = {
    "backends": {"eastus": {"endpoint": "https://contoso-eastus.openai.azure.com"}},
    "deployments": {"gpt-4o": {"model": "gpt-4o", "pool": [{"backend": "eastus"}]}},
}
DEPLOYED = {
    "gateway_catalog": json.dumps(CATALOG),
    "WEBSITE_SITE_NAME": "contoso",
    "AzureWebJobsStorage__accountName": "contoso",
    "EVENTHUB__fullyQualifiedNamespace": "contoso.servicebus.windows.net",
    "content_safety_endpoint": "https://contoso.cognitiveservices.azure.com/",
    "entra_tenant_id": "8f1c9b7e-9b0c-4f0e-9f43-9e2f6f6f8f2a",
    "entra_audience": "api://tollgate",
}


class Credential:
    """The app's identity, which nobody may ask for a token yet."""

    def __init__(self) -> None:
        self.closed = 0

    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        raise AssertionError(f"a token for {scopes} was asked for")

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> list[Credential]:
    """Return the credentials that are made."""
    made: list[Credential] = []

    def make(client_id: str, *, on_azure: bool) -> Credential:
        made.append(Credential())
        return made[-1]

    monkeypatch.setattr(site, "credential", make)
    return made


async def test_one_identity_for_everything(credentials: list[Credential]) -> None:
    """A deployed app is built without a connection, shares one credential, and lets go of it at the end."""
    services = build_services(Settings.model_validate(DEPLOYED))
    assert [each.closed for each in credentials] == [0]
    await services.close()
    assert [each.closed for each in credentials] == [1]


async def test_seams_by_identity(credentials: list[Credential]) -> None:
    """Tables and hubs are Azure's; names win over connection strings."""
    strings = {"AzureWebJobsStorage": "nonsense", "EVENTHUB": "nonsense"}
    here = Site(Settings.model_validate(DEPLOYED | strings), SystemClock())
    seams = open_seams(here)
    stream = seams.stream("usage")
    assert isinstance(seams.tables, AzureTables)
    assert isinstance(stream, EventHubStream)
    await seams.tables.close()
    await stream.close()
    await here.closing.aclose()


async def test_the_latest_part_ends_first() -> None:
    """What was built later may use what was built before it, so it is closed before it."""
    ended: list[str] = []

    class Part:
        def __init__(self, name: str) -> None:
            self._name = name

        async def close(self) -> None:
            ended.append(self._name)

    here = Site(Settings.model_validate({}), SystemClock())
    for name in ("tables", "publisher", "gateway"):
        here.owned(Part(name))
    await here.closing.aclose()
    assert ended == ["gateway", "publisher", "tables"]
