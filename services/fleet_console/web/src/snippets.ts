/** Requests to a model, as commands and programs to copy. They name a variable for the key. */

import type { Task } from "./types";

export interface Snippet {
  name: string;
  text: string;
}

const KEY = "MODELFLEET_API_KEY";

export function snippetsOf(task: Task, model: string, origin: string, keyRequired: boolean): Snippet[] {
  return [
    { name: "curl", text: curl(task, model, origin, keyRequired) },
    { name: "Python", text: python(task, model, origin, keyRequired) },
  ];
}

function curl(task: Task, model: string, origin: string, keyRequired: boolean): string {
  const login = keyRequired ? ` \\\n  -H "Authorization: Bearer $${KEY}"` : "";
  if (task === "speech") {
    return `curl ${origin}/v1/audio/transcriptions${login} \\\n  -F model=${model} -F file=@recording.wav`;
  }
  const [path, body] = {
    chat: ["chat/completions", { messages: [{ role: "user", content: "What is the capital of France?" }] }],
    embedding: ["embeddings", { input: ["first text", "second text"] }],
    rerank: ["rerank", { query: "What is a router?", documents: ["It forwards requests.", "It is a bird."] }],
  }[task] as [string, object];
  const json = JSON.stringify({ model, ...body });
  return `curl ${origin}/v1/${path} -H 'Content-Type: application/json'${login} \\\n  -d '${json}'`;
}

function python(task: Task, model: string, origin: string, keyRequired: boolean): string {
  const key = keyRequired ? `os.environ["${KEY}"]` : '"none"';
  const imports = keyRequired ? "import os\n\n" : "";
  const name = JSON.stringify(model);
  if (task === "rerank") {
    const headers = keyRequired ? `,\n    headers={"Authorization": f"Bearer {${key}}"}` : "";
    return `${imports}import httpx

response = httpx.post(
    "${origin}/v1/rerank",
    json={"model": ${name}, "query": "What is a router?",
          "documents": ["It forwards requests.", "It is a bird."]}${headers},
)
for result in response.raise_for_status().json()["results"]:
    print(result["index"], result["relevance_score"])
`;
  }
  const client = `${imports}from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key=${key})
`;
  const calls: Record<Exclude<Task, "rerank">, string> = {
    chat: `stream = client.chat.completions.create(
    model=${name},
    messages=[{"role": "user", "content": "What is the capital of France?"}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
`,
    embedding: `response = client.embeddings.create(model=${name}, input=["first text", "second text"])
print(len(response.data), len(response.data[0].embedding))
`,
    speech: `with open("recording.wav", "rb") as recording:
    response = client.audio.transcriptions.create(model=${name}, file=recording)
print(response.text)
`,
  };
  return client + calls[task];
}
