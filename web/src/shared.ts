/**
 * What `offline.js` and `hybrid.js` need of the rest. In the package `index.js` is one file with all that it
 * imports: a second copy of these modules would not know what the first one has loaded.
 */

export { find } from "./choose.js";
export { defaultEngineUrl, enginesInUse } from "./engine.js";
export { EngineStopped, EngineUnavailable, TwinferError, aborted, describe, isErrorCode, unlessAborted } from "./errors.js";
export { isDrawable, packInput, packTensors } from "./inputs.js";
export { still } from "./instance.js";
export { plainParameters } from "./model.js";
export { digestOf } from "./oci.js";
export { Origin } from "./origin.js";
export { baseUrl } from "./platform.js";
export { computed, provenanceOf } from "./provenance.js";
export { nameOf } from "./registry.js";
export { openStorage } from "./storage/storage.js";
export { elements, fromWireValues } from "./tensors.js";
