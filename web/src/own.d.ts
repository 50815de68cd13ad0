/**
 * Digest of the full engine of this package, `sha256:` and 64 digits: the build writes it into
 * `dist/own.js`. Slim and fused engines that were made from another one do not fit the glue.
 */
export const OWN_ENGINE: string;
