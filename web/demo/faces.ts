import { find, onFile } from "./dom.js";
import { Panel } from "./panel.js";
import type { Box, Example } from "./twinfer/index.js";

const COLOUR = "#22c55e";

/** Pictures with boxes around faces. */
export function faces(panel: Panel): { start: () => Promise<void> } {
  const canvas = find<HTMLCanvasElement>(panel.root, "[data-canvas]");
  const caption = find(panel.root, "[data-answer]");

  const show = async (picture: Blob) => {
    // The browser's own reading is only looked at; the engine decodes the bytes itself.
    const bitmap = await createImageBitmap(picture).catch(() => undefined);
    if (bitmap) draw(canvas, bitmap, []);
    caption.textContent = "Looking…";
    try {
      const outputs = await panel.ask({
        inputs: { picture },
        body: () => ({ type: picture.type || "image/jpeg", data: picture }),
      });
      if (!outputs) return;
      const boxes = outputs["boxes"] as unknown as Box[];
      if (bitmap) draw(canvas, bitmap, boxes);
      caption.textContent = describe(boxes);
    } catch (error) {
      caption.textContent = "No answer.";
      throw error;
    }
  };
  const take = (picture: Blob) => void panel.attempt(() => show(picture));
  onFile(panel.root, take);
  for (const button of panel.root.querySelectorAll<HTMLElement>("[data-sample]")) {
    button.addEventListener("click", () => {
      void panel.attempt(async () => show(blobOf(await panel.example(button.dataset["sample"] ?? ""))));
    });
  }
  return { start: () => panel.attempt(async () => show(blobOf(await panel.example("group-jpeg")))) };
}

function blobOf(example: Example): Blob {
  return new Blob([example.inputs["picture"] as BlobPart], { type: example.mediaType ?? "" });
}

function describe(boxes: readonly Box[]): string {
  if (boxes.length === 0) return "No face found.";
  const best = Math.max(...boxes.map((box) => box.score));
  return `${boxes.length} ${boxes.length === 1 ? "face" : "faces"} found, the surest with ${(best * 100).toFixed(1)} %.`;
}

function draw(canvas: HTMLCanvasElement, picture: ImageBitmap, boxes: readonly Box[]): void {
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.drawImage(picture, 0, 0);
  const line = Math.max(2, Math.round(picture.width / 320));
  context.lineWidth = line;
  context.strokeStyle = COLOUR;
  context.font = `${Math.max(10, line * 5)}px system-ui, sans-serif`;
  for (const box of boxes) {
    context.strokeRect(box.x, box.y, box.width, box.height);
    const text = box.score.toFixed(2);
    const size = context.measureText(text);
    const height = line * 6;
    context.fillStyle = COLOUR;
    context.fillRect(box.x - line / 2, box.y - height, size.width + line * 2, height);
    context.fillStyle = "#052e16";
    context.fillText(text, box.x + line / 2, box.y - line * 1.4);
  }
}
