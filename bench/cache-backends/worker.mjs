import { measure } from "./measure.mjs";

onmessage = async ({ data }) => {
  try {
    postMessage({ result: await measure(data) });
  } catch (error) {
    postMessage({ error: String(error?.stack ?? error) });
  }
};
