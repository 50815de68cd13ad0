import { find } from "./dom.js";
import { type Body, askServer, same } from "./server.js";
import {
  type Example,
  type InputValue,
  type JsonValue,
  type Model,
  type Progress,
  TwinferError,
  loadModel,
} from "./twinfer/index.js";

/** What one prediction needs. */
export interface Question {
  readonly inputs: Readonly<Record<string, InputValue>>;
  readonly parameters?: Readonly<Record<string, string>>;
  /** The same input for the server. */
  readonly body: () => Body | Promise<Body>;
}

/** A panel: its model, the facts beside it, and the comparison with the server. */
export class Panel {
  readonly root: HTMLElement;
  private readonly facts: HTMLElement;
  private loading: Promise<Model> | undefined;
  /** Of several questions that overlap only the last may show its answer. */
  private latest = 0;

  constructor(id: string, private readonly reference: string) {
    this.root = find(document, `#${id}`);
    const template = find<HTMLTemplateElement>(document, "#facts");
    this.root.append(template.content.cloneNode(true));
    this.facts = find(this.root, ".facts");
    this.part("[data-self-test]").addEventListener("click", () => void this.attempt(() => this.selfTest()));
  }

  /** The model, loaded when it is first needed. A failed load is tried again. */
  model(): Promise<Model> {
    this.loading ??= this.load().catch((error: unknown) => {
      this.loading = undefined;
      throw error;
    });
    return this.loading;
  }

  async example(name: string): Promise<Example> {
    const examples = await (await this.model()).examples();
    const example = examples.find((candidate) => candidate.name === name);
    if (!example) throw new Error(`the package has no example ${name}`);
    return example;
  }

  /** Predicts, shows how, and asks the server. Gives the outputs, unless a newer question came. */
  async ask(question: Question): Promise<Readonly<Record<string, JsonValue>> | undefined> {
    const turn = ++this.latest;
    this.showError(undefined);
    this.verdict("none", "…");
    const model = await this.model();
    const { prediction } = await model.predict(question.inputs, { parameters: question.parameters ?? {} });
    this.showEngine(model);
    if (turn !== this.latest) return undefined;
    this.part("[data-time]").textContent = `${prediction.timing.engine.toFixed(1)} ms, ${prediction.timing.total.toFixed(1)} ms with the way to the worker`;
    void this.compare(turn, model, question, prediction.outputs);
    return prediction.outputs;
  }

  /** Runs `work`, and shows what goes wrong. */
  async attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.verdict("none", "not asked");
      this.showError(error);
    }
  }

  private part<T extends HTMLElement = HTMLElement>(selector: string): T {
    return find<T>(this.facts, selector);
  }

  private async load(): Promise<Model> {
    this.part("[data-load]").hidden = false;
    const model = await loadModel(this.reference, { onProgress: (progress) => this.showProgress(progress) });
    this.part("[data-load]").hidden = true;
    this.part("[data-model]").textContent = `${model.name} ${model.version}`;
    this.part("[data-digest]").textContent = model.digest;
    this.showEngine(model);
    return model;
  }

  /** It can be another one than before, after something was needed that it lacks. */
  private showEngine({ engine }: Model): void {
    const kinds = { fused: "fused: the model is in it", slim: "slim: made for this model", full: "full", none: "none: the server answers" };
    this.part("[data-engine]").textContent = engine.replaced === undefined ? kinds[engine.kind] : "full, in the place of a smaller one";
  }

  private showProgress(progress: Progress): void {
    const bar = this.part<HTMLProgressElement>("[data-progress]");
    const step = this.part("[data-step]");
    switch (progress.status) {
      case "engine":
        // Also after the load, when the full one takes over.
        step.textContent = "Loading the engine";
        break;
      case "resolve":
        step.textContent = "Looking up the version";
        break;
      case "download":
        step.textContent = progress.cached ? "From the cache" : `Downloading ${megabytes(progress.loaded)} of ${megabytes(progress.total)}`;
        bar.value = progress.total ? progress.loaded / progress.total : 0;
        break;
      case "waiting":
        step.textContent = "Another tab is fetching it";
        break;
      case "load":
        step.textContent = "Preparing the model";
        bar.removeAttribute("value");
        break;
      case "ready":
        step.textContent = "Ready";
    }
  }

  private async compare(turn: number, model: Model, question: Question, outputs: Readonly<Record<string, JsonValue>>): Promise<void> {
    if (!this.part<HTMLInputElement>("[data-ask]").checked) {
      this.verdict("none", "not asked");
      return;
    }
    try {
      const answer = await askServer(model, await question.body(), question.parameters ?? {});
      if (turn !== this.latest) return;
      this.part("[data-server-time]").textContent = `${answer.time.toFixed(1)} ms with the way there and back`;
      const equal = answer.digest === model.digest && same(answer.outputs, outputs as JsonValue);
      this.verdict(equal ? "same" : "different", equal ? "yes, to the last bit" : "no");
    } catch (error) {
      if (turn !== this.latest) return;
      this.verdict("different", "no answer");
      this.showError(error);
    }
  }

  private verdict(state: "none" | "same" | "different", text: string): void {
    const verdict = this.part("[data-verdict]");
    verdict.dataset["state"] = state;
    verdict.textContent = text;
  }

  private showError(error: unknown): void {
    const place = this.part("[data-error]");
    place.hidden = error === undefined;
    if (error instanceof TwinferError) place.textContent = `${error.code}: ${error.message}`;
    else place.textContent = error instanceof Error ? error.message : "";
  }

  private async selfTest(): Promise<void> {
    const button = this.part<HTMLButtonElement>("[data-self-test]");
    const result = this.part("[data-self-result]");
    button.disabled = true;
    try {
      const model = await this.model();
      const report = await model.selfTest({
        onProgress: (done, total) => {
          result.textContent = `${done} of ${total}`;
        },
      });
      result.textContent = `${report.passed} of ${report.cases.length} as they should be`;
    } finally {
      button.disabled = false;
    }
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
