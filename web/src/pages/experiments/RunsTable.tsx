import { useEffect, useMemo, useRef } from "react";
import { useVirtualizer } from "@tanstack/react-virtual";
import type { UseInfiniteQueryResult } from "@tanstack/react-query";
import { Link } from "wouter";

import type { TrackedRun } from "../../api/types";
import { count, metric } from "../../format/number";
import { duration, secondsBetween } from "../../format/time";
import { Hash } from "../../parts/Hash";
import { Status, trackedState } from "../../parts/Status";
import { Time, useNow } from "../../parts/Time";
import { VersionTags } from "../../parts/VersionTags";
import { links } from "../../parts/links";
import { colourOf, type Charted } from "./charted";
import type { Column } from "./columns";

const ROW_PX = 28;
/** Rows from the end at which the next page is asked for. */
const AHEAD = 15;

interface Props {
  query: Pick<UseInfiniteQueryResult, "hasNextPage" | "isFetchingNextPage" | "fetchNextPage">;
  runs: TrackedRun[];
  total: number;
  columns: Column[];
  charted: Charted;
  onToggle: (run: string) => void;
  sort: string | null;
  onSort: (sort: string | null) => void;
}

/** All runs of the filter; only the rows in sight are in the document. */
export function RunsTable({ query, runs, total, columns, charted, onToggle, sort, onSort }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: runs.length,
    getScrollElement: () => frame.current,
    estimateSize: () => ROW_PX,
    overscan: 20,
    initialRect: { width: 1000, height: 700 },
  });
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = query;
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && last >= runs.length - AHEAD) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage, last, runs.length]);

  const reference = runs.find((run) => charted.has(run.run_id)) ?? runs[0];
  const before = items[0]?.start ?? 0;
  const after = virtual.getTotalSize() - (items.at(-1)?.end ?? 0);
  const metrics = columns.filter((column) => column.kind === "metric");
  const params = columns.filter((column) => column.kind === "param");
  const sorted = metrics.find((column) => sort?.startsWith(column.id));
  const range = useMemo(() => rangeOf(runs, sorted?.name), [runs, sorted?.name]);
  const span = 6 + metrics.length + params.length + (sorted ? 1 : 0);
  return (
    <section className="panel" aria-label="Runs">
      <div className="grid" ref={frame} tabIndex={0} role="region" aria-label="Runs table">
        <table className="dense" aria-rowcount={total + 1}>
          <thead>
            <tr aria-rowindex={1}>
              <th className="sticky-cell">Run</th>
              <th>Status</th>
              <SortHead id="attributes.start_time" name="Started" sort={sort} onSort={onSort} className="not-narrow" />
              <th className="num not-narrow">Duration</th>
              {metrics.map((column, index) => (
                <SortHead key={column.id} id={column.id} name={column.name} sort={sort} onSort={onSort} className={`num ${index === 0 ? "group" : ""}`} wide={column === sorted} />
              ))}
              {params.map((column, index) => (
                <SortHead key={column.id} id={column.id} name={column.name} sort={sort} onSort={onSort} className={`num not-narrow ${index === 0 ? "group" : ""}`} />
              ))}
              <th className="group not-narrow">Commit</th>
              <th className="not-narrow">Model</th>
            </tr>
          </thead>
          <tbody>
            {before > 0 && <Gap height={before} span={span} />}
            {items.map((item) => {
              const run = runs[item.index];
              return (
                run && (
                  <Row
                    key={run.run_id}
                    run={run}
                    index={item.index}
                    slot={charted.get(run.run_id)}
                    onToggle={() => onToggle(run.run_id)}
                    metrics={metrics}
                    params={params}
                    sorted={sorted}
                    range={range}
                    reference={reference}
                    best={sorted !== undefined && item.index === 0}
                  />
                )
              );
            })}
            {after > 0 && <Gap height={after} span={span} />}
          </tbody>
        </table>
      </div>
      <div className="grid-foot">
        <span>
          {count(runs.length)} of {count(total)}
          {isFetchingNextPage && ", loading more"}
        </span>
        <span className="not-narrow">
          {charted.size} charted; <b>space</b> charts a run, <b>j k</b> move, <b>enter</b> opens
        </span>
        {reference && params.length > 0 && <span className="foot-end not-narrow">params equal to {reference.name} are grey</span>}
      </div>
    </section>
  );
}

function Gap({ height, span }: { height: number; span: number }) {
  return (
    <tr aria-hidden="true">
      <td colSpan={span} className="gap" style={{ height }} />
    </tr>
  );
}

/** First press: largest first; second: smallest first; third: the server's own order. */
function SortHead({ id, name, sort, onSort, className, wide }: { id: string; name: string; sort: string | null; onSort: (sort: string | null) => void; className: string; wide?: boolean }) {
  const down = sort === `${id} DESC`;
  const up = sort === `${id} ASC`;
  return (
    <th className={className} colSpan={wide ? 2 : 1} aria-sort={down ? "descending" : up ? "ascending" : undefined}>
      <button type="button" className={down || up ? "sort on" : "sort"} onClick={() => onSort(down ? `${id} ASC` : up ? null : `${id} DESC`)}>
        {name}
        {down ? " ↓" : up ? " ↑" : ""}
      </button>
    </th>
  );
}

interface RowProps {
  run: TrackedRun;
  index: number;
  slot: number | undefined;
  onToggle: () => void;
  metrics: Column[];
  params: Column[];
  sorted: Column | undefined;
  range: Range | null;
  reference: TrackedRun | undefined;
  best: boolean;
}

function Row({ run, index, slot, onToggle, metrics, params, sorted, range, reference, best }: RowProps) {
  const now = useNow();
  return (
    <tr aria-rowindex={index + 2} className={slot !== undefined && best ? "selected" : undefined}>
      <td className="sticky-cell">
        <span className="row run-name">
          <input type="checkbox" aria-label={`Chart ${run.name}`} checked={slot !== undefined} onChange={onToggle} />
          <Swatch slot={slot} />
          <Link data-row className="plain medium cut" href={links.trackedRun(run.experiment, run.run_id)}>
            {run.name}
          </Link>
          {best && <span className="tag">best</span>}
        </span>
      </td>
      <td>
        <Status of={trackedState(run.status)} />
      </td>
      <td className="text-2 not-narrow">{run.started_at === null ? "–" : <Time at={run.started_at} />}</td>
      <td className="num not-narrow">{run.started_at === null ? "–" : duration(secondsBetween(run.started_at, run.finished_at ?? now))}</td>
      {metrics.map((column, place) => {
        const value = run.metrics[column.name]?.value;
        return [
          <td key={column.id} className={`num ${place === 0 ? "group" : ""} ${best && column === sorted ? "strong" : ""}`}>
            {metric(value)}
          </td>,
          column === sorted && (
            <td key="bar">
              <ValueBar value={value} range={range} />
            </td>
          ),
        ];
      })}
      {params.map((column, place) => {
        const value = run.params[column.name];
        const equal = value === undefined || (run !== reference && value === reference?.params[column.name]);
        return (
          <td key={column.id} className={`num not-narrow ${place === 0 ? "group" : ""} ${equal ? "text-3" : "medium"}`}>
            {value ?? "–"}
          </td>
        );
      })}
      <td className="group not-narrow">{run.commit && <Hash hash={run.commit} />}</td>
      <td className="not-narrow">
        <VersionTags of={run.model_versions} />
      </td>
    </tr>
  );
}

/** The run's line as it is in the charts. */
export function Swatch({ slot }: { slot: number | undefined }) {
  if (slot === undefined) {
    return (
      <svg width="14" height="14" aria-hidden="true">
        <circle cx="7" cy="7" r="3" fill="none" stroke="var(--control)" strokeWidth="1.3" />
      </svg>
    );
  }
  const { variable, dashed } = colourOf(slot);
  return (
    <svg width="14" height="14" aria-hidden="true">
      <path d="M0 7h14" stroke={variable} strokeWidth="2.4" strokeDasharray={dashed ? "3 2" : undefined} />
      <circle cx="7" cy="7" r="3.4" fill={variable} />
    </svg>
  );
}

/** The least and the greatest value of the sorted metric. */
interface Range {
  least: number;
  most: number;
}

function rangeOf(runs: TrackedRun[], name: string | undefined): Range | null {
  const range: Range = { least: Infinity, most: -Infinity };
  for (const run of runs) {
    const value = name === undefined ? undefined : run.metrics[name]?.value;
    if (typeof value !== "number") continue;
    range.least = Math.min(range.least, value);
    range.most = Math.max(range.most, value);
  }
  return range.least <= range.most ? range : null;
}

/** Where the value lies between the least and the greatest of the rows. */
function ValueBar({ value, range }: { value: number | string | undefined; range: Range | null }) {
  if (typeof value !== "number" || !range) return null;
  const share = (value - range.least) / (range.most - range.least || 1);
  return (
    <svg width="56" height="10" aria-hidden="true">
      <rect width="56" height="4" y="3" rx="2" fill="var(--sunken)" />
      <rect width={6 + share * 50} height="4" y="3" rx="2" fill="var(--heat-3)" />
    </svg>
  );
}
