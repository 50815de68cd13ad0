// A process with all that it started, and its memory: a server may be several processes (Linux).
import { readFileSync, readdirSync } from "node:fs";

/** The id of each process of a tree, the root first; none where it is not there (or there is no /proc). */
export function processTree(root) {
  return treeOf(root, parents());
}

/** @param {Map<number, number>} parentOf The parent of each process. */
export function treeOf(root, parentOf) {
  if (!parentOf.has(root)) return [];
  const found = [root];
  for (let at = 0; at < found.length; at++) {
    for (const [child, parent] of parentOf) if (parent === found[at] && !found.includes(child)) found.push(child);
  }
  return found;
}

/**
 * Bytes of a tree: `resident`, in which a page that several have is counted for each, and
 * `proportional`, in which it is counted once.
 */
export function memoryOf(root) {
  const sum = { resident: 0, proportional: 0 };
  for (const pid of processTree(root)) {
    const { resident, proportional } = parseMemory(read(`/proc/${pid}/smaps_rollup`));
    sum.resident += resident;
    sum.proportional += proportional;
  }
  return sum;
}

/** @param {string} text Of `smaps_rollup`. */
export function parseMemory(text) {
  const bytes = (name) => Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
  return { resident: bytes("Rss"), proportional: bytes("Pss") };
}

/** Samples the memory of a tree until `stop()`, which gives the most that was seen. */
export function watchMemory(root, everyMs = 250) {
  const most = memoryOf(root);
  const timer = setInterval(look, everyMs);
  function look() {
    const now = memoryOf(root);
    for (const kind of Object.keys(most)) most[kind] = Math.max(most[kind], now[kind]);
  }
  return {
    stop: () => {
      clearInterval(timer);
      look();
      return most;
    },
  };
}

function parents() {
  const list = [];
  for (const name of entries("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentIn(read(`/proc/${name}/stat`));
    if (parent !== undefined) list.push([Number(name), parent]);
  }
  return new Map(list);
}

/** @param {string} stat `pid (name) state parent …`, where a name may have spaces and brackets. */
export function parentIn(stat) {
  const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return !parent || state === "Z" ? undefined : Number(parent);
}

function entries(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** A process may end while we look. */
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
