"""The product's function_app in small: the same kinds of triggers over a stand-in app."""

import os
import typing

import azure.functions as func
from azure.functions.timer import TimerRequest

from hosting.functions.asgi import StreamingAsgiMiddleware
from hosting.functions.http_streams import turn_on_http_streams
from hosting.functions.triggers import received_events
from tests.hosting.worker.bridge.bridged import METHODS, create_bridged

if os.environ.get("HTTP_STREAMS", "1") == "1":
    turn_on_http_streams()

bridged = create_bridged()
http = StreamingAsgiMiddleware(bridged)
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="{*path}", methods=METHODS)
async def http_app(req, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - as in function_app.py
    return await http.handle_async(req, context)


@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="usage",
    connection="EVENTHUB",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00")
async def collect_usage(events: typing.List[func.EventHubEvent], context: func.Context) -> None:  # noqa: UP006 - the worker refuses list[...]
    received = received_events(events)
    bridged.state.seen.setdefault("batches", []).append(
        {
            "partition": received[0].partition,
            "sequence_numbers": [event.sequence_number for event in received],
            "times": [event.enqueued_at.isoformat() for event in received],
            "bodies": [event.body.hex() for event in received],
            "retry": context.retry_context.retry_count,
        }
    )
    if b"poison" in [event.body for event in received]:
        raise ValueError("a batch that cannot be collected")


@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def tick(timer: TimerRequest) -> None:
    bridged.state.seen.setdefault("ticks", []).append(
        {"past_due": timer.past_due, "status": timer.schedule_status, "schedule": timer.schedule}
    )
