"""POST /summarize: a ticket in one paragraph."""

import asyncio

from enrichment.answers.answers import Summary
from enrichment.calls.calls import Way, answered, shown
from enrichment.calls.completions import completed
from enrichment.calls.fence import fenced, unfenced, unmarked, visible
from enrichment.errors import GatewayTimeout
from enrichment.prompts.paragraph import PARAGRAPH
from enrichment.tickets.material import Part


async def paragraph(way: Way, parts: tuple[Part, ...], deadline: float) -> Summary:
    """Return the ticket in one paragraph by the loop's time `deadline`.

    Raises NoAnswer, GatewayRefused, GatewayFailed, GatewayTimeout.
    """
    mark = way.mark()
    try:
        async with asyncio.timeout_at(deadline):
            headers, completion = await completed(
                way.models,
                way.deployment,
                PARAGRAPH,
                PARAGRAPH.filled(mark=mark, hiding=way.hiding_rule),
                fenced(shown(parts, way.hiding), mark),
            )
    except TimeoutError as late:
        raise GatewayTimeout("The model did not answer in time.") from late
    call = answered(headers, way.deployment, completion.model, completion.usage)
    text = way.hiding.restore(unmarked(visible(unfenced(completion.text(), mark))))
    return Summary(
        summary=" ".join(visible(text).split()),
        model=call.model,
        prompt=PARAGRAPH.label,
        usage=call.usage() if completion.usage else None,
        request_id=call.request_id,
    )
