// Numbers and tables as the document has them.

export const mb = (bytes) => (bytes / 1e6).toFixed(2);
export const ms = (value) => value.toFixed(value < 1 ? 3 : value < 100 ? 2 : 0);
export const ratio = (ours, theirs) => `${(ours / theirs).toFixed(2)}×`;
export const rate = (value) => value.toFixed(0);

/** The first column is text, the others are numbers unless `text` says otherwise. */
export function table(head, rows, text = 1) {
  return [head, head.map((_, at) => (at < text ? "---" : "---:")), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** What was not measured, each with its reason, as a sentence below a table. */
export function skips(list) {
  const said = list.filter(([, reason]) => reason).map(([name, reason]) => `${name}: ${reason}`);
  return said.length === 0 ? "" : `\n\nNot measured: ${said.join("; ")}.`;
}
