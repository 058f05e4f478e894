/**
 * Which runs are charted, and in which colour. The colour belongs to the run: given when it is
 * chosen, kept in the URL (`run~slot`), the lowest free one first.
 */
import { useMemo } from "react";

import type { TrackedRun } from "../../api/types";
import { useSearchParam } from "../../parts/useSearchParam";

const COLOURS = 8;
/** Beyond the eight colours the same ones come again, dashed. */
export const MOST_CHARTED = 24;
/** How many of the first rows are charted before anything is chosen. */
const AT_FIRST = 6;

/** From the id of a run to its slot, from 0. */
export type Charted = Map<string, number>;

export function colourOf(slot: number): { variable: string; dashed: boolean } {
  return { variable: `var(--c${(slot % COLOURS) + 1})`, dashed: slot >= COLOURS };
}

/**
 * The runs worth charting before anybody chose: those with the metric that most runs have, and of
 * a pipeline's run and its stages' only the former when both have it.
 */
function telling(runs: TrackedRun[]): TrackedRun[] {
  const counts = new Map<string, number>();
  for (const name of runs.flatMap((run) => Object.keys(run.metrics))) counts.set(name, (counts.get(name) ?? 0) + 1);
  const common = [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
  if (common === undefined) return runs;
  const having = runs.filter((run) => common in run.metrics);
  const ids = new Set(having.map((run) => run.run_id));
  return having.filter((run) => run.parent === null || !ids.has(run.parent));
}

export function useCharted(runs: TrackedRun[]): { charted: Charted; toggle: (run: string) => void } {
  const [text, setText] = useSearchParam("charted");
  const first = telling(runs)
    .slice(0, AT_FIRST)
    .map((run) => run.run_id)
    .join(" ");
  const charted = useMemo(() => {
    if (text === null) return new Map(first.split(" ").filter(Boolean).map((run, slot) => [run, slot]));
    return new Map(
      text
        .split(",")
        .filter((part) => part.includes("~"))
        .map((part) => [part.slice(0, part.lastIndexOf("~")), Number(part.slice(part.lastIndexOf("~") + 1))]),
    );
  }, [text, first]);
  const toggle = (run: string) => {
    const next = new Map(charted);
    if (!next.delete(run)) {
      if (next.size >= MOST_CHARTED) return;
      const taken = new Set(next.values());
      next.set(run, Array.from({ length: MOST_CHARTED }, (_, slot) => slot).find((slot) => !taken.has(slot)) ?? 0);
    }
    // "none" keeps an emptied choice apart from no choice.
    setText([...next].map(([id, slot]) => `${id}~${slot}`).join(",") || "none");
  };
  return { charted, toggle };
}
