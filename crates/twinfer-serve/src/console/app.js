/** The page: the server, its models, its traffic. What is tried is in try.js. */
import { ask, byPath, element, show, useKey } from "./page.js";
import { traffic } from "./traffic.js";
import { trial } from "./try.js";

const REFRESH = 5000;
/** From this many models on they can be searched. */
const MANY = 8;

const at = (name) => document.querySelector(`[data-${name}]`);

/** Which model is shown; an answer for another one comes too late. */
let chosen;
let models = [];

async function start() {
  await Promise.all([server(), list()]);
}

async function server() {
  const ready = at("ready");
  try {
    const { name, version } = await ask("/v2");
    at("server").textContent = `${name} ${version} at ${location.host}`;
    await ask("/v2/health/ready");
    ready.textContent = "ready";
    ready.className = "pill good";
  } catch (error) {
    ready.textContent = "not ready";
    ready.className = "pill bad";
    failed(error);
  }
}

/** Shows what went wrong, and asks for a key where one is wanted. */
function failed(error) {
  const wantsKey = error.status === 401 || error.status === 403;
  at("key").hidden = !wantsKey;
  at("failure").hidden = false;
  at("failure").textContent = error.message;
}

async function list() {
  try {
    ({ models } = await ask("/v2/models"));
  } catch (error) {
    failed(error);
    return;
  }
  at("none").hidden = models.length > 0;
  at("search").hidden = models.length < MANY;
  draw();
  const named = decodeURIComponent(location.hash.slice(1));
  const first = models.find(({ name }) => name === named) ?? models[0];
  if (first) await choose(first);
  await count();
}

function draw() {
  const wanted = at("search").querySelector("input").value.toLowerCase();
  const entries = models.filter(({ name }) => name.toLowerCase().includes(wanted)).map((model) => {
    const aliases = Object.keys(model.aliases);
    const versions = [model.versions[0] ?? "no version", ...aliases].join(", ");
    const button = element("button", { type: "button" }, model.name, element("small", {}, versions));
    button.setAttribute("aria-current", String(model.name === chosen?.name));
    button.addEventListener("click", () => void choose(model));
    return element("li", {}, button);
  });
  at("models").replaceChildren(...entries);
}

async function choose(model) {
  chosen = model;
  draw();
  history.replaceState(null, "", `#${encodeURIComponent(model.name)}`);
  const main = document.querySelector("main");
  const about = element("section", { class: "card" }, element("h2", {}, model.name), element("p", { class: "soft" }, "asking…"));
  main.replaceChildren(about);
  try {
    const found = await ask(byPath`/console/models/${model.name}`);
    if (chosen !== model) return;
    const pill = element("span", { class: "pill", role: "status" }, "loading…");
    main.replaceChildren(description(model, found, pill), trial(found, () => void count()));
    await readiness(model, pill);
  } catch (error) {
    if (chosen === model) about.replaceChildren(element("h2", {}, model.name), element("p", { class: "error", role: "alert" }, error.message));
  }
}

/** Asking loads the model: so the first prediction is as fast as the others. */
async function readiness(model, pill) {
  const started = performance.now();
  try {
    await ask(byPath`/v2/models/${model.name}/ready`);
    pill.textContent = `ready after ${Math.max(1, Math.round(performance.now() - started))} ms`;
    pill.classList.add("good");
  } catch (error) {
    pill.textContent = `not ready: ${error.code ?? error.message}`;
    pill.classList.add("bad");
  }
}

function description(model, found, pill) {
  const facts = element("dl", { class: "facts" });
  const fact = (name, ...values) => facts.append(element("dt", {}, name), element("dd", {}, ...values));
  fact("versions", model.versions.join(", ") || "none");
  const aliases = Object.entries(model.aliases);
  if (aliases.length) fact("aliases", ...aliases.map(([alias, digest]) => element("div", {}, `${alias} → `, element("span", { class: "mono", title: digest }, digest.slice(0, 19)))));
  fact("digest", element("span", { class: "mono", "data-digest": "" }, found.digest));
  fact("takes", found.pipeline ? `${found.pipeline.input.kind}, as \`${found.pipeline.input.name}\`` : "tensors");
  const head = element("div", { class: "head" }, element("h2", {}, found.name), element("span", { class: "soft" }, found.version), pill);
  const parts = [head];
  if (found.description) parts.push(element("p", {}, found.description));
  parts.push(facts, element("details", {}, element("summary", {}, "Signature"), signature(found.signature)));
  return element("section", { class: "card" }, ...parts);
}

function signature({ inputs, optional = [], outputs }) {
  const shape = (spec) => (spec.kind && spec.kind !== "tensor" ? spec.kind : spec.shape ? `[${spec.shape.map((axis) => axis ?? "?").join(", ")}]` : "any rank");
  const rows = (side, specs) => specs.map((spec) => element("tr", {}, element("td", {}, side), element("td", {}, spec.name), element("td", {}, spec.dtype), element("td", {}, shape(spec))));
  const head = element("tr", {}, ...["", "name", "type", "shape"].map((title) => element("th", { scope: "col" }, title)));
  const body = element("tbody", {}, ...rows("in", inputs), ...rows("in, optional", optional), ...rows("out", outputs));
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), body));
}

async function count() {
  try {
    const { rows, source } = await traffic();
    const all = ({ answered, failed: refused }) => answered + refused;
    const asked = rows.filter((row) => all(row) > 0).sort((one, other) => all(other) - all(one));
    const most = Math.max(1, ...asked.map(all));
    at("traffic").hidden = asked.length === 0;
    at("traffic").querySelector("tbody").replaceChildren(...asked.map((row) => line(row, most)));
    at("source").textContent = asked.length === 0 ? `Nothing was asked yet. ${source}` : source;
  } catch (error) {
    at("source").textContent = `no counts: ${error.message}`;
  }
}

function line({ name, version, answered, failed: refused, mean }, most) {
  const share = element("meter", { min: 0, max: most, "aria-label": `requests for ${name} ${version}` });
  share.value = answered + refused;
  const cells = [name, version, show(answered), show(refused), mean === undefined ? "–" : `${Number(mean.toPrecision(2))} ms`];
  return element("tr", {}, ...cells.map((cell) => element("td", {}, cell)), element("td", { class: "wide" }, share));
}

at("search").addEventListener("input", draw);
at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(new FormData(event.target).get("key"));
  at("key").hidden = at("failure").hidden = true;
  void start();
});
setInterval(() => document.hidden || void count(), REFRESH);
void start();
