import type { TrackedRun } from "../../api/types";
import { Parallel } from "./Parallel";
import { SeriesPanel } from "./SeriesPanel";
import type { Charted } from "./charted";
import type { Column } from "./columns";

const CHARTS = 2;

/** The first metrics of the charted runs, and their parameters side by side. */
export function Charts({ experiment, runs, charted, columns }: { experiment: string; runs: TrackedRun[]; charted: Charted; columns: Column[] }) {
  const metrics = columns.filter((column) => column.kind === "metric").slice(0, CHARTS);
  const params = columns.filter((column) => column.kind === "param");
  const shown = runs.filter((run) => charted.has(run.run_id));
  if (metrics.length === 0 || shown.length === 0) return null;
  return (
    <div className="columns charts">
      {metrics.map((column) => (
        <SeriesPanel key={column.id} experiment={experiment} runs={shown} charted={charted} name={column.name} />
      ))}
      <Parallel runs={runs} charted={charted} params={params} metric={metrics[0]?.name ?? ""} />
    </div>
  );
}
