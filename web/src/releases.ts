/** Deployments: which version of a model a page is given, and how it follows. */

import type { DeploymentRole } from "./generated/types.js";

/** Which variant of a deployment a model is. */
export interface Release {
  /** What was asked for behind the `@`. */
  readonly alias: string;
  /** The document that is followed. */
  readonly revision: number;
  /** The name of the variant, such as `canary`. */
  readonly variant: string;
  readonly role: DeploymentRole;
  /** Its share in basis points: 10,000 is everything. */
  readonly weight: number;
  /** The key that was assigned. A server with the same document gives it the same variant. */
  readonly key: string;
  /** The request header in which a server looks for the key. */
  readonly header: string;
}

/** How `name@alias` is followed. */
export interface DeploymentOptions {
  /**
   * Who is assigned to a variant: the id of a user, of a session, of a device. The same key gets the same variant in
   * every page and from every server. By default a random one, for as long as the page lives.
   */
  assignmentKey?: string;
  /**
   * Whether the random key may be kept in the browser's storage (`localStorage`), so that a visitor gets the same
   * variant in the next visit. It says nothing of the visitor, but it recognises the browser: `false` by default.
   */
  keepAssignmentKey?: boolean;
  /**
   * Seconds between questions for the deployment: 30 by default, each time up to a tenth more or less. `0`: only when the
   * model is loaded, and with `model.update()`.
   */
  pollSeconds?: number;
}
