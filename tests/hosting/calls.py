"""A call that is over, for observers that are tested without a server."""

import msgspec

from gateway.call import Call
from gateway.catalog.catalog import ApiKey, Backend, Deployment, Limits, Member, Subscription
from gateway.identity.callers import Caller
from gateway.requests.bodies import Peek
from gateway.requests.operations import target
from gateway.usage import UsageEvent
from tests.gateway.event import an_event

MEMBER = Member(Backend("first", "http://127.0.0.1", "paygo", "global", "", ApiKey("up")), "gpt-4o", 1, 1.0)


def ended_call(subscription: str = "team-a", call_id: str = "one") -> tuple[Call, UsageEvent]:
    """Return a call that its first backend answered, started at 0 monotonic seconds, and its event."""
    owner = Subscription(subscription, (), "", None, Limits(), None, None)
    call = Call(
        id=call_id,
        caller=Caller(owner),
        subscription=owner,
        target=target("/openai/deployments/gpt-4o/chat/completions"),
        deployment=Deployment("gpt-4o", "gpt-4o", ((MEMBER,),)),
        method="POST",
        query="",
        headers={},
        body=b"",
        peek=Peek(),
        hide_usage=False,
        started=0.0,
        tried=[MEMBER],
        results=["200"],
    )
    return call, msgspec.structs.replace(an_event(call_id), subscription=subscription)
