import { useState } from "react";

import type { Comparison, DataChange, Json, MetricChange } from "../../api/types";
import { delta, looksSame, metric, plural } from "../../format/number";
import { Tabs } from "../../parts/Choice";
import { Diff } from "../../parts/Diff";
import { Hash } from "../../parts/Hash";
import { Panel } from "../../parts/Panel";

type Part = "all" | "metrics" | "data" | "code" | "params" | "environment";
const PARTS: { value: Part; label: string }[] = [
  { value: "all", label: "All" },
  { value: "metrics", label: "Metrics" },
  { value: "data", label: "Data" },
  { value: "code", label: "Code" },
  { value: "params", label: "Params" },
  { value: "environment", label: "Environment" },
];

/** The candidate beside what serves now. */
export function Against({ comparison, environment }: { comparison: Comparison; environment: string }) {
  const [part, setPart] = useState<Part>("all");
  const shows = (each: Part) => part === "all" || part === each;
  // Sources that stages depend on stand in the diff.
  const inCode = new Set(comparison.code?.files.map((file) => file.path));
  const old = `v${comparison.incumbent.version}`;
  const next = `v${comparison.candidate.version}`;
  const params = Object.entries(comparison.params).filter(([, { old: a, new: b }]) => JSON.stringify(a) !== JSON.stringify(b));
  const sameParams = new Set([...Object.keys(comparison.candidate.params), ...Object.keys(comparison.incumbent.params)]).size - params.length;
  return (
    <Panel
      title={`Against ${environment}`}
      beside={<Tabs className="beside-title" label="What to compare" panel="against" options={PARTS} value={part} onChange={setPart} />}
      right={
        <>
          <Key kind="stable" text={old} />
          <Key kind="candidate" text={next} />
        </>
      }
    >
      <div id="against" role="tabpanel" aria-label={PARTS.find(({ value }) => value === part)?.label}>
        {shows("metrics") && <Metrics comparison={comparison} old={old} next={next} />}
        {shows("data") &&
          comparison.data.filter((change) => !inCode.has(change.path)).map((change) => (
            <div className="line" key={change.path}>
              <b>Data</b>
              <span className="mono text-2">{change.path}</span>
              <Change old={change.old} next={change.new} />
              {change.old === change.new ? (
                <span className="text-3">the same</span>
              ) : (
                <Files change={change} />
              )}
            </div>
          ))}
        {shows("params") && (
          <div className="line">
            <b>Params</b>
            {params.map(([name, change]) => (
              <span key={name}>
                <span className="mono">{name}</span> <span className="mono text-3">{show(change.old)} →</span> <b className="mono">{show(change.new)}</b>
              </span>
            ))}
            <span className="text-3">{params.length === 0 ? "the same" : sameParams > 0 ? `${plural(sameParams, "other")} the same` : ""}</span>
          </div>
        )}
        {shows("code") && comparison.code && (
          <>
            <div className="line">
              <b>Code</b>
              <Change old={comparison.code.old} next={comparison.code.new} />
              {comparison.code.files.slice(0, 4).map((file) => (
                <span key={file.path}>
                  <span className="mono">{file.path}</span> <span className="good">+{file.added}</span> <span className="bad">−{file.removed}</span>
                </span>
              ))}
              <span className="text-3">{plural(comparison.code.commits, "commit")}</span>
            </div>
            {comparison.code.diff && <Diff text={comparison.code.diff} />}
          </>
        )}
        {shows("environment") && (
          <div className="line">
            <b>Environment</b>
            {comparison.candidate.lineage?.environment_hash && <Hash hash={comparison.candidate.lineage.environment_hash} />}
            <span className="text-3">{comparison.environment_changed ? "changed" : "unchanged"}</span>
          </div>
        )}
      </div>
    </Panel>
  );
}

/** Of a folder: how many of its files. */
function Files({ change }: { change: DataChange }) {
  if (change.files_added === null && change.files_changed === null && change.files_removed === null) return <span className="text-3">changed</span>;
  return (
    <>
      {!!change.files_added && <span className="good medium">+{plural(change.files_added, "file")}</span>}
      <span className="text-3">
        {change.files_changed ?? 0} changed, {change.files_removed ?? 0} removed
      </span>
    </>
  );
}

function Key({ kind, text }: { kind: "stable" | "candidate"; text: string }) {
  return (
    <span className="row key">
      <svg width="9" height="9" aria-hidden="true">
        {kind === "stable" ? <circle cx="4.5" cy="4.5" r="3" fill="none" stroke="var(--stable)" strokeWidth="1.6" /> : <circle cx="4.5" cy="4.5" r="3.8" fill="var(--candidate)" />}
      </svg>
      {text}
    </span>
  );
}

function Change({ old, next }: { old: string | null; next: string | null }) {
  return (
    <span className="row">
      {old ? <Hash hash={old} /> : <span className="text-3">none</span>}
      <span className="text-3">→</span>
      {next ? <Hash hash={next} /> : <span className="text-3">none</span>}
    </span>
  );
}

const show = (value: Json | undefined) => (value === undefined || value === null ? "none" : typeof value === "number" ? String(value) : JSON.stringify(value));

function Metrics({ comparison, old, next }: { comparison: Comparison; old: string; next: string }) {
  if (!comparison.comparable) {
    return <p className="pad small text-2">Metrics are not comparable: {comparison.why_not_comparable ?? "they were computed on other evaluation data."}</p>;
  }
  const { low, high } = scale(comparison.metrics);
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label="Metrics side by side">
      <table className="against">
        <thead>
          <tr>
            <th>Metric</th>
            <th className="num">{old}</th>
            <th className="num">{next}</th>
            <th className="num">Change</th>
            <th>
              <span className="visually-hidden">Direction</span>
            </th>
            <th className="not-narrow">
              {metricTick(low)} to {metricTick(high)}
            </th>
          </tr>
        </thead>
        <tbody>
          {comparison.metrics.map((change) => (
            <tr key={change.name}>
              <td className="medium">{change.name}</td>
              <td className="num">{metric(change.old)}</td>
              <td className="num medium">{metric(change.new)}</td>
              <td className={`num medium ${tint(change)}`}>{change.old !== null && change.new !== null ? delta(change.old, change.new) : "–"}</td>
              <td className={tint(change)}>{change.word}</td>
              <td className="not-narrow">{change.old !== null && change.new !== null && <Span change={change} low={low} high={high} />}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Only a change that can be seen is coloured. */
function tint({ old, new: next, word }: MetricChange): string {
  if (old !== null && next !== null && looksSame(old, next)) return "same";
  return { better: "good", worse: "bad" }[word] ?? "same";
}
const metricTick = (value: number) => value.toFixed(2);

/** Round ends for the scores, which mostly lie close to 1; what lies elsewhere is not drawn. */
function scale(metrics: MetricChange[]): { low: number; high: number } {
  const values = metrics.flatMap(({ old, new: next }) => [old, next]).filter((value): value is number => value !== null && value >= 0 && value <= 1);
  const upper = values.filter((value) => value >= 0.5);
  if (upper.length * 2 < values.length) return { low: 0, high: 1 };
  return { low: Math.min(...upper) >= 0.9 ? 0.9 : 0.5, high: 1 };
}

/** Ring = production, disc = candidate, the line between them in the colour of the direction. */
function Span({ change, low, high }: { change: MetricChange; low: number; high: number }) {
  const old = change.old ?? 0;
  const next = change.new ?? 0;
  if ([old, next].some((value) => value < low || value > high)) return null;
  const x = (value: number) => 6 + ((value - low) / (high - low)) * 106;
  const colour = { better: "var(--success)", worse: "var(--danger)" }[change.word] ?? "var(--text-3)";
  return (
    <svg width="118" height="16" role="img" aria-label={`${metric(old)} to ${metric(next)}`}>
      <path d="M6 8.5h106" stroke="var(--line)" />
      <path d={`M${x(old)} 8.5H${x(next)}`} stroke={colour} strokeWidth="2" />
      <circle cx={x(old)} cy="8.5" r="3.2" fill="var(--surface)" stroke="var(--stable)" strokeWidth="1.6" />
      <circle cx={x(next)} cy="8.5" r="3.6" fill="var(--candidate)" />
    </svg>
  );
}
