/** Registered models and their versions. */
import type { Digest, Json, Timestamp } from "./common";
import type { Item } from "./runs";

export interface Model {
  name: string;
  created_at: Timestamp;
  /** Of the newest change of it, its versions or aliases. */
  updated_at: Timestamp;
  description: string | null;
  aliases: Record<string, number>;
  /** Newest first. */
  versions: ModelVersion[];
}

export interface ModelVersion {
  model: string;
  version: number;
  created_at: Timestamp;
  aliases: string[];
  source: string;
  tracking_run: string | null;
  /** `null` for versions that were registered from outside a pipeline. */
  lineage: Lineage | null;
  metrics: Record<string, number>;
  params: Record<string, Json>;
  /** Environments it serves in, with its share of the traffic. */
  serving: Record<string, number>;
  releases: number[];
}

export interface Lineage {
  project: string;
  run: number;
  commit: string;
  author: string;
  trainer: string;
  content: string;
  size: number;
  data: Item[];
  params_hash: string;
  environment_hash: string | null;
  evaluation_hash: string | null;
}

/** The Markdown that people write about a model. */
export interface Card {
  markdown: string;
  digest: Digest;
  /** Who changed it last; `null` when it came with an import, or nobody wrote one. */
  edited_by: string | null;
  edited_at: Timestamp | null;
}

/** What is known about a version, and what is not. */
export interface Facts {
  model: string;
  version: number;
  created_at: Timestamp;
  created_by: string;
  aliases: string[];
  description: string | null;
  /** Where its files lie. */
  location: string;
  tracking_run: string | null;
  /** `<project>/<n>` */
  pipeline_run: string | null;
  commit: string | null;
  author: string | null;
  trainer: string | null;
  data: Item[];
  /** Datasets that its run logged. */
  datasets: { name: string; digest: string; context: string | null }[];
  params: Record<string, Json>;
  /** NaN and infinities as words. */
  metrics: Record<string, number | string>;
  evaluation_hash: string | null;
  environment: ModelEnvironment | null;
  flavors: string[];
  signature: Signature | null;
  files: ModelFile[];
  size: number | null;
  content: string | null;
  unknown: Unknown[];
}

export interface ModelEnvironment {
  hash: string | null;
  /** True for a lock; otherwise `packages` is what its files ask for. */
  locked: boolean;
  packages: string[];
}

export interface Signature {
  inputs: SignatureColumn[];
  outputs: SignatureColumn[];
  params: SignatureColumn[];
}

export interface SignatureColumn {
  /** Empty where it has none. */
  name: string;
  kind: string;
}

export interface ModelFile {
  path: string;
  size: number;
  sha256: string | null;
}

/** Something that nobody can say about a version. */
export interface Unknown {
  what: string;
  why: string;
}

/** Two versions compared, what is the same with it (`all=true`). */
export interface VersionComparison {
  /** `digits/3` */
  a: string;
  b: string;
  same_content: boolean | null;
  same_evaluation: boolean | null;
  origin: ValueChange[];
  params: ValueChange[];
  metrics: ValueChange[];
  data: VersionDataChange[];
  signature: ValueChange[];
  packages: ValueChange[];
  /** Sizes in bytes. */
  files: ValueChange[];
  unknown: Unknown[];
}

export interface ValueChange {
  key: string;
  a: Json;
  b: Json;
  difference?: number;
  /** Of a metric `better`, `worse`, `same`, `changed`; of a file `same`, `other content`. */
  word?: string;
}

export interface VersionDataChange {
  path: string;
  a: string | null;
  b: string | null;
  files: { added: number; removed: number; changed: number; names: string[] } | null;
}
