/** What the parts of the page share: requests, and elements. */

let key = "";

/** The key that goes with every request from now on. */
export function useKey(given) {
  key = given;
}

/** Headers of a request, with the key where there is one. */
export function headers(more = {}) {
  return key ? { "x-api-key": key, ...more } : more;
}

/** A path with names in it: each becomes one segment. */
export function byPath(texts, ...names) {
  return texts.map((text, at) => text + (at < names.length ? encodeURIComponent(names[at]) : "")).join("");
}

/** The JSON of an answer. An answer that is an error is thrown, with its code and status. */
export async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  const text = await response.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = {};
  }
  if (response.ok) return body;
  const error = new Error(body.error ?? `${path}: status ${response.status}`);
  throw Object.assign(error, { code: body.code, status: response.status });
}

/** An element with attributes and children. Texts stay texts, whatever is in them. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/** A number for people. */
export function show(number) {
  return typeof number === "number" ? number.toLocaleString("en", { maximumFractionDigits: 6 }) : String(number);
}
