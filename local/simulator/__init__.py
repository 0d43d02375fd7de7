"""Azure OpenAI on a developer's machine: the protocol, its limits, its errors, faults on request, and an invoice.

Start backends, each on a port of its own (0 takes a free one; one JSON line of names and ports says that all listen):

    python -m local.simulator --backend '{"name": "eastus", "api_key": "key", "port": 9001,
        "deployments": {"gpt-4o": {"model": "gpt-4o-2024-11-20", "tokens_per_minute": 20000}}}'

In a test: `async with serve(BackendSettings(...)) as simulator:` gives `simulator.url`, `.invoice`, `.requests`, and
`await simulator.inject(Cut(after_chunks=3, times=1))`.

What it serves: chat/completions, completions, embeddings, responses and models, in the forms `/openai/deployments/...`
and `/openai/v1/...`; GET, DELETE, cancel and input_items of a stored response, which with `"background": true` is
queued, in progress and then done by itself. Replies are extractive, so that summaries can be read; conform to a JSON
schema or call a tool where that is asked for; and are always the same for the same request. Prompts with
`content-filter-me` are refused by the content filter, `filter-my-completion` filters the completion.

Faults: a JSON list to POST. Each hits requests that match its `operation`, `deployment` and `header`, `times` times, or
until it is deleted; a request is hit by the first that matches. Chunks are SSE events, counted from the first one.

    AT=http://127.0.0.1:9001/simulator
    curl $AT/faults -d '[{"kind": "status", "status": 429, "headers": {"retry-after-ms": "700"}, "times": 2}]'
    curl $AT/faults -d '[{"kind": "cut", "after_chunks": 3, "header": {"name": "x-test", "value": "7"}}]'

    {"kind": "status", "status": 503, "headers": {}, "body": {}}  any status, body and headers
    {"kind": "refuse", "seconds": 2}       connections are refused; without seconds until the faults are deleted
    {"kind": "reset"}                      the connection is reset before any answer
    {"kind": "slow", "seconds": 3}         the status line comes late
    {"kind": "cut", "after_chunks": 3}     FIN in the middle of the body; "rst": true resets instead
    {"kind": "stall", "after_chunks": 3}   silence until the caller leaves, or for "seconds"
    {"kind": "malformed", "at_chunk": 2}   a garbage line; "form": "json" breaks that event's JSON off
    {"kind": "garbage"}                    bytes that are not HTTP
    {"kind": "not_json"}                   200, application/json, and no JSON
    {"kind": "html", "status": 502}        a proxy's error page
    {"kind": "usage_missing"}              no usage in the answer; billed all the same
    {"kind": "usage_zero"}                 usage of zeros, billed as zeros

A backend that refuses is reached through another one of its process, or through the port that `--control PORT` opens:
`http://127.0.0.1:9002/simulator/backends/eastus/faults`.

    curl -X DELETE $AT/faults     take all faults back
    curl $AT/invoice               what was billed, by line and in total; rules in local.simulator.invoice
    curl $AT/requests              the latest requests, without credentials
    curl -X POST $AT/reset         forget everything but the settings
"""
