import { useRef, useState, type KeyboardEvent } from "react";
import { useQuery } from "@tanstack/react-query";
import { useLocation } from "wouter";

import { grid } from "../../api/queries";
import type { Grid, GridRun } from "../../api/types";
import { duration, exact, secondsBetween } from "../../format/time";
import { Empty, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { RunBars } from "../../parts/RunBars";
import { STAGE, StatusShape } from "../../parts/Status";
import { useNow } from "../../parts/Time";
import { links } from "../../parts/links";

/** How do runs go? Rows are stages, columns are runs, the newest right. */
export function RunGrid({ project }: { project: string }) {
  const query = useQuery(grid(project));
  return (
    <Panel title="Run grid" label="Run grid" right={query.data && query.data.runs.length > 0 ? `last ${query.data.runs.length}` : undefined}>
      <Loaded query={query} what={`the run grid of ${project}`}>
        {(data) => (data.runs.length === 0 ? <Empty>No run yet.</Empty> : <Cells project={project} grid={data} />)}
      </Loaded>
    </Panel>
  );
}

function Cells({ project, grid: { stages, runs } }: { project: string; grid: Grid }) {
  const [, navigate] = useLocation();
  const now = useNow();
  const table = useRef<HTMLTableElement>(null);
  // The cell that Tab reaches: the newest run's first stage.
  const [at, setAt] = useState({ row: 0, column: runs.length - 1 });
  const row = Math.min(at.row, Math.max(0, stages.length - 1));
  const column = Math.min(at.column, runs.length - 1);

  const onKeyDown = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const next = { row: clamp(row + step[0], stages.length), column: clamp(column + step[1], runs.length) };
    setAt(next);
    table.current?.querySelector<HTMLElement>(`[data-cell="${next.row} ${next.column}"]`)?.focus();
  };
  return (
    <div className="scroll run-grid">
      <table ref={table} role="grid" aria-label="States of stages" aria-rowcount={stages.length + 1} onKeyDown={onKeyDown}>
        <thead>
          <tr>
            <th className="text-3 light">Duration</th>
            <td colSpan={runs.length} className="bars">
              <RunBars runs={runs} now={now} />
            </td>
          </tr>
        </thead>
        <tbody>
          {stages.map((stage, r) => (
            <tr key={stage}>
              <th scope="row" className="mono cut" title={stage}>
                {stage}
              </th>
              {runs.map((run, c) => {
                const status = run.stages[stage];
                return (
                  <td key={run.number}>
                    {status && (
                      <button
                        type="button"
                        data-cell={`${r} ${c}`}
                        tabIndex={r === row && c === column ? 0 : -1}
                        className="cell"
                        aria-label={`${stage} in run ${run.number}: ${STAGE[status].word}`}
                        title={`${STAGE[status].word}\n${about(run, now)}`}
                        onFocus={() => setAt({ row: r, column: c })}
                        onClick={() => navigate(links.stage(project, run.number, stage))}
                      >
                        <StatusShape shape={STAGE[status].shape} coloured />
                      </button>
                    )}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const clamp = (value: number, length: number) => Math.min(Math.max(value, 0), length - 1);

function about(run: GridRun, now: number): string {
  const began = run.started_at ?? run.created_at;
  return `Run ${run.number}, ${run.trigger} by ${run.started_by}\n${exact(began).split("\n")[0]}, ${duration(secondsBetween(began, run.finished_at ?? now))}`;
}
