import { bar, find, make, onFile } from "./dom.js";
import { Panel } from "./panel.js";
import type { Decision } from "./twinfer/index.js";

const REASONS: Readonly<Record<string, string>> = {
  low_confidence: "The model was not sure enough of its own label.",
  overwrite_map: "The model's label always stands for this one.",
};

/** Any bytes, and what kind of file they are. */
export function files(panel: Panel): { start: () => Promise<void> } {
  const answer = find(panel.root, "[data-answer]");
  const mode = find<HTMLSelectElement>(panel.root, "[data-mode]");
  const typed = find<HTMLTextAreaElement>(panel.root, "[data-typed]");
  let last: { name: string; content: Blob } | undefined;

  const show = async (name: string, content: Blob) => {
    last = { name, content };
    const outputs = await panel.ask({
      inputs: { content },
      parameters: { prediction_mode: mode.value },
      body: () => ({ type: "application/octet-stream", data: content }),
    });
    if (!outputs) return;
    const decision = outputs["content_type"] as unknown as Decision;
    const label = make("p", decision.label);
    label.className = "big";
    answer.replaceChildren(make("p", `${name}, ${content.size.toLocaleString("en")} bytes`), label, bar("score", decision.score));
    if (decision.model_label !== decision.label) answer.append(make("p", `The model itself said: ${decision.model_label}.`));
    const reason = REASONS[decision.overwrite_reason];
    if (reason) answer.append(make("p", reason));
  };
  const take = (name: string, content: Blob) => void panel.attempt(() => show(name, content));
  const takeText = (name: string) => take(name, new Blob([typed.value]));

  onFile(panel.root, (file) => take(file.name, file));
  for (const button of panel.root.querySelectorAll<HTMLElement>("[data-text]")) {
    button.addEventListener("click", () => {
      typed.value = button.dataset["text"] ?? "";
      takeText(`${button.textContent} sample`);
    });
  }
  typed.addEventListener("input", () => takeText("typed text"));
  mode.addEventListener("change", () => {
    if (last) take(last.name, last.content);
  });
  return {
    start: async () => {
      typed.value = find(panel.root, "[data-text]").dataset["text"] ?? "";
      await panel.attempt(() => show("Python sample", new Blob([typed.value])));
    },
  };
}
