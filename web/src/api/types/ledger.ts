/** The ledger, and the way from a thing to its origins. */
import type { Digest, Json, Timestamp } from "./common";

export interface LedgerEntry {
  seq: number;
  hash: Digest;
  previous: Digest;
  /** `<noun>.<past participle>`, e.g. `release.approved`. */
  kind: string;
  actor: string;
  at: Timestamp;
  /** Most specific first: `release/12`, `model/digits/3`, `run/digits/4`. */
  about: string[];
  evidence: Json;
}

export interface Verified {
  entries: number;
  head: Digest;
  intact: boolean;
  broken_at: number | null;
  detail: string | null;
  at: Timestamp;
}

/** The chain from a thing down to its origins, or from data up to what it touched. */
export interface Trace {
  of: string;
  links: TraceLink[];
}

export interface TraceLink {
  depth: number;
  kind: string;
  name: string;
  hash: string | null;
  facts: [string, string][];
  ledger_seq: number | null;
}
