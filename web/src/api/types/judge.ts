/** The judge's evidence (`crates/stats`). */

/** Counts of both arms; a metric that the policy does not name is absent. */
export interface Evidence {
  requests: { stable: number; candidate: number };
  /** The frozen limits. */
  latency: { quantile: number; limit_seconds: number }[];
}

/** A decision with the numbers it rests on. E too large for a number arrives as `null`. */
export interface Verdict {
  action: "advance" | "hold" | "roll_back" | "promote";
  text: string;
  metrics: MetricVerdict[];
  /** What copies of requests said before any traffic, where the policy asks for that. */
  shadow?: ShadowVerdict;
  /** E of the rollback decision, and what it has to reach: 1 / alpha. */
  combined: number | null;
  combined_needed: number;
}

export interface MetricVerdict {
  /** `errors`, `latency p90`, `labels`. */
  name: string;
  required: boolean;
  stable: { bad: number; all: number };
  candidate: { bad: number; all: number };
  /** The candidate's bad rate over stable's, with its (1 - alpha) range. */
  ratio: { estimate: number | null; low: number; high: number | null } | null;
  /** Of an experiment: against "both rates are the same", valid whenever one looks. */
  p_value?: number;
  evidence: number | null;
  worse: "no_sign" | "suspected" | "worse";
  safe: number | null;
  safe_needed: number;
}

/** The candidate's answers to copies of requests that stable answered. */
export interface ShadowVerdict {
  compared: number;
  disagreed: number;
  failed: number;
  /** E against "it disagrees at least as often as the policy allows". */
  safe: number | null;
  safe_needed: number;
  /** The candidate's mean output less stable's, in standard deviations of stable's outputs. */
  drift: number | null;
  stable_seconds: number | null;
  candidate_seconds: number | null;
}
