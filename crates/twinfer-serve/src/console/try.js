/** A form for what a model takes, and what it answers. */
import { answer } from "./answer.js";
import { byPath, element, headers } from "./page.js";
import { readable, zeros } from "./tensors.js";

/** The form and its answer. `done` is called after every request. */
export function trial(model, done) {
  const form = element("form", { class: "try" });
  const result = element("div", { role: "status" });
  const input = inputs(model);
  const parameters = choices(model.pipeline?.parameters ?? []);
  const button = element("button", { class: "primary" }, "Predict");
  const examples = exampleMenu(model, (example) => {
    input.set(example);
    parameters.set(example.parameters ?? {});
    form.requestSubmit();
  });
  form.append(...examples, input.element, ...parameters.elements, element("div", { class: "row" }, button));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    button.disabled = true;
    void send(model, input, parameters.values(), result).finally(() => {
      button.disabled = false;
      done();
    });
  });
  return element("section", { class: "card", "aria-labelledby": "try-title" }, element("h2", { id: "try-title" }, "Try one"), form, result);
}

async function send(model, input, parameters, result) {
  let request;
  try {
    request = input.request();
  } catch (error) {
    result.replaceChildren(element("p", { class: "error", role: "alert" }, error.message));
    return;
  }
  const query = new URLSearchParams(parameters).toString();
  const path = byPath`/v2/models/${model.name}/predict` + (query && `?${query}`);
  const started = performance.now();
  let response, text;
  try {
    response = await fetch(path, { method: "POST", body: request.body, headers: headers({ "content-type": request.type }) });
    text = await response.text();
  } catch (error) {
    result.replaceChildren(element("p", { class: "error", role: "alert" }, `no answer: ${error.message}`));
    return;
  }
  const ms = performance.now() - started;
  result.replaceChildren(...answer({ model, response, text, ms, picture: request.picture, curl: curl(path, request) }));
}

/** The same request for a terminal. */
function curl(path, { type, body, file }) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const data = file ? `--data-binary ${quoted(`@${file}`)}` : `-d ${quoted(body)}`;
  return `curl ${quoted(location.origin + path)} \\\n  -H 'content-type: ${type}' \\\n  ${data}`;
}

function exampleMenu({ examples }, chosen) {
  if (examples.length === 0) return [];
  const menu = element("select", { name: "example" }, element("option", { value: "" }, "choose…"), ...examples.map(({ name }, at) => element("option", { value: at }, name)));
  menu.addEventListener("change", () => menu.value !== "" && chosen(examples[Number(menu.value)]));
  return [element("div", { class: "row" }, element("label", {}, "Golden example of the package", menu))];
}

function choices(specs) {
  const menus = specs.map(({ name, values, default: preset }) => {
    const menu = element("select", { name }, ...values.map((value) => element("option", { value }, value)));
    menu.value = preset;
    return menu;
  });
  return {
    elements: menus.map((menu) => element("div", { class: "row" }, element("label", {}, menu.name, menu))),
    values: () => menus.map((menu) => [menu.name, menu.value]),
    set: (given) => menus.forEach((menu) => given[menu.name] && (menu.value = given[menu.name])),
  };
}

/** What the pipeline takes: `element`, `set` to an example, `request` with what is there now. */
function inputs(model) {
  const input = model.pipeline?.input;
  if (input?.kind === "picture") return fileInput("picture", "image/png,image/jpeg,image/webp");
  if (input?.kind === "bytes") return fileInput("bytes", undefined);
  if (input?.kind === "audio") return fileInput("audio", "audio/wav,.wav");
  if (input?.kind === "text") return textInput();
  if (input?.kind === "record" && input.columns.length > 0) return record(model);
  return json(model);
}

function fileInput(kind, accept) {
  let file;
  const chooser = element("input", { type: "file", accept });
  const said = element("p", { class: "soft" }, "or drop one here");
  const text = kind === "bytes" ? element("textarea", { "aria-label": "or a text", placeholder: "or write a text here", spellcheck: "false" }) : undefined;
  const zone = element("div", { class: "drop" }, element("label", {}, { picture: "A picture (PNG, JPEG, WebP)", audio: "A sound (WAV)" }[kind] ?? "A file", chooser), said, ...(text ? [text] : []));
  const take = (given, name) => {
    file = given;
    said.textContent = file ? `${name ?? file.name}, ${file.size.toLocaleString("en")} bytes` : "or drop one here";
  };
  chooser.addEventListener("change", () => {
    take(chooser.files[0]);
    if (file) zone.closest("form").requestSubmit();
  });
  text?.addEventListener("input", () => take(undefined));
  dropping(zone, (dropped) => {
    take(dropped);
    zone.closest("form").requestSubmit();
  });
  return {
    element: zone,
    set({ name, input }) {
      const { base64, media_type: type } = input.picture ?? input.audio ?? input.bytes;
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      take(new File([bytes], name, { type: type ?? "" }), `example ${name}`);
    },
    request() {
      const body = file ?? (text?.value ? new Blob([text.value]) : undefined);
      if (!body) throw new Error({ picture: "choose a picture first", audio: "choose a sound first" }[kind] ?? "choose a file first, or write a text");
      const type = kind === "picture" && body.type.startsWith("image/") ? body.type : "application/octet-stream";
      return { body, type, file: file?.name ?? "text.txt", picture: kind === "picture" ? body : undefined };
    },
  };
}

function textInput() {
  const text = element("textarea", { "aria-label": "A text", spellcheck: "false" });
  return {
    element: text,
    // An example of several texts is more than there is room for.
    set: ({ input }) => (text.value = [input.text].flat()[0]),
    request: () => ({ body: text.value, type: "text/plain" }),
  };
}

function dropping(zone, dropped) {
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) dropped(file);
  });
}

/** A field for each column. Columns of numbers take numbers only; what is left empty is not sent. */
function record({ pipeline: { input }, examples }) {
  const isText = (column) => (input.tensor ? input.dtype : (column.dtype ?? input.dtype)) === "BYTES";
  const fields = input.columns.map((column) => {
    const field = element("input", { name: column.name, inputmode: isText(column) ? "text" : "decimal", autocomplete: "off", placeholder: column.missing === "nan" ? "missing" : undefined });
    return { column, field };
  });
  const set = ({ input: { record: row } = {} }) => fields.forEach(({ column, field }) => (field.value = row?.[column.name] ?? ""));
  const first = examples.find((example) => example.input.record);
  if (first) set(first);
  return {
    element: element("fieldset", { class: "fields" }, element("legend", { class: "hidden" }, "Columns"), ...fields.map(({ column, field }) => element("label", {}, column.name, field))),
    set,
    request() {
      const row = {};
      for (const { column, field } of fields) {
        if (field.value === "") continue;
        row[column.name] = isText(column) ? field.value : value(field.value, column.name);
      }
      return { body: JSON.stringify(row), type: "application/json" };
    },
  };
}

function value(text, name) {
  if (text === "true" || text === "false") return text === "true";
  const number = Number(text.trim());
  if (text.trim() === "" || Number.isNaN(number)) throw new Error(`${name}: ${text} is no number`);
  return number;
}

/** The request as it is sent. */
function json({ signature, examples, pipeline }) {
  const inputs = Object.fromEntries(signature.inputs.map((spec) => [spec.name, zeros(spec)]));
  const text = element("textarea", { name: "json", spellcheck: "false", "aria-label": "The request, in JSON" });
  const set = ({ input }) => (text.value = JSON.stringify({ inputs: readable(input, signature) }));
  if (examples.length > 0) set(examples[0]);
  else text.value = JSON.stringify(pipeline ? {} : { inputs });
  return {
    element: element("label", {}, "The request, in JSON", text),
    set,
    request() {
      try {
        JSON.parse(text.value);
      } catch (error) {
        throw new Error(`this is not JSON: ${error.message}`, { cause: error });
      }
      return { body: text.value, type: "application/json" };
    },
  };
}
