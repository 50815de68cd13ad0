/** Where a prediction is computed: in the page, or by a server that the application allows. */

/** The page itself (or the program in Node), or a server. */
export type Where = "page" | "server";

/** Why a server is asked. */
export type ServerReason =
  /** There was no memory for the model, or for this prediction. */
  | "out_of_memory"
  /** The device has no WebAssembly, or none with SIMD. */
  | "unsupported_device"
  /** The engine could not be fetched or started. */
  | "engine_missing"
  /** Predictions take longer here than the budget allows. */
  | "latency";

/** Why the page computes. */
export type PageReason =
  /** It can, within the budget where there is one. */
  | "local_first"
  /** It is over the budget, and is tried again now and then. */
  | "probe"
  /** It is over the budget, and the application wants nothing to leave the device. */
  | "no_consent"
  /** It is over the budget, and the server failed. */
  | "server_failed";

/** What the application is asked before anything is sent to a server. */
export interface ConsentRequest {
  /** The address that inputs would be sent to. */
  readonly server: string;
  readonly name: string;
  readonly version: string;
  /** The package that would answer there: the one that is loaded here. */
  readonly digest: string;
  readonly reason: ServerReason;
}

/** Local first, and a server where the device cannot. */
export interface HybridOptions {
  /** What stands before `/v2/models/…` in the addresses of the server: `https://models.example`. */
  server: string | URL;
  /**
   * Whether inputs may be sent there. Asked once for a loaded model, when a server is wanted for the
   * first time; no request goes to the server before the answer is yes. After a no, what the device
   * cannot do fails with its own error. Keeping the answer for the next visit is up to the application.
   */
  consent(request: ConsentRequest): boolean | Promise<boolean>;
  /**
   * Milliseconds in the engine (preprocess, run, postprocess) that a prediction should take at most. The server is
   * asked when three quarters of the last predictions here took longer, and it is quicker. Without a budget the
   * server is only for what the device cannot do at all.
   */
  latencyBudgetMs?: number;
  /** Milliseconds that the server may take for an answer: 30,000 by default. */
  timeoutMs?: number;
  /** Headers for each request, such as `authorization`; or what gives them. */
  headers?: Readonly<Record<string, string>> | (() => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>);
  /** Whether cookies are sent: as in `fetch`, `same-origin` by default. */
  credentials?: "omit" | "same-origin" | "include";
}

/** Who computed an answer. */
export interface Provenance {
  readonly where: Where;
  /** Why there; absent without `hybrid`. */
  readonly why?: ServerReason | PageReason;
  /** The package that answered, the same in both places. */
  readonly digest: string;
  readonly version: string;
}
