/** Whether the device is quick enough, from what predictions took. Pure: the caller measures. */

/** The first predictions of an engine are slow (the browser still compiles), and not counted. */
const WARM_UP = 3;
/** So many are remembered. */
const WINDOW = 20;
/** Before so many are known nothing is concluded. */
const ENOUGH = 5;
/** One slow prediction among quick ones (a collection of garbage, another tab) is none. */
const QUANTILE = 0.75;
/** What goes to the other place must be better by this much, so that nothing goes to and fro. */
const BETTER = 0.8;
/** While the server computes, each so-many-th prediction is computed here, to see whether that is quicker now. */
const PROBE_EVERY = 20;
/** So many probes in a row must be within the budget. */
const PROBES = 3;
/** After the server failed, so many predictions are computed here before it is asked again. */
const PAUSE = 20;

/** By the nearest rank: a value that was measured. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(Math.ceil(part * sorted.length) - 1, 0)] ?? Number.NaN;
}

/** The last values. */
class Rolling {
  #values: number[] = [];

  constructor(readonly size: number) {}

  push(value: number): void {
    this.#values.push(value);
    if (this.#values.length > this.size) this.#values.shift();
  }

  clear(): void {
    this.#values = [];
  }

  has(count: number): boolean {
    return this.#values.length >= count;
  }

  get quantile(): number {
    return quantile(this.#values, QUANTILE);
  }
}

export type Turn = "page" | "probe" | "server";

/** Decides for each prediction where it is computed. Times are milliseconds. */
export class LatencyBudget {
  readonly #budget: number;
  readonly #here = new Rolling(WINDOW);
  readonly #there = new Rolling(WINDOW);
  readonly #probes = new Rolling(PROBES);
  #away = false;
  #ignored = 0;
  #sent = 0;
  #pause = 0;

  constructor(budget: number) {
    this.#budget = budget;
  }

  /** Where the next prediction is computed. */
  next(): Turn {
    if (!this.#away) return "page";
    this.#sent++;
    return this.#sent % PROBE_EVERY === 0 ? "probe" : "server";
  }

  /** Whether predictions here are over the budget, as far as is known. */
  get isOver(): boolean {
    return this.#here.has(ENOUGH) && this.#here.quantile > this.#budget;
  }

  /** A prediction was computed here. */
  here(time: number): void {
    if (this.#ignored < WARM_UP) return void this.#ignored++;
    this.#here.push(time);
    if (this.#away) return this.#probed(time);
    if (this.#pause > 0) return void this.#pause--;
    const better = !this.#there.has(ENOUGH) || this.#there.quantile < BETTER * this.#here.quantile;
    if (this.isOver && better) this.#go();
  }

  /** The server answered. */
  there(time: number): void {
    this.#there.push(time);
    // A server that is slower than the device is no help.
    if (this.#away && this.#there.has(ENOUGH) && this.#there.quantile > this.#here.quantile) this.#away = false;
  }

  /** The server did not answer, or must not be asked. */
  failed(): void {
    this.#away = false;
    this.#pause = PAUSE;
  }

  /** There is another engine, or another package. */
  restart(): void {
    this.#here.clear();
    this.#ignored = 0;
    this.#away = false;
  }

  #go(): void {
    this.#away = true;
    this.#sent = 0;
    this.#probes.clear();
  }

  #probed(time: number): void {
    this.#probes.push(time);
    if (!this.#probes.has(PROBES) || this.#probes.quantile > BETTER * this.#budget) return;
    this.#away = false;
    // What was slow is over.
    this.#here.clear();
  }
}
