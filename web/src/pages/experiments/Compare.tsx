import { useQueries } from "@tanstack/react-query";
import { Link } from "wouter";

import { trackedRun } from "../../api/queries";
import type { TrackedRun } from "../../api/types";
import { delta, metric, plural } from "../../format/number";
import { duration, secondsBetween } from "../../format/time";
import { Bars, Empty, Failed } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Status, trackedState } from "../../parts/Status";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { useSearchParam } from "../../parts/useSearchParam";
import { usePage } from "../../shell/page";
import { MOST_CHARTED } from "./charted";
import "./experiment.css";

/** What differs? Differing parameters first, metrics against the first run. */
export function Compare() {
  const [text] = useSearchParam("runs");
  const ids = (text ?? "").split(",").filter(Boolean).slice(0, MOST_CHARTED);
  const results = useQueries({ queries: ids.map((id) => trackedRun(id)) });
  usePage([{ text: "Experiments", href: "/experiments" }, { text: "Compare" }]);
  const runs = results.flatMap((result) => result.data ?? []);
  const failed = results.find((result) => result.error);
  return (
    <>
      <h1>Compare {plural(ids.length, "run")}</h1>
      {failed?.error && <Failed what="one of the runs" error={failed.error} retry={() => void failed.refetch()} />}
      {ids.length < 2 ? (
        <Empty>Choose two or more runs in an experiment's table and press c.</Empty>
      ) : runs.length < ids.length && !failed ? (
        <Bars count={8} what="the runs" />
      ) : (
        <Table runs={runs} />
      )}
    </>
  );
}

function Table({ runs }: { runs: TrackedRun[] }) {
  const [reference] = runs;
  if (!reference) return null;
  const names = (of: (run: TrackedRun) => object) => [...new Set(runs.flatMap((run) => Object.keys(of(run))))];
  const differs = (name: string) => new Set(runs.map((run) => run.params[name])).size > 1;
  const params = names((run) => run.params).sort((a, b) => Number(differs(b)) - Number(differs(a)));
  return (
    <Panel title="Side by side" right={`against ${reference.name}`}>
      <div className="scroll" tabIndex={0} role="region" aria-label="Runs side by side">
        <table className="dense compare">
          <thead>
            <tr>
              <th className="sticky-cell">Run</th>
              {runs.map((run) => (
                <th key={run.run_id} className="num">
                  <Link href={links.trackedRun(run.experiment, run.run_id)}>{run.name}</Link>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <Line name="status" cells={runs.map((run) => <Status key={run.run_id} of={trackedState(run.status)} />)} />
            <Line name="started" cells={runs.map((run) => (run.started_at === null ? "–" : <Time key={run.run_id} at={run.started_at} />))} />
            <Line name="took" cells={runs.map((run) => (run.started_at === null || run.finished_at === null ? "–" : duration(secondsBetween(run.started_at, run.finished_at))))} />
            {params.map((name) => (
              <Line
                key={`param ${name}`}
                name={name}
                kind="param"
                cells={runs.map((run) => (
                  <span key={run.run_id} className={run !== reference && run.params[name] === reference.params[name] ? "text-3" : "medium"}>
                    {run.params[name] ?? "–"}
                  </span>
                ))}
              />
            ))}
            {names((run) => run.metrics).map((name) => (
              <Line key={`metric ${name}`} name={name} kind="metric" cells={runs.map((run) => <Metric key={run.run_id} run={run} reference={reference} name={name} />)} />
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function Line({ name, kind, cells }: { name: string; kind?: string; cells: React.ReactNode[] }) {
  return (
    <tr>
      <th scope="row" className="sticky-cell">
        {name} {kind && <span className="text-3 light">{kind}</span>}
      </th>
      {cells.map((cell, index) => (
        <td key={index} className="num">
          {cell}
        </td>
      ))}
    </tr>
  );
}

function Metric({ run, reference, name }: { run: TrackedRun; reference: TrackedRun; name: string }) {
  const value = run.metrics[name]?.value;
  const base = reference.metrics[name]?.value;
  return (
    <>
      {metric(value)}
      {run !== reference && typeof value === "number" && typeof base === "number" && <span className="text-3"> {delta(base, value)}</span>}
    </>
  );
}
