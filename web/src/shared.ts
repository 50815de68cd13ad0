/**
 * What `offline.js` needs of the rest. In the package `index.js` is one file with all that it
 * imports: a second copy of these modules would not know what the first one has loaded.
 */

export { defaultEngineUrl, enginesInUse } from "./engine.js";
export { describe } from "./errors.js";
