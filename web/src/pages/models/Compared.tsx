import type { ReactNode } from "react";

import type { Json, ValueChange, VersionDataChange } from "../../api/types";
import { bytes, count, delta, metric } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { Empty } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { written } from "./VersionFacts";

interface Heads {
  a: ReactNode;
  b: ReactNode;
}

/** `apart`: metrics that were computed on different data, so none is better. */
type Kind = "text" | "metric" | "apart" | "size" | "origin";

export function isSame(change: ValueChange | VersionDataChange): boolean {
  return JSON.stringify(change.a) === JSON.stringify(change.b) && !("word" in change && change.word === "other content");
}

/** Different rows first; what is the same only when all is asked for, in grey. */
function useRows<C extends ValueChange | VersionDataChange>(changes: C[], all: boolean): { rows: C[]; same: number } {
  const different = changes.filter((change) => !isSame(change));
  const same = changes.filter(isSame);
  return { rows: all ? [...different, ...same] : different, same: same.length };
}

function Part({ title, rows, same, all, heads, change, children }: { title: string; rows: number; same: number; all: boolean; heads: Heads; change?: string; children: ReactNode }) {
  const different = all ? rows - same : rows;
  return (
    <Panel title={title} right={rows + same === 0 ? undefined : `${count(different)} different, ${count(same)} the same`}>
      {rows === 0 ? (
        <Empty>{same > 0 ? "All the same." : "Neither has any that are known."}</Empty>
      ) : (
        <div className="scroll" tabIndex={0} role="region" aria-label={`${title} side by side`}>
          <table className="dense versions-compared">
            <thead>
              <tr>
                <th>
                  <span className="visually-hidden">Name</span>
                </th>
                <th className="num">{heads.a}</th>
                <th className="num">{heads.b}</th>
                {change !== undefined && <th className="num">{change}</th>}
              </tr>
            </thead>
            <tbody>{children}</tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

export function ValueTable({ title, kind = "text", changes, all, heads }: { title: string; kind?: Kind; changes: ValueChange[]; all: boolean; heads: Heads }) {
  const { rows, same } = useRows(changes, all);
  const numbers = kind === "metric" || kind === "apart" || kind === "size";
  return (
    <Part title={title} rows={rows.length} same={same} all={all} heads={heads} change={numbers ? "Change" : undefined}>
      {rows.map((change) => (
        <tr key={change.key} className={isSame(change) ? "text-3" : undefined}>
          <th scope="row" className={kind === "size" ? "mono" : undefined}>
            {change.key}
          </th>
          <td className="num value">{shown(kind, change, change.a)}</td>
          <td className={`num value ${isSame(change) ? "" : "medium"}`}>{shown(kind, change, change.b)}</td>
          {numbers && <Difference kind={kind} change={change} />}
        </tr>
      ))}
    </Part>
  );
}

const MISSING = <span className="text-3">none</span>;

function shown(kind: Kind, { key }: ValueChange, value: Json): ReactNode {
  if (value === null) return MISSING;
  if (kind === "size") return typeof value === "number" ? bytes(value) : written(value);
  if ((kind === "metric" || kind === "apart") && (typeof value === "number" || typeof value === "string")) return metric(value);
  // Ids of runs begin with the time: their ends tell them apart.
  if (kind === "origin" && key === "tracking run" && typeof value === "string") return <span className="mono">…{value.slice(-8)}</span>;
  if (kind === "origin" && typeof value === "string" && /^(?:\w+:)?[0-9a-f]{20,}/.test(value)) return <Hash hash={value} />;
  return written(value);
}

function Difference({ kind, change }: { kind: Kind; change: ValueChange }) {
  const { a, b, word } = change;
  const both = typeof a === "number" && typeof b === "number";
  if (kind === "size") {
    const grown = both && a !== b ? `${b > a ? "+" : "−"}${bytes(Math.abs(b - a))}` : "";
    return <td className="num">{grown || word || (both ? "–" : a === null ? "added" : "removed")}</td>;
  }
  const tint = kind === "metric" ? ({ better: "good", worse: "bad" }[word ?? ""] ?? "text-3") : "text-3";
  return (
    <td className={`num ${tint}`}>
      {both ? delta(a, b) : "–"} {kind === "metric" && word !== undefined && word !== "changed" && word}
    </td>
  );
}

export function DataTable({ changes, all, heads }: { changes: VersionDataChange[]; all: boolean; heads: Heads }) {
  const { rows, same } = useRows(changes, all);
  const hash = (value: string | null) => (value === null ? MISSING : <Hash hash={value} />);
  return (
    <Part title="Data" rows={rows.length} same={same} all={all} heads={heads} change="Files of a folder">
      {rows.map((change) => (
        <tr key={change.path} className={isSame(change) ? "text-3" : undefined}>
          <th scope="row" className="mono">
            {change.path}
          </th>
          <td className="num">{hash(change.a)}</td>
          <td className="num">{hash(change.b)}</td>
          <td className="num value">{change.files && <Folder files={change.files} />}</td>
        </tr>
      ))}
    </Part>
  );
}

function Folder({ files }: { files: NonNullable<VersionDataChange["files"]> }) {
  const total = files.added + files.removed + files.changed;
  return (
    <details>
      <summary>
        {count(files.added)} added, {count(files.removed)} removed, {count(files.changed)} changed
      </summary>
      <ul className="mono small">
        {files.names.map((each) => (
          <li key={each}>{each}</li>
        ))}
        {total > files.names.length && <li className="text-3">and {count(total - files.names.length)} more</li>}
      </ul>
    </details>
  );
}
