import type { JsonValue } from "./twinfer/index.js";

/** What is sent to the server: a file as it is, or a record as JSON. */
export type Body = { readonly type: string; readonly data: BodyInit };

export interface ServerAnswer {
  readonly outputs: JsonValue;
  readonly digest: string;
  /** Milliseconds from the request to the answer. */
  readonly time: number;
}

/** Asks the component for the same prediction, of the same version. */
export async function askServer(
  model: { readonly name: string; readonly version: string },
  body: Body,
  parameters: Readonly<Record<string, string>>,
): Promise<ServerAnswer> {
  const start = performance.now();
  const path = `/v2/models/${encodeURIComponent(model.name)}/versions/${encodeURIComponent(model.version)}/predict`;
  const query = new URLSearchParams(parameters).toString();
  const response = await fetch(query ? `${path}?${query}` : path, {
    method: "POST",
    headers: { "Content-Type": body.type },
    body: body.data,
  });
  const answer: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    const said = isObject(answer) && typeof answer["error"] === "string" ? answer["error"] : response.statusText;
    throw new Error(`the server answered ${response.status}: ${said}`);
  }
  if (!isObject(answer) || typeof answer["digest"] !== "string") throw new Error("the server's answer has another form");
  return { outputs: answer["outputs"] as JsonValue, digest: answer["digest"], time: performance.now() - start };
}

/** Whether two JSON values are the same to the last bit. */
export function same(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((value, index) => same(value, b[index]));
  if (isObject(a) && isObject(b)) {
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => key in b && same(a[key] as JsonValue, b[key] as JsonValue));
  }
  return Object.is(a, b);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
