// Why a goal is missed, by the goal's id in `goals.mjs`. Shown only where it is missed; written by
// whoever looked into it, and taken out when it is no longer so.

/** @type {Record<string, string>} */
export const reasons = {};
