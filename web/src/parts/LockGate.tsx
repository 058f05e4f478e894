import type { Tone } from "./Status";

/**
 * The chevron that canal maps draw for a lock gate, where a model passes a gate and nowhere else:
 * broken = open, whole = closed, its colour = why.
 */
export function LockGate({ open, tone, label }: { open: boolean; tone: Tone; label: string }) {
  return (
    <svg viewBox="0 0 14 22" width="12" height="20" role="img" aria-label={label} className={`gate-mark tone-${tone}`}>
      <path d={open ? "M3 1.5L8.2 7.7M3 20.5l5.2-6.2" : "M3 1.5L11 11 3 20.5"} fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}
