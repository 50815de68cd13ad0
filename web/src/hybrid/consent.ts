import { describe } from "../errors.js";
import type { ConsentRequest, HybridOptions } from "../places.js";

/** The application's word on whether inputs may leave the device: asked once, when it is needed. */
export class Consent {
  readonly #ask: HybridOptions["consent"];
  #asked: Promise<boolean> | undefined;
  #answer: boolean | undefined;

  constructor(ask: HybridOptions["consent"]) {
    this.#ask = ask;
  }

  /** It said no. */
  get isRefused(): boolean {
    return this.#answer === false;
  }

  /** Several calls that need it at once wait for one answer. */
  given(request: ConsentRequest): Promise<boolean> {
    this.#asked ??= this.#question(request);
    return this.#asked;
  }

  async #question(request: ConsentRequest): Promise<boolean> {
    try {
      // Nothing but `true` is a yes.
      this.#answer = (await this.#ask(request)) === true;
      return this.#answer;
    } catch (error) {
      console.warn(`twinfer: the question for consent failed, so nothing is sent: ${describe(error)}`);
      // That was no answer: it is asked again.
      this.#asked = undefined;
      return false;
    }
  }
}
