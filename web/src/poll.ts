/** Asks again and again, as long as somebody wants to know. */

/** Milliseconds that a timer can wait: their number has 31 bits. */
const LONGEST = 2 ** 31 - 1;

/** Pages that were opened together need not ask together. */
const SPREAD = 0.1;

export class Poll {
  readonly #check: () => Promise<unknown>;
  readonly #every: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;
  #running: Promise<unknown> | undefined;
  readonly #wake = (): void => {
    const { document } = globalThis as { document?: { visibilityState?: string } };
    if (document?.visibilityState !== "hidden") void this.now();
  };

  /** Checks every so many milliseconds, and when the page is looked at or online again. What a check throws is its own affair. */
  constructor(check: () => Promise<unknown>, every: number, soon: boolean) {
    this.#check = check;
    this.#every = every;
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    globalThis.addEventListener?.("online", this.#wake);
    if (soon) void this.now();
    else this.#schedule();
  }

  /** Checks now; one check at a time. */
  now(): Promise<unknown> {
    if (this.#isStopped) return Promise.resolve();
    clearTimeout(this.#timer);
    this.#running ??= this.#check()
      .catch(() => undefined)
      .finally(() => {
        this.#running = undefined;
        this.#schedule();
      });
    return this.#running;
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    globalThis.removeEventListener?.("online", this.#wake);
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#isStopped) return;
    const wait = this.#every * (1 + SPREAD * (2 * Math.random() - 1));
    this.#timer = setTimeout(() => void this.now(), Math.min(wait, LONGEST));
    // In Node a program does not live for it.
    (this.#timer as unknown as { unref?(): void }).unref?.();
  }
}
