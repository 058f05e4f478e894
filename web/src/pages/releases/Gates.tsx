import { useState } from "react";

import type { GateVerdict, Json, Release } from "../../api/types";
import { bytes, metric, plural, significant } from "../../format/number";
import { rounded, sentence } from "../../format/text";
import { Hash } from "../../parts/Hash";
import { Empty } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { GATE, StatusShape } from "../../parts/Status";
import { Time } from "../../parts/Time";

const KIND: Record<string, string> = {
  checks: "check",
  require: "metric",
  latency: "measured on this server",
  artifact_scan: "scan",
};

/** What the server decided the release on, each verdict with its numbers. */
export function Gates({ release }: { release: Release }) {
  return (
    <Panel
      title="Gates"
      beside={
        release.gates_evaluated_at !== null && (
          <span className="small text-2">
            evaluated <Time at={release.gates_evaluated_at} /> against {release.gated_against ?? "nothing: none serves yet"}
          </span>
        )
      }
      right={
        <span>
          policy <Hash hash={release.binds.policy} />
        </span>
      }
    >
      {release.gates.length === 0 ? (
        <Empty>{release.gates_evaluated_at === null ? "The gates are evaluated when the release gets its turn." : `No gate is declared for ${release.environment}.`}</Empty>
      ) : (
        release.gates.map((gate) => <Gate key={gate.name} gate={gate} />)
      )}
    </Panel>
  );
}

function Gate({ gate }: { gate: GateVerdict }) {
  const [open, setOpen] = useState(false);
  const state = GATE[gate.outcome];
  const failed = state.shape === "danger";
  const inputs = leaves(gate.inputs);
  return (
    <article className="gate" aria-label={`Gate ${gate.name}: ${state.word}`}>
      <StatusShape shape={state.shape} coloured />
      <div>
        <b className="gate-name">{gate.name}</b> <span className="text-3">{KIND[gate.kind] ?? gate.kind}</span>
        {gate.outcome !== "passed" && <span className={failed ? "bad" : "text-2"}> {state.word.toLowerCase()}</span>}
      </div>
      <div className="gate-right">
        {inputs > 0 && <span className="not-narrow">{plural(inputs, "input")}</span>}
        <button type="button" className="link" aria-expanded={open} onClick={() => setOpen(!open)}>
          Evidence<span className="visually-hidden"> of {gate.name}</span>
        </button>
      </div>
      <div className="gate-text">
        {gate.expression && (
          <div>
            <Expression text={gate.expression} inputs={gate.inputs} failed={failed} />
          </div>
        )}
        {(failed || !gate.expression || gate.outcome === "no_incumbent") && <div className={failed ? "bad" : undefined}>{(!failed && measured(gate)) || sentence(rounded(gate.reason))}</div>}
      </div>
      {open && (
        <div className="gate-evidence">
          <p className="small text-2 row wrap">
            Verdict <Hash hash={gate.hash} /> decided <Time at={gate.at} as="seconds" /> on exactly this:
          </p>
          <pre className="code" tabIndex={0} aria-label={`Inputs of ${gate.name}`}>
            {JSON.stringify(unpacked(gate.inputs), null, 2)}
          </pre>
        </div>
      )}
    </article>
  );
}

/** What was measured against what is allowed, from the verdict's own inputs. */
function measured(gate: GateVerdict): string | null {
  const inputs = (gate.inputs ?? {}) as { [key: string]: Json };
  const { limit_p99_ms: limit, requests, files, bytes: size, measured: found } = inputs;
  if (gate.kind === "latency" && found !== null && typeof found === "object" && !Array.isArray(found) && typeof limit === "number" && typeof requests === "number") {
    const ms = (value: Json | undefined) => (typeof value === "number" ? significant(value, 3) : "–");
    return `p99 ${ms(found?.p99_ms)} ms <= ${significant(limit)} ms over ${plural(requests, "request")}; p50 ${ms(found?.p50_ms)} ms, longest ${ms(found?.max_ms)} ms`;
  }
  if (gate.kind === "artifact_scan" && typeof files === "number" && typeof size === "number" && inputs.found === 0) {
    return `${plural(files, "file")}, ${bytes(size)}: nothing in it runs when it is loaded`;
  }
  return null;
}

/** Evidence may hold JSON as text; it is shown as what it says. */
function unpacked(value: Json): Json {
  if (typeof value === "string" && /^[[{]/.test(value)) {
    try {
      return JSON.parse(value) as Json;
    } catch {
      return value;
    }
  }
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(unpacked);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unpacked(each)]));
}

/** The expression with each value behind its name; a false one is underlined. */
function Expression({ text, inputs, failed }: { text: string; inputs: Json; failed: boolean }) {
  const names = /\b(?:candidate|production|incumbent)(?:\.\w+|\["[^"]+"\])+/g;
  const parts: React.ReactNode[] = [];
  let last = 0;
  for (const match of text.matchAll(names)) {
    const value = valueOf(match[0], inputs);
    parts.push(text.slice(last, match.index), match[0]);
    if (value !== undefined) parts.push(" ", <i key={match.index}>{value}</i>);
    last = match.index + match[0].length;
  }
  parts.push(text.slice(last));
  return failed ? <mark>{parts}</mark> : parts;
}

/** By its whole name, or by walking down: `candidate.metrics.accuracy`. */
function valueOf(name: string, inputs: Json): string | undefined {
  const steps = name.replace(/\["([^"]+)"\]/g, ".$1").split(".");
  const walk = (from: Json | undefined, path: string[]): Json | undefined => {
    if (path.length === 0) return from;
    if (from === null || typeof from !== "object" || Array.isArray(from)) return undefined;
    const whole = from[path.join(".")];
    return whole !== undefined ? whole : walk(from[path[0] ?? ""], path.slice(1));
  };
  const value = walk(inputs, steps) ?? walk((inputs as { values?: Json } | null)?.values, steps);
  if (typeof value === "number") return metric(value);
  return typeof value === "string" || typeof value === "boolean" ? String(value) : undefined;
}

/** How many single values there are. */
function leaves(value: Json): number {
  if (value === null) return 0;
  if (typeof value !== "object") return 1;
  return Object.values(value).reduce<number>((sum, each) => sum + leaves(each), 0);
}
