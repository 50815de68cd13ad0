import { bar, find, make } from "./dom.js";
import { Panel } from "./panel.js";
import type { Example } from "./twinfer/index.js";

/** A record of measurements, and a risk. */
export function tumour(panel: Panel): { start: () => Promise<void> } {
  const form = find<HTMLFormElement>(panel.root, "[data-form]");
  const answer = find(panel.root, "[data-answer]");
  const samples = find(panel.root, "[data-samples]");

  const show = async () => {
    const record = read(form);
    const outputs = await panel.ask({
      inputs: { record },
      body: () => ({ type: "application/json", data: JSON.stringify(record) }),
    });
    if (!outputs) return;
    const label = make("p", String(outputs["label"]));
    label.className = "big";
    const shares = Object.entries(outputs["probabilities"] as Record<string, number>);
    answer.replaceChildren(label, ...shares.map(([name, share]) => bar(name, share)));
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    if (form.checkValidity()) void panel.attempt(show);
  });

  return {
    start: () =>
      panel.attempt(async () => {
        const model = await panel.model();
        const input = model.config.pipeline?.input;
        if (input?.kind !== "record") throw new Error("this model takes no record");
        form.replaceChildren(...input.columns.map((column) => field(column.name)));
        const records = (await model.examples()).filter((example) => "record" in example.inputs);
        for (const example of records) {
          const button = make("button", example.name.replaceAll("-", " "));
          button.type = "button";
          button.addEventListener("click", () => {
            fill(form, example);
            void panel.attempt(show);
          });
          samples.append(button);
        }
        const first = records[0];
        if (first) fill(form, first);
        await show();
      }),
  };
}

function field(name: string): HTMLLabelElement {
  const input = make("input");
  input.type = "number";
  input.step = "any";
  input.name = name;
  return make("label", name, input);
}

function inputs(form: HTMLFormElement): HTMLInputElement[] {
  return [...form.querySelectorAll<HTMLInputElement>("input")];
}

function fill(form: HTMLFormElement, example: Example): void {
  const record = example.inputs["record"] as Record<string, number | null>;
  for (const input of inputs(form)) input.value = String(record[input.name] ?? "");
}

function read(form: HTMLFormElement): Record<string, number | null> {
  return Object.fromEntries(inputs(form).map((input) => [input.name, input.value === "" ? null : input.valueAsNumber]));
}
