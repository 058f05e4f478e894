import type { TrackedRun } from "../../api/types";

/** A metric or parameter of the runs table; its id is what the server's grammar calls it. */
export interface Column {
  id: string;
  kind: "metric" | "param";
  name: string;
  /** Not the same in every run. */
  differs: boolean;
}

const METRICS_AT_FIRST = 3;
const PARAMS_AT_FIRST = 5;

/** Every metric and parameter of the runs; those that differ come first. */
export function columnsOf(runs: TrackedRun[]): Column[] {
  const of = (kind: Column["kind"], values: (run: TrackedRun) => Record<string, unknown>): Column[] => {
    const names = [...new Set(runs.flatMap((run) => Object.keys(values(run))))];
    return names
      .map((name) => ({ id: `${kind}s.${name}`, kind, name, differs: new Set(runs.map((run) => JSON.stringify(values(run)[name]))).size > 1 }))
      .sort((a, b) => Number(b.differs) - Number(a.differs));
  };
  return [...of("metric", (run) => run.metrics), ...of("param", (run) => run.params)];
}

export function chosenColumns(all: Column[], chosen: string | null): Column[] {
  if (chosen !== null) {
    const ids = new Set(chosen.split(","));
    return all.filter((column) => ids.has(column.id));
  }
  const metrics = all.filter((column) => column.kind === "metric").slice(0, METRICS_AT_FIRST);
  const params = all.filter((column) => column.kind === "param").slice(0, PARAMS_AT_FIRST);
  return [...metrics, ...params];
}
