/**
 * Every state of the product as word + shape + colour, always all three. The shapes carry the
 * meaning without colour: disc with check, octagon, triangle, ring with arc, diamond, plain rings.
 */
import type { ReactNode } from "react";

import type { GateOutcome, ReleaseState, StageStatus } from "../api/types";

export type Tone = "success" | "danger" | "warning" | "running" | "waiting" | "neutral";
export type Shape = Exclude<Tone, "neutral"> | "queued" | "reused" | "skipped" | "cancelled";

export interface State {
  shape: Shape;
  word: string;
}

const state = (shape: Shape, word: string): State => ({ shape, word });

export const STAGE: Record<StageStatus, State> = {
  queued: state("queued", "Queued"),
  running: state("running", "Running"),
  succeeded: state("success", "Succeeded"),
  reused: state("reused", "Reused"),
  failed: state("danger", "Failed"),
  skipped: state("skipped", "Skipped"),
  cancelled: state("cancelled", "Cancelled"),
  waiting: state("waiting", "Waits for approval"),
};

export const RELEASE: Record<ReleaseState, State> = {
  pending: state("queued", "Pending"),
  gating: state("running", "Passing the gates"),
  awaiting_approval: state("waiting", "Waits for approval"),
  rolling_out: state("running", "Rolling out"),
  live: state("success", "Live"),
  rejected: state("danger", "Rejected"),
  rolled_back: state("danger", "Rolled back"),
  superseded: state("cancelled", "Superseded"),
  failed: state("danger", "Failed"),
};

export const GATE: Record<GateOutcome, State> = {
  passed: state("success", "Passed"),
  no_incumbent: state("success", "Passed, nothing to compare with"),
  failed: state("danger", "Failed"),
  not_comparable: state("danger", "Not comparable"),
  error: state("danger", "Could not be evaluated"),
};

const TRACKED: Record<string, State> = {
  RUNNING: state("running", "Running"),
  FINISHED: state("success", "Finished"),
  FAILED: state("danger", "Failed"),
  KILLED: state("cancelled", "Killed"),
  SCHEDULED: state("queued", "Scheduled"),
};
/** MLflow's words for a tracked run. */
export const trackedState = (status: string): State => TRACKED[status] ?? state("queued", status.toLowerCase());

const DEPLOYMENT: Record<string, State> = {
  ready: state("success", "Ready"),
  starting: state("running", "Starting"),
  down: state("danger", "Down"),
};
export const deploymentState = (status: string): State => DEPLOYMENT[status] ?? state("queued", status);

const ROLLOUT: Record<string, State> = {
  progressing: state("running", "Rolling out"),
  holding: state("running", "Holding"),
  promoted: state("success", "Promoted"),
  rolled_back: state("danger", "Rolled back"),
  failed: state("danger", "Failed"),
};
export const rolloutState = (status: string): State => ROLLOUT[status] ?? state("queued", status);

export function tone(shape: Shape): Tone {
  switch (shape) {
    case "queued":
    case "reused":
    case "skipped":
    case "cancelled":
      return "neutral";
    default:
      return shape;
  }
}

/** `quiet`: grey words beside the coloured shape, for what needs no one's attention. */
export function Status({ of, children, quiet, pill }: { of: State; children?: ReactNode; quiet?: boolean; pill?: boolean }) {
  const calm = quiet ?? (!pill && (of.shape === "success" || tone(of.shape) === "neutral"));
  return (
    <span className={`state tone-${tone(of.shape)}${calm ? " quiet" : ""}${pill ? " pill" : ""}`}>
      <StatusShape shape={of.shape} />
      <span>{children ?? of.word}</span>
    </span>
  );
}

/** The shape alone; whoever uses it puts the word beside it. */
export function StatusShape({ shape, coloured }: { shape: Shape; coloured?: boolean }) {
  return (
    <svg viewBox="0 0 14 14" aria-hidden="true" fill="none" className={`icon${coloured ? ` tone-${tone(shape)}` : ""}${shape === "running" ? " spin" : ""}`}>
      <ShapePaths shape={shape} />
    </svg>
  );
}

/** In the coordinates of a 14 × 14 box, for use inside larger drawings. */
export function ShapePaths({ shape }: { shape: Shape }) {
  const line = { stroke: "currentColor", strokeLinecap: "round", strokeLinejoin: "round" } as const;
  const ring = <circle cx="7" cy="7" r="5.4" stroke="currentColor" strokeWidth="1.5" />;
  switch (shape) {
    case "success":
      return (
        <>
          <circle cx="7" cy="7" r="6.2" fill="currentColor" />
          <path d="M4.2 7.2l2 2 3.8-4.3" {...line} stroke="var(--surface)" strokeWidth="1.6" />
        </>
      );
    case "danger":
      return (
        <>
          <path d="M4.4.8h5.2l3.6 3.6v5.2l-3.6 3.6H4.4L.8 9.6V4.4z" fill="currentColor" />
          <path d="M4.8 4.8l4.4 4.4M9.2 4.8L4.8 9.2" {...line} stroke="var(--surface)" strokeWidth="1.6" />
        </>
      );
    case "warning":
      return (
        <>
          <path d="M7 1l6.3 11.4H.7z" fill="currentColor" {...line} />
          <path d="M7 5v3.4M7 10.3v.2" {...line} stroke="var(--surface)" strokeWidth="1.5" />
        </>
      );
    case "running":
      return (
        <>
          <circle cx="7" cy="7" r="5.4" stroke="currentColor" strokeWidth="1.6" opacity=".28" />
          <path d="M7 1.6A5.4 5.4 0 0 1 12.4 7" {...line} strokeWidth="2" />
          <circle cx="7" cy="7" r="1.8" fill="currentColor" />
        </>
      );
    case "waiting":
      return (
        <>
          <rect x="2.4" y="2.4" width="9.2" height="9.2" rx="1.4" transform="rotate(45 7 7)" stroke="currentColor" strokeWidth="1.6" />
          <path d="M5.7 5v4M8.3 5v4" {...line} strokeWidth="1.5" />
        </>
      );
    case "queued":
      return <circle cx="7" cy="7" r="5.4" stroke="currentColor" strokeWidth="1.5" strokeDasharray="2.2 2.05" />;
    case "reused":
      return (
        <>
          {ring}
          <path d="M4.6 5.8h4.8M4.6 8.2h4.8" {...line} strokeWidth="1.4" />
        </>
      );
    case "skipped":
      return (
        <>
          {ring}
          <path d="M4.6 7h4.8" {...line} strokeWidth="1.5" />
        </>
      );
    case "cancelled":
      return (
        <>
          {ring}
          <path d="M3.4 10.6l7.2-7.2" stroke="currentColor" strokeWidth="1.5" />
        </>
      );
  }
}
