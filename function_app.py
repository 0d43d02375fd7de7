"""The functions of the app. Each hands what triggered it to the services and does nothing else."""

import typing

import azure.functions as func

from hosting.app import create_app
from hosting.functions.asgi import StreamingAsgiMiddleware
from hosting.functions.garbage import spare_what_stays
from hosting.functions.http_streams import turn_on_http_streams
from hosting.functions.triggers import received_events
from hosting.services.services import build_services
from hosting.settings import Settings

settings = Settings()
if settings.http_streams:
    turn_on_http_streams()

services = build_services(settings)
http = StreamingAsgiMiddleware(create_app(services))
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="{*path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def http_app(req, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - bare `req` fits both HTTP modes
    return await http.handle_async(req, context)


@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name=settings.usage_hub,
    connection="EVENTHUB",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@app.retry(
    strategy="exponential_backoff", max_retry_count="-1", minimum_interval="00:00:01", maximum_interval="00:01:00"
)
async def collect_usage(events: typing.List[func.EventHubEvent]) -> None:  # noqa: UP006 - the worker refuses list[...]
    await services.books.ledger.collect(received_events(events))


@app.timer_trigger(arg_name="timer", schedule=settings.sweep_orphans_schedule)
async def sweep_orphans(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the worker hands it over by this name
    await services.books.orphan_sweep.sweep()


@app.timer_trigger(arg_name="timer", schedule=settings.outbox_schedule)
async def republish_outbox(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding is named by it
    await services.republisher.run()


@app.timer_trigger(arg_name="timer", schedule=settings.background_schedule)
async def bill_background(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the worker hands it over by this name
    await services.background_bills.run()


@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name=settings.jobs_hub,
    connection="EVENTHUB",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@app.retry(
    strategy="exponential_backoff", max_retry_count="-1", minimum_interval="00:00:01", maximum_interval="00:01:00"
)
async def run_jobs(events: typing.List[func.EventHubEvent]) -> None:  # noqa: UP006 - the worker refuses list[...]
    await services.jobs.batches.run(received_events(events))


@app.timer_trigger(arg_name="timer", schedule=settings.sweep_jobs_schedule)
async def sweep_jobs(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the worker hands it over by this name
    await services.jobs.sweep.run()


# From 01:00 UTC, and in each hour after it: what could not be closed or deleted then is taken up again.
@app.timer_trigger(arg_name="timer", schedule="0 0 1-23 * * *")
async def close_day(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the worker hands it over by this name
    await services.books.close_of_day.run()


spare_what_stays()
