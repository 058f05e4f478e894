/** What all parts of the wire have in common. */

/** Milliseconds since the Unix epoch, UTC. */
export type Timestamp = number;
/** A SHA-256, 64 lowercase hex digits. */
export type Digest = string;
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** One page of a list; `next` is the cursor of the following page. */
export interface Page<T> {
  items: T[];
  next?: string;
  total: number;
}

/** Every error answer (RFC 9457 problem+json). */
export interface Problem {
  title: string;
  status: number;
  detail: string;
  kind: string;
  hints?: string[];
}

/** One event of `/api/events`: the query keys that changed. */
export interface Changed {
  keys: (string | number)[][];
}
