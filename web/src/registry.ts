import { TwinferError } from "./errors.js";
import { baseUrl } from "./platform.js";

/** A package in a registry: an OCI image layout on any web host, or in a folder (Node); or an OCI registry. */
export interface Source {
  /** The folder with `index.json` and `blobs/`, or `oci://host/prefix`; ends with a slash. */
  registry: URL;
  /** `name`, `name:tag` or `name@sha256:…`. */
  reference: string;
}

/** Splits `<registry>/<reference>`. */
export function parseSource(address: string): Source {
  const cut = String(address).lastIndexOf("/") + 1;
  const reference = address.slice(cut);
  if (cut === 0 || reference === "") {
    throw new TwinferError(
      "invalid_reference",
      `\`${address}\` does not say which package of which registry: write <registry>/<name>:<version>, like /registry/face-detector:1.0.0`,
    );
  }
  try {
    return { registry: new URL(address.slice(0, cut), baseUrl()), reference: decodeURIComponent(reference) };
  } catch (error) {
    throw new TwinferError("invalid_reference", `\`${address}\` is not an address`, { cause: error });
  }
}

/** The name of the model in a reference. */
export function nameOf(reference: string): string {
  return reference.split(/[:@]/, 1)[0] ?? "";
}

/** The digest in a reference, where there is one. */
export function pinnedDigest(reference: string): string | undefined {
  const at = reference.indexOf("@");
  return at < 0 ? undefined : reference.slice(at + 1);
}

/** The address of a further registry with the same content. */
export function parseMirror(address: string): URL {
  try {
    return new URL(address.endsWith("/") ? address : `${address}/`, baseUrl());
  } catch (error) {
    throw new TwinferError("invalid_request", `mirrors: \`${address}\` is not an address`, { cause: error });
  }
}
