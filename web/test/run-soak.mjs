// A page that predicts all the time while its model is released and rolled back, for `cargo xtask soak`:
//
//   node test/run-soak.mjs folder --folder DIR
//   node test/run-soak.mjs predict --origin URL --model NAME --cases FILE --state FILE --answers FILE --stop FILE
//
// The first makes the page folder for `twinfer serve`. The second opens that page, follows `NAME@stable` by its
// deployment, and predicts the records of FILE (`golden.json` of a package) one after the other. STATE has the revision
// that the page follows; ANSWERS gets a line for each prediction, to be judged by whoever makes the releases. It ends
// when there is a file STOP. TWINFER_BROWSER names the browser.
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { launch, openPage } from "../dist/test/support/browser.js";
import { pageFolder } from "../dist/test/support/page-folder.js";

/** Milliseconds between two looks at the page. */
const LOOK = 100;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: Object.fromEntries(["folder", "origin", "model", "cases", "state", "answers", "stop"].map((name) => [name, { type: "string" }])),
});
const { folder, origin, model, cases, state, answers, stop } = values;
if (positionals[0] === "folder" && folder) pageFolder(folder);
else if (positionals[0] === "predict" && origin && model && cases && state && answers && stop) await predict();
else {
  console.error("usage: run-soak.mjs folder --folder DIR | predict --origin URL --model NAME --cases FILE --state FILE --answers FILE --stop FILE");
  process.exit(2);
}

async function predict() {
  const golden = JSON.parse(readFileSync(cases, "utf8")).cases;
  const records = golden.filter(({ input }) => input.record).map(({ name, input }) => ({ name, input }));
  const browser = await launch();
  try {
    const { page, complaints } = await openPage(browser, `${origin}/`);
    await page.evaluate(begin, [`/registry/${model}@stable`, records]);
    while (!existsSync(stop)) {
      await note(page, false);
      await pause(LOOK);
    }
    await note(page, true);
    if (complaints.length > 0) write(complaints.map((failed) => ({ failed })));
  } finally {
    await browser.close();
  }
}

/** Takes what the page has by now; at its end, too. */
async function note(page, end) {
  const { seen, revision } = await page.evaluate((end) => window.soak(end), end);
  write(seen);
  // Whole or not there: somebody reads it meanwhile.
  writeFileSync(`${state}.new`, JSON.stringify({ revision }));
  renameSync(`${state}.new`, state);
}

function write(lines) {
  if (lines.length > 0) appendFileSync(answers, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
}

/** In the page. */
async function begin([reference, records]) {
  const { loadModel } = await window.twinfer;
  let [going, seen] = [true, []];
  const onRelease = ({ status, error }) => void (status === "updated" || seen.push({ failed: `${status}: ${error?.message}` }));
  const model = await loadModel(reference, { assignmentKey: "soak", pollSeconds: 0.25, onRelease });
  const caller = async (first) => {
    for (let at = first; going; at++) {
      const { name, input } = records[at % records.length];
      const from = Date.now();
      try {
        const { prediction, ...outputs } = await model.predict(input);
        seen.push({ case: name, version: prediction.version, from, to: Date.now(), outputs });
      } catch (error) {
        seen.push({ failed: `${name}: ${String(error)}` });
      }
      // The server and its clients want the processor, too.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const callers = [caller(0), caller(1)];
  window.soak = async (end) => {
    if (end) {
      going = false;
      await Promise.all(callers);
    }
    const taken = seen;
    seen = [];
    return { seen: taken, revision: model.release?.revision ?? 0 };
  };
}
