/** The stretch that all charts of a page show: in the URL, by steps and by times each. */
import { useMemo } from "react";

import { useSearchParam } from "../../parts/useSearchParam";

export type Axis = "step" | "time";

/** Steps, or milliseconds since the epoch; both ends included. */
export interface Stretch {
  from: number;
  to: number;
}

export function useZoom(axis: Axis): [Stretch | null, (stretch: Stretch | null) => void] {
  const [text, setText] = useSearchParam(axis === "step" ? "steps" : "times");
  const zoom = useMemo(() => {
    const [, from, to] = /^(-?\d+)~(-?\d+)$/.exec(text ?? "") ?? [];
    return from !== undefined && to !== undefined && Number(from) < Number(to) ? { from: Number(from), to: Number(to) } : null;
  }, [text]);
  return [zoom, (stretch) => setText(stretch && `${Math.floor(stretch.from)}~${Math.ceil(stretch.to)}`)];
}

/** Half as long around its middle, down to one step. */
export function closer({ from, to }: Stretch): Stretch {
  const quarter = (to - from) / 4;
  const [low, high] = [Math.floor(from + quarter), Math.ceil(to - quarter)];
  return high - low < to - from ? { from: low, to: Math.max(high, low + 1) } : { from, to };
}

/** Twice as long; `null` when that is all there is. */
export function further({ from, to }: Stretch, whole: Stretch): Stretch | null {
  const half = Math.max((to - from) / 2, 1);
  const next = { from: Math.max(whole.from, from - half), to: Math.min(whole.to, to + half) };
  return next.from <= whole.from && next.to >= whole.to ? null : next;
}

/** Moved by half its length, within what there is. */
export function moved({ from, to }: Stretch, direction: -1 | 1, whole: Stretch): Stretch {
  const length = to - from;
  const start = Math.min(Math.max(from + (direction * length) / 2, whole.from), Math.max(whole.to - length, whole.from));
  return { from: start, to: start + length };
}
