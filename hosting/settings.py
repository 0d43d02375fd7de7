"""App settings, read once from the environment by the composition root; every name is listed in docs/settings.md."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from enrichment.suggestions.priorities import PriorityMatrix

DEMO_CATALOG = Path(__file__).parent.parent / "local" / "demo" / "catalog.toml"

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _matrix(text: str) -> str:
    PriorityMatrix.parsed(text)
    return text


class WrongSettings(Exception):
    """The app cannot start with these settings; the message says what to set."""


class Settings(BaseSettings):
    """What an operator sets. Field names are the settings' names in lower case, but where an alias says otherwise."""

    model_config = SettingsConfigDict(case_sensitive=False, extra="ignore", populate_by_name=True, frozen=True)

    gateway_catalog: str = Field(default="", description="Path of the catalog (TOML or JSON), or the JSON itself.")
    http_streams: bool = Field(default=True, description="0 turns the worker's HTTP streams off: answers are buffered.")

    storage_connection: str = Field(
        default="", alias="AzureWebJobsStorage", description="Connection string of the storage account with the tables."
    )
    storage_account: str = Field(
        default="", alias="AzureWebJobsStorage__accountName", description="The same by name, reached by identity."
    )
    eventhub_connection: str = Field(default="", alias="EVENTHUB", description="Connection string of the namespace.")
    eventhub_namespace: str = Field(
        default="", alias="EVENTHUB__fullyQualifiedNamespace", description="The same by host name, reached by identity."
    )
    usage_hub: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")] = "usage"
    prompt_hub: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")] = "prompts"

    content_safety_endpoint: Annotated[
        str, Field(pattern=r"^(https://[^/?#]+|http://(127\.0\.0\.1|localhost)(:\d+)?)?/?$")
    ] = ""
    content_safety_key: str = Field(default="", repr=False, description="Empty: reached by identity.")
    content_safety_timeout_seconds: Seconds = 2.0

    identity_client_id: str = Field(
        default="", alias="AZURE_CLIENT_ID", description="Client id of a user-assigned managed identity."
    )
    token_scope: str = Field(
        default="https://cognitiveservices.azure.com/.default",
        description="Scope of upstream tokens; Azure Government and China have their own.",
    )

    entra_authority: str = Field(
        default="https://login.microsoftonline.com",
        description="Login host of the cloud that callers' access tokens come from; http:// on loopback only.",
    )
    entra_tenant_id: str = Field(default="", description="Tenant of callers' access tokens; empty: none are taken.")
    entra_audience: str = Field(default="", description="Audiences that callers' access tokens may name, by commas.")

    subscription_ttl_seconds: Seconds = Field(default=30.0, description="A revoked or rotated key stops within it.")
    subscription_grace_seconds: Seconds = Field(
        default=3600.0, description="Known subscriptions go on so much longer while the tables do not answer."
    )

    max_body_bytes: PositiveInt = Field(
        default=100 * 1024 * 1024, description="Larger request bodies are refused: 413."
    )
    upload_spool_bytes: NonNegativeInt = Field(
        default=256 * 1024 * 1024, description="What uploads under way may keep on the disk, all together."
    )
    body_timeout_seconds: Seconds = Field(default=60.0, description="For a whole request body to arrive.")
    max_attempts: PositiveInt = Field(default=5, description="Upstream attempts per request, each at another backend.")
    connect_timeout_seconds: Seconds = 5.0
    first_byte_timeout_seconds: Seconds = Field(default=225.0, description="Then the next backend is tried.")
    idle_timeout_seconds: Seconds = Field(default=120.0, description="Silence inside an answer that counts as a stall.")
    heartbeat_seconds: Seconds = Field(
        default=20.0, description="Silence after which a stream's caller gets a comment."
    )
    recovery_wait_seconds: NonNegativeFloat = Field(
        default=3.0, description="Where all backends are out, one that comes back within this is waited for."
    )
    deadline_seconds: Seconds = Field(default=230.0, description="No new attempt starts after it.")
    publish_timeout_seconds: Seconds = Field(default=10.0, description="For one acknowledgement of usage events.")
    usage_intents: bool = Field(default=True, description="Announce each call to the ledger before it is answered.")
    usage_keys: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="Partition keys over which each subscription's usage is spread."
    )
    outbox_schedule: str = Field(
        default="*/30 * * * * *", description="NCRONTAB: when usage events leave the outbox for the event hub."
    )
    background_schedule: str = Field(
        default="0 * * * * *", description="NCRONTAB: when background responses are asked for what they used."
    )
    enrichment_deployment: str = Field(default="gpt-4o-mini", description="The deployment that tickets are sent to.")
    enrichment_embeddings: str = Field(
        default="", description="The deployment whose embeddings find similar tickets; empty: they are found by words."
    )
    enrichment_parallel_calls: PositiveInt = Field(default=8, description="Model calls of one ticket at a time.")
    enrichment_apply_at: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.8, description="The least confidence of a suggestion that goes into the patch."
    )
    priority_matrix: Annotated[str, AfterValidator(_matrix)] = Field(
        default="1 2 3, 2 3 4, 3 4 5", description="Priorities: a row for each impact, in it one for each urgency."
    )
    sync_seconds: Seconds = Field(default=25.0, description="How long a caller of /enrich waits at most.")
    jobs_hub: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")] = "jobs"
    jobs_trusted_producers: bool = Field(
        default=False, description="Events of the jobs' hub are believed without a key: its producers are internal."
    )
    jobs_at_once: PositiveInt = Field(default=8, description="Jobs that one instance runs at a time.")
    job_lease_seconds: Seconds = Field(default=60.0, description="A job whose process died is taken over after it.")
    job_retention_days: Annotated[float, Field(gt=0, le=3650)] = Field(
        default=7.0, description="How long finished jobs and answers under a key are kept."
    )
    callback_hosts: str = Field(default="", description="Hosts that callbacks may go to, by commas; empty: none.")
    callback_secrets: str = Field(
        default="", description="SUBSCRIPTION:NAME@HOST, by commas: who may send the setting NAME where."
    )
    callback_signing_key: str = Field(default="", repr=False, description="Signs callbacks; empty: they are not.")
    callback_timeout_seconds: Seconds = Field(default=20.0, description="For one request to a callback's host.")
    orphan_after_seconds: Seconds = Field(
        default=3600.0, description="Then a call without its usage event is billed as an estimate."
    )
    detail_rows: bool = Field(default=True, description="Keep one row per usage event as the audit trail.")
    retention_days: Annotated[int, Field(ge=3, le=3650)] = Field(
        default=90, description="How long detail rows are kept after their day; sums and proofs stay."
    )

    seams: str = Field(
        default="",
        alias="TOLLGATE_SEAMS",
        description="module:function that opens tables and event streams in place of Azure's; for one machine only.",
    )
    application_insights: str = Field(
        default="",
        alias="APPLICATIONINSIGHTS_CONNECTION_STRING",
        repr=False,
        description="Where traces, metrics and the log of calls go; empty: nowhere.",
    )
    call_log: Literal["auto", "0", "1"] = Field(
        default="auto", description="One JSON line per call; auto: where Application Insights is set."
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = "INFO"

    site_name: str = Field(default="", alias="WEBSITE_SITE_NAME", description="Set by the platform.")
    environment: str = Field(
        default="", alias="AZURE_FUNCTIONS_ENVIRONMENT", description="`Development` where Core Tools run the app."
    )

    @property
    def on_azure(self) -> bool:
        """Tell whether the app is deployed; every Functions plan names the site."""
        return bool(self.site_name) and self.environment != "Development"

    @property
    def sweep_jobs_schedule(self) -> str:
        """NCRONTAB of the sweep: often enough for a lease to be missed soon after it has run out."""
        return "*/10 * * * * *" if self.job_lease_seconds >= 30 else "* * * * * *"

    @property
    def sweep_orphans_schedule(self) -> str:
        """NCRONTAB of the sweep for orphans: every minute, every second where one is due within less."""
        return "0 * * * * *" if self.orphan_after_seconds >= 60 else "* * * * * *"

    @model_validator(mode="after")
    def _uploads_end_in_time(self) -> Self:
        if self.body_timeout_seconds >= self.first_byte_timeout_seconds:
            raise ValueError(
                "BODY_TIMEOUT_SECONDS must be below FIRST_BYTE_TIMEOUT_SECONDS: files go to a backend as they arrive, "
                "and a slow sender must not count as the backend's failure"
            )
        return self

    @model_validator(mode="after")
    def _deployed_means_azure(self) -> Self:
        if self.on_azure and self.seams:
            raise ValueError("TOLLGATE_SEAMS is for one machine only: on Azure the tables and hubs are Azure's")
        return self
