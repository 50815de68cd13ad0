// Serving beside its rivals: the same predictions of the same model files by `twinfer serve`, MLServer,
// `mlflow models serve` and FastAPI with onnxruntime, with 1, 8 and 64 clients that keep their connections.
// All servers of a model are up, and asked in turns; the answers are compared first. Memory is that of the
// whole tree of processes. A cold start is from the start of the process to the first right answer.
import { availableParallelism } from "node:os";
import { difference, readers } from "../shared/answers.mjs";
import { call, load } from "../shared/load.mjs";
import { plan, quick, skipped, write } from "../shared/plan.mjs";
import { memoryOf, watchMemory } from "../shared/processes.mjs";
import { contenders, models } from "../shared/rivals.mjs";
import { expectedOf, samplesOf } from "../shared/samples.mjs";
import { inTurns, summarise } from "../shared/statistics.mjs";

const CLIENTS = [1, 8, 64];
const ROUNDS = quick ? 1 : 3;
const MILLISECONDS = quick ? 500 : 1_750;
const WARM_UP_MS = quick ? 200 : 400;
const COLD_STARTS = quick ? 1 : 3;
/** An error that is answered for so long is the answer. */
const REFUSED_MS = 20_000;
/** So that every worker has answered, and what it loads late is loaded. */
const LOADED = { requests: 64, connections: 8, milliseconds: 60_000, counted: true };

const results = [];
for (const model of models) results.push(await compare(model));
write("servers", { cores: availableParallelism(), clients: CLIENTS, rounds: ROUNDS, milliseconds: MILLISECONDS, results });

async function compare(model) {
  const { reference, kind, what } = model;
  const sample = samplesOf(plan.cases).find((one) => one.reference === reference);
  const all = contenders(model, sample);
  const servers = {};
  const running = new Map();
  try {
    await starts(all, readers.outputs[kind]({ outputs: expectedOf(plan.cases, sample) }), servers, running);
    await memoryAfterLoad(all, servers, running);
    await rounds(all, servers, running);
  } finally {
    for (const server of running.values()) await server.stop();
  }
  for (const [name, one] of Object.entries(servers)) if (!one.skipped) show(`${reference}, ${name}`, one);
  return { reference, what, example: sample.example, servers };
}

/**
 * Cold starts, in turns; after the last one a server stays. The first start of each is apart: the component is compiled
 * in it when it is new, and Python writes down what it compiled.
 */
async function starts(all, expected, servers, running) {
  const times = {};
  for (const [name, { how, skip }] of Object.entries(all)) servers[name] = { how, ...(skip ? skipped(name, skip) : {}) };
  for (let turn = -1; turn < COLD_STARTS; turn++) {
    for (const [name, contender] of inTurns(turn, Object.entries(all))) {
      if (servers[name].skipped) continue;
      try {
        const server = await firstAnswer(contender, expected);
        if (turn < 0) servers[name].first = server.startMs;
        else (times[name] ??= []).push(server.startMs);
        if (turn === COLD_STARTS - 1) running.set(name, server);
        else await server.stop();
      } catch (error) {
        // Ours must work; a rival that does not is said not to.
        if (name.startsWith("Twinfer")) throw error;
        Object.assign(servers[name], skipped(name, error.message));
      }
    }
  }
  for (const name of running.keys()) servers[name].cold = summarise(times[name]);
}

/**
 * Starts a server and waits for its first right answer; any other answer of 200 is a failure, and so is an error
 * that stays (a server that has not loaded its model answers with one).
 */
async function firstAnswer({ start, request, read }, expected) {
  let wrong, refused;
  const server = await start(async (port) => {
    const { status, body } = await call({ port, request }).catch(() => ({ status: 0 }));
    if (status === 200) wrong = difference(read(JSON.parse(body)), expected);
    else if (status > 0 && performance.now() - (refused ??= performance.now()) > REFUSED_MS) wrong = `status ${status}: ${body.toString("utf8", 0, 300)}`;
    return status === 200 || wrong !== undefined;
  });
  if (wrong === undefined) return server;
  await server.stop();
  throw new Error(`it answers wrongly: ${wrong}`);
}

async function memoryAfterLoad(all, servers, running) {
  for (const [name, { port, pid }] of running) {
    const { request } = all[name];
    await load({ port, request, ...LOADED });
    servers[name].memory = { loaded: memoryOf(pid) };
  }
}

async function rounds(all, servers, running) {
  const most = {};
  for (const connections of CLIENTS) {
    const seen = Object.fromEntries([...running.keys()].map((name) => [name, { rates: [], times: [], errors: {} }]));
    // The first round warms up.
    for (let round = -1; round < ROUNDS; round++) {
      for (const [name, { port, pid }] of inTurns(round, [...running])) {
        const { request } = all[name];
        const watch = watchMemory(pid);
        const got = await load({ port, request, connections, milliseconds: round < 0 ? WARM_UP_MS : MILLISECONDS, counted: true });
        most[name] = larger(most[name], watch.stop());
        if (round >= 0) add(seen[name], got);
      }
    }
    for (const [name, { rates, times, errors }] of Object.entries(seen)) {
      (servers[name].load ??= {})[connections] = { rate: summarise(rates), latency: summarise(times), errors };
    }
  }
  for (const name of running.keys()) servers[name].memory.peak = most[name];
}

function add(seen, { rate, times, errors }) {
  seen.rates.push(rate);
  seen.times = seen.times.concat(times);
  for (const [kind, count] of Object.entries(errors)) seen.errors[kind] = (seen.errors[kind] ?? 0) + count;
}

function larger(a, b) {
  return a ? Object.fromEntries(Object.keys(b).map((key) => [key, Math.max(a[key], b[key])])) : b;
}

function show(name, { cold, memory, load: measured }) {
  const mb = ({ proportional }) => (proportional / 1e6).toFixed(0);
  const each = Object.entries(measured).map(
    ([clients, { rate, latency, errors }]) =>
      `${clients}: ${rate.median.toFixed(0)}/s, p50 ${latency.median?.toFixed(2)}, p99 ${latency.p99?.toFixed(2)} ms${Object.keys(errors).length ? `, errors ${JSON.stringify(errors)}` : ""}`,
  );
  console.log(`${name}: first answer ${cold.median.toFixed(0)} ms; memory ${mb(memory.loaded)}, at most ${mb(memory.peak)} MB; ${each.join("; ")}`);
}
