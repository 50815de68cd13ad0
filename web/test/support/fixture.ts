/** Packages made here, byte by byte, so that every part can also be made wrong. */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { doubling, identity } from "./onnx.js";

type Json = Record<string, unknown>;

export interface Parts {
  name: string;
  version?: string;
  model: Uint8Array<ArrayBuffer>;
  pipeline?: Json;
  golden?: Json;
  labels?: Json;
  /** Further fields of `twinfer.json`, or other values of its fields. */
  config?: Json;
  /** Further fields of the manifest. */
  manifest?: Json;
}

/** A registry in memory: the files of an image layout by path. */
export class Registry {
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #entries: Json[] = [];

  /** Adds a package and gives its digest. */
  add({ name, version = "1.0.0", model, pipeline, golden, labels, config = {}, manifest = {} }: Parts): string {
    const twinferJson = json({ format_version: 1, name, version, ...(labels && { labels }), ...(pipeline && { pipeline }), ...config });
    const layers = [
      this.#layer("weight.config", "twinfer.json", twinferJson),
      this.#layer("weight", "model.onnx", model),
      ...(golden ? [this.#layer("dataset", "golden.json", json(golden))] : []),
    ];
    const diffIds = layers.map((layer) => layer["digest"]);
    const modelConfig = this.put(json({ descriptor: { name, version }, config: { format: "onnx" }, modelfs: { type: "layers", diffIds } }));
    const bytes = json({
      schemaVersion: 2,
      mediaType: MANIFEST,
      artifactType: ARTIFACT,
      config: { mediaType: "application/vnd.cncf.model.config.v1+json", ...modelConfig },
      layers,
      ...manifest,
    });
    const entry = this.put(bytes);
    const annotations = { [REF_NAME]: `${name}:${version}` };
    this.#entries.push({ mediaType: MANIFEST, artifactType: ARTIFACT, ...entry, annotations });
    this.files.set("index.json", json({ schemaVersion: 2, manifests: this.#entries }));
    return entry.digest;
  }

  /** Lets a reference (`name:tag`) point to a package that was added. */
  point(reference: string, digest: string): void {
    const known = this.#entries.find((entry) => entry["digest"] === digest);
    const others = this.#entries.filter((entry) => (entry["annotations"] as Json)[REF_NAME] !== reference);
    this.#entries.splice(0, Infinity, ...others, { ...known, annotations: { [REF_NAME]: reference } });
    this.files.set("index.json", json({ schemaVersion: 2, manifests: this.#entries }));
  }

  /** Lists engines that were made for a package. Their files are blobs like any other. */
  engines(digest: string, list: readonly object[]): void {
    const said = { "ai.twinfer.engines": JSON.stringify(list) };
    for (const entry of this.#entries.filter((entry) => entry["digest"] === digest)) entry["annotations"] = { ...(entry["annotations"] as Json), ...said };
    this.files.set("index.json", json({ schemaVersion: 2, manifests: this.#entries }));
  }

  /** Adds a blob. */
  put(bytes: Uint8Array<ArrayBuffer>): { digest: string; size: number } {
    const hex = createHash("sha256").update(bytes).digest("hex");
    this.files.set(`blobs/sha256/${hex}`, bytes);
    return { digest: `sha256:${hex}`, size: bytes.length };
  }

  /** The path of a layer of a package. */
  layer(digest: string, file: string): string {
    const manifest = JSON.parse(new TextDecoder().decode(this.files.get(pathOf(digest)))) as { layers: Layer[] };
    const layer = manifest.layers.find(({ annotations }) => annotations[TITLE] === file);
    if (!layer) throw new Error(`there is no ${file}`);
    return pathOf(layer.digest);
  }

  write(folder: string): void {
    for (const [path, bytes] of this.files) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), bytes);
    }
    writeFileSync(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  }

  #layer(kind: string, file: string, bytes: Uint8Array<ArrayBuffer>): Json {
    const mediaType = `application/vnd.cncf.model.${kind}.v1.raw`;
    return { mediaType, ...this.put(bytes), annotations: { [TITLE]: file, "org.cncf.model.filepath": file } };
  }
}

type Layer = { digest: string; annotations: Record<string, string> };

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const ARTIFACT = "application/vnd.cncf.model.manifest.v1+json";
const REF_NAME = "org.opencontainers.image.ref.name";
const TITLE = "org.opencontainers.image.title";

export function pathOf(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function json(value: Json): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}

export function base64(bytes: ArrayBufferView): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** Takes `picture`; gives the doubled pixels of its middle, 2 x 2 RGB. */
export const PICTURE_PIPELINE = {
  input: { kind: "picture", name: "picture", tensor: "x", layout: "nhwc", steps: [{ resize: { width: 2, height: 2, filter: "nearest" } }] },
  outputs: [{ kind: "tensor", name: "pixels", tensor: "y" }],
};

export const RECORD_PIPELINE = {
  input: { kind: "record", name: "record", tensor: "x", columns: [{ name: "a" }, { name: "b", missing: "nan" }] },
  outputs: [{ kind: "tensor", name: "doubled", tensor: "y" }],
  parameters: [{ name: "mode", values: ["quick", "slow"], default: "quick" }],
};

export const BYTES_PIPELINE = {
  input: { kind: "bytes", name: "content", tensor: "x", dtype: "INT32", begin: 3, end: 1, block: 16, padding: 256 },
  outputs: [{ kind: "tensor", name: "tokens", tensor: "y" }],
};

export const AUDIO_PIPELINE = {
  input: { kind: "audio", name: "audio", tensor: "x", sample_rate: 8000, features: { waveform: {} } },
  outputs: [{ kind: "tensor", name: "samples", tensor: "y" }],
};

export const TEXT_PIPELINE = {
  input: { kind: "text", name: "text", tensor: "x", layout: "vector", max_characters: 20 },
  outputs: [{ kind: "tensor", name: "texts", tensor: "y" }],
};

/** A WAV file of 16 bits, with these samples in each channel. */
export function wav(samples: readonly number[], channels = 1, rate = 8000): Uint8Array<ArrayBuffer> {
  const file = Buffer.alloc(44 + 2 * channels * samples.length);
  file.write("RIFF", 0);
  file.writeUInt32LE(file.length - 8, 4);
  file.write("WAVEfmt ", 8);
  file.writeUInt32LE(16, 16);
  [1, channels].forEach((number, at) => file.writeUInt16LE(number, 20 + 2 * at));
  [rate, 2 * channels * rate].forEach((number, at) => file.writeUInt32LE(number, 24 + 4 * at));
  [2 * channels, 16].forEach((number, at) => file.writeUInt16LE(number, 32 + 2 * at));
  file.write("data", 36);
  file.writeUInt32LE(file.length - 44, 40);
  const all = samples.flatMap((sample) => Array.from({ length: channels }, () => sample));
  all.forEach((sample, at) => file.writeInt16LE(Math.round(sample * 32768), 44 + 2 * at));
  return Uint8Array.from(file);
}

/** A registry with one package of every kind; `y = x + x` in all of them, and of texts `y = x`. */
export function sampleRegistry(): Registry & { digests: Record<string, string> } {
  const registry = new Registry();
  const golden = {
    reference: "made by hand",
    cases: [
      { name: "small", input: { record: { a: 1, b: 2.5 } }, expect: { outputs: { doubled: [[2, 5]] } } },
      { name: "missing", input: { record: { a: -1 } }, parameters: { mode: "slow" }, expect: { outputs: { doubled: [[-2, "NaN"]] } } },
    ],
  };
  const digests = {
    vectors: registry.add({ name: "vectors", model: doubling("FP32", ["N", 2]) }),
    integers: registry.add({ name: "integers", model: doubling("INT64", ["N"]) }),
    record: registry.add({ name: "record", model: doubling("FP32", [1, 2]), pipeline: RECORD_PIPELINE, golden }),
    picture: registry.add({ name: "picture", model: doubling("FP32", [1, 2, 2, 3]), pipeline: PICTURE_PIPELINE }),
    audio: registry.add({ name: "audio", model: doubling("FP32", ["N", "samples"]), pipeline: AUDIO_PIPELINE }),
    text: registry.add({ name: "text", model: identity({ type: "STRING", shape: ["N"] }), pipeline: TEXT_PIPELINE }),
    bytes: registry.add({ name: "bytes", model: doubling("INT32", [1, 4]), pipeline: BYTES_PIPELINE }),
  };
  return Object.assign(registry, { digests });
}
