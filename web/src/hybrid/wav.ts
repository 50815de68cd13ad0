/** Samples of a page as a file that loses nothing. */

const HEADER_BYTES = 44;
/** WAVE_FORMAT_IEEE_FLOAT (RFC 2361). */
const FLOAT = 3;
const SAMPLE_BYTES = 4;

/** A WAV file of 32-bit floats. `samples` has one channel after the other, the file one moment after the other. */
export function wav(sampleRate: number, channels: number, samples: Float32Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + samples.length * SAMPLE_BYTES);
  const view = new DataView(bytes.buffer);
  const frame = channels * SAMPLE_BYTES;
  text(bytes, 0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  text(bytes, 8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, FLOAT, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * frame, true);
  view.setUint16(32, frame, true);
  view.setUint16(34, SAMPLE_BYTES * 8, true);
  text(bytes, 36, "data");
  view.setUint32(40, samples.length * SAMPLE_BYTES, true);
  const length = channels === 0 ? 0 : samples.length / channels;
  for (let at = 0, offset = HEADER_BYTES; at < length; at++) {
    for (let channel = 0; channel < channels; channel++, offset += SAMPLE_BYTES) {
      view.setFloat32(offset, samples[channel * length + at] ?? 0, true);
    }
  }
  return bytes;
}

function text(bytes: Uint8Array, at: number, ascii: string): void {
  bytes.set(new TextEncoder().encode(ascii), at);
}
