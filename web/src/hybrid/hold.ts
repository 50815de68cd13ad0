/** Inputs that stay what they are while one place after the other is tried with them. */

import { isDrawable } from "../inputs.js";
import type { InputValue } from "../types.js";

export interface Held<T> {
  inputs: T;
  /** Gives the memory of pictures back. */
  free(): void;
}

/**
 * Copies of what the caller can change or hand over: a canvas is drawn on, a video goes on. What cannot be copied is
 * left as it is, and whoever reads it says what is wrong with it.
 */
export async function hold<T extends object>(inputs: T): Promise<Held<T>> {
  const bitmaps: ImageBitmap[] = [];
  const free = (): void => bitmaps.forEach((bitmap) => bitmap.close());
  if (typeof inputs !== "object" || inputs === null) return { inputs, free };
  const copy = async (value: InputValue): Promise<InputValue> => {
    try {
      if (!isDrawable(value)) return structuredClone(value);
      const bitmap = await createImageBitmap(value);
      bitmaps.push(bitmap);
      return bitmap;
    } catch {
      return value;
    }
  };
  const held = Object.entries(inputs).map(async ([name, value]) => [name, await copy(value as InputValue)] as const);
  return { inputs: Object.fromEntries(await Promise.all(held)) as T, free };
}
