// The script that both official SDKs run, in JavaScript: `node script.mjs SDK URL KEY LIMITED_KEY` prints JSON.
// `script.py` is the same in Python; the test compares what they print field by field.

import { createRequire } from "node:module";

const [, , sdk, url, key, limitedKey] = process.argv;
const { OpenAI, AzureOpenAI, APIError } = createRequire(import.meta.url)(sdk);

const QUESTION = [{ role: "user", content: "What is the capital of France?" }];
const FILTERED = [{ role: "user", content: "Please content-filter-me." }];
const TOOL = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const SCHEMA = {
  type: "json_schema",
  json_schema: {
    name: "city",
    strict: true,
    schema: {
      type: "object",
      properties: { name: { type: "string" }, known: { type: "boolean" } },
      required: ["name", "known"],
      additionalProperties: false,
    },
  },
};

const clients = {
  azure: (apiKey) => new AzureOpenAI({ endpoint: url, apiKey, apiVersion: "2025-04-01-preview", maxRetries: 0 }),
  v1: (apiKey) => new OpenAI({ baseURL: `${url}/openai/v1/`, apiKey, maxRetries: 0 }),
};

async function scenarios(client, stranger) {
  const chat = (more = {}) => client.chat.completions.create({ model: "gpt-4o", messages: QUESTION, ...more });
  return {
    chat: whole(await chat()),
    stream: await streamed(await chat({ stream: true })),
    "stream with usage": await streamed(await chat({ stream: true, stream_options: { include_usage: true } })),
    tools: whole(await chat({ tools: [TOOL], tool_choice: "required" })),
    structured: whole(await chat({ response_format: SCHEMA })),
    embeddings: await embedded(client),
    response: await responded(client),
    "response stream": await responseStreamed(client),
    models: await listed(client),
    unauthenticated: await refused(() => stranger.chat.completions.create({ model: "gpt-4o", messages: QUESTION })),
    "not found": await refused(() => chat({ model: "gpt-9" })),
    filtered: await refused(() => chat({ messages: FILTERED })),
    "bad request": await refused(() => chat({ stream_options: "all" })),
  };
}

function whole(answer) {
  const [choice] = answer.choices;
  return {
    model: answer.model,
    finish: choice.finish_reason,
    content: choice.message.content,
    tools: (choice.message.tool_calls ?? []).map((call) => [call.function.name, call.function.arguments]),
    usage: counted(answer.usage),
    "request id": Boolean(answer._request_id),
  };
}

const counted = (usage) => (usage ? [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens] : null);

async function streamed(stream) {
  const seen = { pieces: [], finish: null, usage: null, "without choices": 0 };
  for await (const chunk of stream) {
    seen.usage = counted(chunk.usage) ?? seen.usage;
    seen["without choices"] += chunk.choices.length === 0 ? 1 : 0;
    for (const choice of chunk.choices) {
      seen.pieces.push(choice.delta.content ?? "");
      seen.finish = choice.finish_reason ?? seen.finish;
    }
  }
  return seen;
}

async function embedded(client) {
  const answer = await client.embeddings.create({ model: "embed", input: ["one", "two"] });
  return {
    model: answer.model,
    sizes: answer.data.map((each) => each.embedding.length),
    first: answer.data[0].embedding.slice(0, 4).map((value) => Math.round(value * 1e4) / 1e4),
    prompt: answer.usage.prompt_tokens,
  };
}

async function responded(client) {
  const made = await client.responses.create({ model: "gpt-4o", input: "What is the capital of France?" });
  const kept = await client.responses.retrieve(made.id);
  await client.responses.delete(made.id);
  return {
    id: made.id.split("_")[0],
    text: made.output_text,
    kept: kept.output_text ?? kept.output.flatMap((item) => item.content.map((part) => part.text)).join(""),
    usage: made.usage ? [made.usage.input_tokens, made.usage.output_tokens] : null,
    gone: await refused(() => client.responses.retrieve("resp_nobody")),
  };
}

async function responseStreamed(client) {
  const seen = { kinds: [], deltas: [], usage: null };
  const asked = { model: "gpt-4o", input: "What is the capital of France?", stream: true };
  for await (const event of await client.responses.create(asked)) {
    seen.kinds.push(event.type);
    if (event.type === "response.output_text.delta") seen.deltas.push(event.delta);
    if (event.type === "response.completed") {
      seen.usage = [event.response.usage.input_tokens, event.response.usage.output_tokens];
    }
  }
  return seen;
}

async function listed(client) {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  return ids.sort();
}

async function limited(client) {
  await client.embeddings.create({ model: "embed", input: "one" });
  return refused(() => client.embeddings.create({ model: "embed", input: "one" }));
}

async function refused(call) {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    const wait = Number(error.headers?.get("retry-after") ?? 0);
    return {
      class: error.constructor.name,
      status: error.status,
      code: error.code ?? null,
      type: error.type ?? null,
      param: error.param ?? null,
      "request id": Boolean(error.requestID),
      "retry after": wait > 0 && wait <= 60,
    };
  }
  return { class: null };
}

const result = {};
for (const [name, client] of Object.entries(clients)) {
  result[name] = await scenarios(client(key), client("sk-nobody"));
}
result.limited = { "second call": await limited(clients.v1(limitedKey)) };
process.stdout.write(JSON.stringify(result));
