/** What a model answered: boxes on the picture, bars, labels, and all of it as JSON. */
import { element, show } from "./page.js";

/** The most bars that are drawn. */
const BARS = 10;

/** The parts of the answer to a request. */
export function answer({ model, response, text, ms, picture, curl }) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = { error: text || `status ${response.status}` };
  }
  const parts = response.ok ? seen(model, body, picture) : [element("p", { class: "error", role: "alert" }, `${body.code ?? response.status}: ${body.error}`)];
  return [element("div", { class: "card" }, ...parts, facts(body, ms), whole(body), command(curl))];
}

function facts(body, ms) {
  const list = element("dl", { class: "facts" });
  const fact = (name, value) => list.append(element("dt", {}, name), element("dd", { "data-fact": name }, value));
  const { predict_ms: predict, load_ms: load } = body.timing ?? {};
  fact("round trip", `${ms.toFixed(1)} ms`);
  if (predict !== undefined) fact("in the model", `${predict.toFixed(1)} ms${load > 1 ? `, and ${load.toFixed(1)} ms to load it` : ""}`);
  if (body.digest) fact("answered by", element("span", { class: "mono" }, `${body.model_name} ${body.model_version} ${body.digest}`));
  return list;
}

function whole(body) {
  return element("details", {}, element("summary", {}, "Answer as JSON"), element("pre", { tabindex: 0, "data-json": "" }, JSON.stringify(body, null, 2)));
}

function command(curl) {
  const button = element("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(curl);
      button.textContent = "Copied";
    } catch {
      // Without HTTPS there is no clipboard: it can be marked by hand.
      getSelection().selectAllChildren(text);
      button.textContent = "Marked: press Ctrl-C";
    }
  });
  const text = element("pre", { tabindex: 0, "data-curl": "" }, curl);
  return element("details", {}, element("summary", {}, "The same with curl"), text, button);
}

function seen(model, { outputs }, picture) {
  const kinds = new Map((model.pipeline?.outputs ?? []).map((step) => [step.name, step.kind]));
  const parts = Object.entries(outputs).flatMap(([name, value]) => part(name, kinds.get(name), value, picture));
  if (picture && ![...kinds.values()].includes("boxes")) parts.unshift(drawn(picture, []));
  return parts;
}

function part(name, kind, value, picture) {
  if (value === null) return [element("p", {}, `${name}: nothing`)];
  if (kind === "boxes") {
    const found = element("p", { class: "big", "data-big": "" }, `${value.length} ${value.length === 1 && name.endsWith("es") ? name.slice(0, -2) : name}`);
    return picture ? [found, drawn(picture, value)] : [found];
  }
  if (kind === "label") return [element("p", { class: "big", "data-big": "" }, show(value))];
  if (kind === "decision") return [element("p", { class: "big", "data-big": "" }, value.label), bar("score", value.score)];
  if (kind === "classes") return [element("p", { class: "big", "data-big": "" }, value[0]?.label ?? "none"), ...value.slice(0, BARS).map(({ label, score }) => bar(label, score))];
  if (kind === "probabilities") {
    const sorted = Object.entries(value).sort(([, a], [, b]) => b - a);
    return sorted.slice(0, BARS).map(([label, score]) => bar(label, score));
  }
  return [element("p", { class: "mono" }, `${name}: ${brief(value)}`)];
}

function brief(value) {
  const text = JSON.stringify(value);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

function bar(label, score) {
  const meter = element("meter", { min: 0, max: 1, "aria-label": label });
  meter.value = Number(score);
  return element("div", { class: "bar" }, element("span", {}, label), meter, element("output", {}, typeof score === "number" ? score.toFixed(4) : String(score)));
}

/** The picture with boxes on it. The browser turns it upright, as the pipeline does. */
function drawn(picture, boxes) {
  const canvas = element("canvas", { role: "img", "aria-label": `the picture with ${boxes.length} boxes` });
  const image = new Image();
  const address = URL.createObjectURL(picture);
  image.addEventListener("load", () => {
    URL.revokeObjectURL(address);
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const unit = Math.max(image.naturalWidth, image.naturalHeight) / 400;
    context.lineWidth = Math.max(1.5, 1.6 * unit);
    context.font = `600 ${Math.max(9, 9 * unit)}px system-ui, sans-serif`;
    for (const { x, y, width, height, score } of boxes) {
      context.strokeStyle = "#22c55e";
      context.strokeRect(x, y, width, height);
      const text = Number(score).toFixed(2);
      const high = Math.max(11, 11 * unit);
      context.fillStyle = "#14532d";
      context.fillRect(x, Math.max(0, y - high), context.measureText(text).width + 6, high);
      context.fillStyle = "#fff";
      context.fillText(text, x + 3, Math.max(0, y - high) + high * 0.8);
    }
    canvas.dataset.drawn = String(boxes.length);
  });
  image.addEventListener("error", () => {
    URL.revokeObjectURL(address);
    canvas.replaceWith(element("p", { class: "soft" }, "this browser cannot show the picture"));
  });
  image.src = address;
  return canvas;
}
