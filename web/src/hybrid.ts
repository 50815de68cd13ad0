/** A script of its own: a page without `hybrid` does not fetch it. */
export { Hybrid } from "./hybrid/open.js";
