import { find } from "./dom.js";
import { faces } from "./faces.js";
import { files } from "./files.js";
import { Panel } from "./panel.js";
import { tumour } from "./tumour.js";
import { keepOffline } from "./twinfer/offline.js";

const shown = [
  { panel: new Panel("faces", "/registry/face-detector"), show: faces },
  { panel: new Panel("files", "/registry/file-type"), show: files },
  { panel: new Panel("tumour", "/registry/tumour-risk"), show: tumour },
];
const panels = new Map(shown.map(({ panel, show }) => [panel.root.id, { panel, ...show(panel) }]));
const started = new Set<string>();
const tabs = [...document.querySelectorAll<HTMLElement>("[role=tab]")];

/** Shows a panel; its model is loaded when it is first shown. */
function select(tab: HTMLElement): void {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    find(document, `#${one.getAttribute("aria-controls")}`).hidden = !chosen;
  }
  const id = tab.getAttribute("aria-controls") ?? "";
  history.replaceState(null, "", `#${id}`);
  if (!started.has(id)) {
    started.add(id);
    void panels.get(id)?.start();
    void panels.get(id)?.panel.model().then(keep, () => undefined);
  }
}

/** Once a model is there, all that it takes is kept: the page opens without a network from then on. */
async function keep(): Promise<void> {
  const said = find(document, "[data-offline]");
  try {
    const { files, bytes } = await keepOffline({ serviceWorker: "sw.js" });
    said.textContent = `Works without a network from now on: ${files} files of this page (${(bytes / 1e6).toFixed(1)} MB) and its models are kept here.`;
  } catch (error) {
    // Every answer is given all the same, with the network.
    said.textContent = `Needs a network: ${error instanceof Error ? error.message : String(error)}`;
  }
}

// Arrow keys move between tabs: the pattern of the ARIA Authoring Practices Guide.
const MOVES: Readonly<Record<string, (at: number) => number>> = {
  ArrowRight: (at) => (at + 1) % tabs.length,
  ArrowLeft: (at) => (at + tabs.length - 1) % tabs.length,
  Home: () => 0,
  End: () => tabs.length - 1,
};
tabs.forEach((tab, at) => {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", (event) => {
    const next = tabs[MOVES[event.key]?.(at) ?? -1];
    if (!next) return;
    event.preventDefault();
    next.focus();
    select(next);
  });
});

const wanted = tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash);
const first = wanted ?? tabs[0];
if (first) select(first);
