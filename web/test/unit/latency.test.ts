import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Turn } from "../../hybrid/latency.js";
import { LatencyBudget, quantile } from "../../hybrid/latency.js";

/** A budget of 100 ms, and what happens to it. */
function budget() {
  const budget = new LatencyBudget(100);
  /** So many predictions, each computed where the budget says. */
  const predict = (count: number, here: number, there: number): Turn[] =>
    Array.from({ length: count }, () => {
      const turn = budget.next();
      if (turn === "server") budget.there(there);
      else budget.here(here);
      return turn;
    });
  return { budget, predict };
}

test("a quantile is a value that was measured", () => {
  assert.equal(quantile([4, 1, 3, 2], 0.75), 3);
  assert.equal(quantile([5], 0.75), 5);
  assert.equal(quantile([1, 2], 0), 1);
  assert.ok(Number.isNaN(quantile([], 0.5)));
});

describe("a latency budget", () => {
  test("three slow ones at first, while the browser compiles, and one now and then afterwards change nothing", () => {
    const { predict } = budget();
    assert.deepEqual(new Set(predict(3, 5000, 1)), new Set(["page"]));
    for (let round = 0; round < 20; round++) {
      assert.deepEqual(new Set(predict(4, 50, 1)), new Set(["page"]));
      assert.deepEqual(predict(1, 5000, 1), ["page"]);
    }
  });

  test("a device that is too slow gives way to a quicker server, and is tried again now and then", () => {
    const { predict, budget: one } = budget();
    // Three that do not count, and five that do.
    assert.deepEqual(new Set(predict(8, 300, 20)), new Set(["page"]));
    assert.equal(one.isOver, true);
    const turns = predict(60, 300, 20);
    assert.deepEqual([turns.filter((turn) => turn === "server").length, turns.filter((turn) => turn === "probe").length], [57, 3]);
  });

  test("it comes back when three probes are well within the budget, and not for two", () => {
    const { predict } = budget();
    predict(8, 300, 20);
    assert.deepEqual(predict(40, 50, 20).filter((turn) => turn === "probe").length, 2);
    assert.equal(predict(1, 50, 20)[0], "server");
    predict(19, 50, 20);
    assert.deepEqual(new Set(predict(50, 50, 20)), new Set(["page"]));
  });

  test("just within the budget is not enough to come back", () => {
    const { predict } = budget();
    predict(8, 300, 20);
    const turns = predict(100, 95, 20);
    assert.ok(turns.includes("probe") && !turns.includes("page"));
  });

  test("a server that is slower than the device is not asked for long, nor again", () => {
    const { predict } = budget();
    predict(8, 300, 900);
    const turns = predict(100, 300, 900);
    assert.deepEqual([turns.filter((turn) => turn === "server").length, turns.at(-1)], [5, "page"]);
  });

  test("after a failure of the server the device does it for a while", () => {
    const { predict, budget: one } = budget();
    predict(8, 300, 20);
    assert.equal(one.next(), "server");
    one.failed();
    const turns = predict(40, 300, 20);
    assert.deepEqual(new Set(turns.slice(0, 21)), new Set(["page"]));
    assert.ok(turns.includes("server"));
  });

  test("another package begins anew", () => {
    const { predict, budget: one } = budget();
    predict(8, 300, 20);
    one.restart();
    assert.deepEqual(new Set(predict(8, 300, 20)), new Set(["page"]));
  });
});
