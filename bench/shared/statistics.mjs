// Numbers about numbers. Shared by Node and the page.

/** @param {number[]} values */
export function summarise(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return { median: at(0.5), p95: at(0.95), p99: at(0.99), min: sorted[0], max: sorted[sorted.length - 1], count: sorted.length };
}

/** The entries in turns: forwards in even rounds, backwards in odd ones, so that none has the quiet minutes. */
export function inTurns(round, entries) {
  return round % 2 === 0 ? [...entries] : [...entries].reverse();
}
