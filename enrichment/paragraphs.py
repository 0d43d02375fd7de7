"""POST /summarize: a ticket in one paragraph."""

import asyncio
import json

import openai

from enrichment.answers.answers import Summary
from enrichment.calls.calls import Way, answered, content_of, shown
from enrichment.calls.fence import fenced, unfenced, unmarked, visible
from enrichment.errors import GatewayFailed, GatewayTimeout, from_sdk
from enrichment.prompts.paragraph import PARAGRAPH
from enrichment.tickets.material import Part


async def paragraph(way: Way, parts: tuple[Part, ...], deadline: float) -> Summary:
    """Return the ticket in one paragraph by the loop's time `deadline`.

    Raises NoAnswer, GatewayRefused, GatewayFailed, GatewayTimeout.
    """
    mark = way.mark()
    try:
        async with asyncio.timeout_at(deadline):
            raw = await way.models.chat.completions.with_raw_response.create(
                model=way.deployment,
                messages=[
                    {"role": "system", "content": PARAGRAPH.filled(mark=mark, hiding=way.hiding_rule)},
                    {"role": "user", "content": fenced(shown(parts, way.hiding), mark)},
                ],
                max_completion_tokens=PARAGRAPH.max_tokens,
                extra_headers={"x-workload-id": PARAGRAPH.workload},
            )
            completion = raw.parse()
    except TimeoutError as late:
        raise GatewayTimeout("The model did not answer in time.") from late
    except openai.APIError as error:
        raise from_sdk(error) from error
    except json.JSONDecodeError as garbage:
        raise GatewayFailed("The model's answer is not JSON.") from garbage
    call = answered(raw.headers, way.deployment, completion.model, completion.usage)
    text = way.hiding.restore(unmarked(visible(unfenced(content_of(completion), mark))))
    return Summary(
        summary=" ".join(visible(text).split()),
        model=call.model,
        prompt=PARAGRAPH.label,
        usage=call.usage() if completion.usage else None,
        request_id=call.request_id,
    )
