/** Inputs that stay what they are while one place after the other is tried with them. */

import { isDrawable } from "../inputs.js";
import type { InputValue } from "../types.js";

/**
 * Copies of what the caller can change or hand over: a canvas is drawn on, a video goes on. What cannot be copied is
 * left as it is, and whoever reads it says what is wrong with it.
 */
export async function hold<T extends object>(inputs: T): Promise<T> {
  if (typeof inputs !== "object" || inputs === null) return inputs;
  const held = Object.entries(inputs).map(async ([name, value]) => [name, await copy(value as InputValue)] as const);
  return Object.fromEntries(await Promise.all(held)) as T;
}

async function copy(value: InputValue): Promise<InputValue> {
  try {
    return isDrawable(value) ? await createImageBitmap(value) : structuredClone(value);
  } catch {
    return value;
  }
}
