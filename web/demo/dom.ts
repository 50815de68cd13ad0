/** The one element that matches; the page is ours, so a missing one is a defect of it. */
export function find<T extends Element = HTMLElement>(root: ParentNode, selector: string): T {
  const element = root.querySelector<T>(selector);
  if (!element) throw new Error(`the page has no ${selector}`);
  return element;
}

/** An element with text and children. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, text = "", ...children: Node[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

/** A label, a bar and a number in percent. */
export function bar(label: string, share: number): HTMLElement {
  const meter = make("meter");
  meter.value = share;
  meter.setAttribute("aria-label", label);
  const row = make("div", "", make("span", label), meter, make("output", percent(share)));
  row.className = "bar";
  return row;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share > 0.9995 || share < 0.0005 ? 2 : 1)} %`;
}

/** Calls `take` with a file that is dropped on, or chosen or pasted in, a panel. */
export function onFile(panel: HTMLElement, take: (file: File) => void): void {
  const zone = find(panel, "[data-drop]");
  const chooser = find<HTMLInputElement>(panel, "[data-file]");
  const first = (files: FileList | null | undefined) => {
    const file = files?.[0];
    if (file) take(file);
  };
  chooser.addEventListener("change", () => {
    first(chooser.files);
    // So that the same file can be chosen again.
    chooser.value = "";
  });
  panel.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  panel.addEventListener("dragleave", () => zone.classList.remove("over"));
  panel.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    first(event.dataTransfer?.files);
  });
  document.addEventListener("paste", (event) => {
    if (!panel.hidden) first(event.clipboardData?.files);
  });
}
