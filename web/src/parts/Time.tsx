import { useSyncExternalStore } from "react";

import { age, clock, exact, relative } from "../format/time";

/** One clock for the whole page, so that ages change together and only once a second. */
let now = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const each of listeners) each();
  }, 1_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The current time in milliseconds, once a second. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

/** "3 min ago", or the clock, or only the age; the exact time in both zones as its title. */
export function Time({ at, as = "relative" }: { at: number; as?: "relative" | "clock" | "seconds" | "age" }) {
  const current = useNow();
  const text =
    as === "clock" ? clock(at) : as === "seconds" ? clock(at, true) : as === "age" ? age(at, current) : relative(at, current);
  return (
    <time dateTime={new Date(at).toISOString()} title={exact(at)}>
      {text}
    </time>
  );
}
