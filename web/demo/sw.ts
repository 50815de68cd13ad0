/** The service worker: this page without a network. */
import { serveOffline } from "./twinfer/service-worker.js";

serveOffline();
