/** A copy of an engine whose memory may grow only by so many bytes: a device that is full. */

const PAGE = 1 << 16;
const MEMORY_SECTION = 5;

export function withMemoryLimit(wasm: Uint8Array, growth: number): Uint8Array<ArrayBuffer> {
  for (let at = 8; at < wasm.length; ) {
    const id = wasm[at];
    const size = readVarint(wasm, at + 1);
    const end = size.next + size.value;
    if (id === MEMORY_SECTION) {
      // One memory: count, flags, smallest size in pages.
      const least = readVarint(wasm, size.next + 2);
      const body = [1, 1, ...varint(least.value), ...varint(least.value + Math.ceil(growth / PAGE))];
      return Uint8Array.from([...wasm.subarray(0, at), MEMORY_SECTION, ...varint(body.length), ...body, ...wasm.subarray(end)]);
    }
    at = end;
  }
  throw new Error("the engine has no memory section");
}

function readVarint(bytes: Uint8Array, at: number): { value: number; next: number } {
  let value = 0;
  for (let shift = 0; ; shift += 7, at++) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return { value, next: at + 1 };
  }
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
