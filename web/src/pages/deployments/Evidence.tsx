import { useState, type ReactNode } from "react";

import type { MetricVerdict, Rollout, RolloutPoint, ShadowVerdict } from "../../api/types";
import { count, evidence as evidenceText, percent, significant } from "../../format/number";
import { Segments } from "../../parts/Choice";
import { Empty } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Status, type State } from "../../parts/Status";
import { useFresh } from "../../parts/useFresh";
import { armsOf, isExperiment, shortArms } from "./arms";
import { EvidenceChart } from "./EvidenceChart";
import { SERIES, latestEvidence } from "./evidenceSeries";

/** How strong the evidence is that the candidate is worse, and what it rests on. */
export function Evidence({ rollout, points }: { rollout: Rollout; points: RolloutPoint[] }) {
  const [scale, setScale] = useState<"log" | "linear">("log");
  const needed = rollout.verdict?.combined_needed ?? 1 / rollout.policy.judge.alpha;
  const combined = rollout.verdict ? rollout.verdict.combined : (points.at(-1)?.combined ?? 1);
  const number = useFresh<HTMLElement>(combined);
  const { judge } = rollout.policy;
  const total = SERIES.reduce((sum, { policy }) => sum + (judge[policy]?.share ?? 0), 0) || 1;
  const shown = SERIES.filter(({ policy }) => judge[policy] !== null);
  if (rollout.stable_version === null) {
    return (
      <Panel title="Evidence">
        <Empty>Nothing served here before, so there is nothing to compare v{rollout.candidate_version} with: it takes all traffic after its readiness and latency checks.</Empty>
      </Panel>
    );
  }
  return (
    <Panel
      title={`Evidence that v${rollout.candidate_version} is worse`}
      right={
        <>
          <span className="not-narrow">valid however often you look</span>
          <Segments
            label="Scale"
            options={[
              { value: "log", label: "Log" },
              { value: "linear", label: "Linear" },
            ]}
            value={scale}
            onChange={setScale}
          />
        </>
      }
    >
      <div className="evidence">
        <div className="row wrap evidence-head">
          <div className="one-number">
            <b ref={number}>{evidenceText(combined)}</b>
            <span className="text-2">of {count(needed)} needed to roll back</span>
          </div>
          <ul className="legend">
            <li>
              <i className="combined" />
              combined
            </li>
            {shown.map(({ policy, word, className }) => (
              <li key={policy}>
                <i className={className} />
                {word} × {significant((judge[policy]?.share ?? 0) / total, 1)}
              </li>
            ))}
          </ul>
        </div>
        {points.length === 0 ? (
          <Empty>No request has been judged yet. The evidence starts at 1.</Empty>
        ) : (
          <EvidenceChart rollout={rollout} points={points} scale={scale} needed={needed} latest={latestEvidence(points)} />
        )}
      </div>
      {rollout.verdict?.shadow && <Copies of={rollout.verdict.shadow} />}
      {rollout.verdict && isExperiment(rollout) && <Result rollout={rollout} metrics={rollout.verdict.metrics} />}
      {rollout.verdict && <MetricTable rollout={rollout} metrics={rollout.verdict.metrics} />}
    </Panel>
  );
}

const WORSE: Record<MetricVerdict["worse"], State> = {
  no_sign: { shape: "success", word: "No sign" },
  suspected: { shape: "warning", word: "Suspected" },
  worse: { shape: "danger", word: "Worse" },
};

function MetricTable({ rollout, metrics }: { rollout: Rollout; metrics: MetricVerdict[] }) {
  const range = percent(1 - rollout.policy.judge.alpha);
  const { stable, candidate } = shortArms(rollout);
  // Nothing advances in an experiment: only harm is looked for.
  const advances = !isExperiment(rollout);
  const tested = metrics.some((metric) => metric.p_value !== undefined);
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label="Metrics of the judge">
      <table className="dense verdicts">
        <thead>
          <tr>
            <th>Metric</th>
            <th className="num not-narrow">{stable} bad / all</th>
            <th className="num not-narrow">{candidate} bad / all</th>
            <th className="num not-narrow">Ratio, {range} range</th>
            {tested && <th className="num not-narrow">p</th>}
            <th className="num">Evidence</th>
            <th>Worse?</th>
            {advances && <th className="not-narrow">Safe?</th>}
          </tr>
        </thead>
        <tbody>
          {metrics.map((metric) => (
            <tr key={metric.name}>
              <td className="medium">
                <MetricName metric={metric} rollout={rollout} />
              </td>
              <td className="num not-narrow">
                {count(metric.stable.bad)} / {count(metric.stable.all)}
              </td>
              <td className="num not-narrow">
                {count(metric.candidate.bad)} / {count(metric.candidate.all)}
              </td>
              <td className="num not-narrow">
                {metric.ratio ? (
                  <>
                    {metric.ratio.estimate === null && metric.candidate.bad > 0 ? "∞" : significant(metric.ratio.estimate, 3)}{" "}
                    <span className="text-3">
                      {significant(metric.ratio.low)} to {metric.ratio.high === null ? "∞" : significant(metric.ratio.high, 3)}
                    </span>
                  </>
                ) : (
                  "–"
                )}
              </td>
              {tested && <td className="num not-narrow">{pValue(metric.p_value)}</td>}
              <td className="num strong">{evidenceText(metric.evidence)}</td>
              <td>
                <Status of={WORSE[metric.worse]} />
              </td>
              {advances && (
                <td className="not-narrow">
                  <Safe metric={metric} />
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const pValue = (p: number | undefined) => (p === undefined ? "–" : p < 0.001 ? "<0.001" : p.toFixed(3));

/** What an experiment says so far: of each metric the ratio of bad rates with its range, 1 in the middle. */
function Result({ rollout, metrics }: { rollout: Rollout; metrics: MetricVerdict[] }) {
  const { stable, candidate } = armsOf(rollout);
  return (
    <ul className="result" aria-label="Result so far">
      {metrics.map((metric) => (
        <li key={metric.name}>
          <span className="medium">
            <MetricName metric={metric} rollout={rollout} />
          </span>
          <Interval metric={metric} />
          <span>{said(metric, stable, candidate)}</span>
        </li>
      ))}
    </ul>
  );
}

/** The range excludes 1 or not: at no time is more said than that. */
function said({ ratio, p_value, stable: a, candidate: b }: MetricVerdict, stable: string, candidate: string): string {
  if (a.bad + b.bad === 0) return "nothing bad in either";
  if (!ratio) return "too few to say";
  if (ratio.high !== null && ratio.high < 1) return `fewer with ${candidate}: at most ${significant(ratio.high)} times ${stable}'s rate, p\u00a0${pValue(p_value)}`;
  if (ratio.low > 1) return `more with ${candidate}: at least ${significant(ratio.low)} times ${stable}'s rate, p\u00a0${pValue(p_value)}`;
  return `no difference shown, p\u00a0${pValue(p_value)}`;
}

const INTERVAL = { width: 180, height: 20, most: 10 };

/** A log scale from a tenth to ten times; what reaches further is open at its end. */
function Interval({ metric: { ratio, name } }: { metric: MetricVerdict }) {
  const { width, height, most } = INTERVAL;
  const x = (value: number) => width / 2 + (Math.log(Math.min(most, Math.max(1 / most, value))) / Math.log(most)) * (width / 2 - 8);
  const label = ratio ? `${name}: ${significant(ratio.low)} to ${ratio.high === null ? "unbounded" : significant(ratio.high)}` : `${name}: not known`;
  const [low, high] = [x(ratio?.low ?? 1 / most), x(ratio?.high ?? most)];
  const clear = ratio && ((ratio.high !== null && ratio.high < 1) || ratio.low > 1);
  const colour = !clear ? "var(--text-3)" : ratio.low > 1 ? "var(--danger)" : "var(--success)";
  return (
    <svg width={width} height={height} role="img" aria-label={label}>
      <path d={`M${x(1 / most)} ${height / 2 + 0.5}H${x(most)}`} stroke="var(--line)" />
      <path d={`M${width / 2} 2V${height - 2}`} stroke="var(--line-strong)" strokeDasharray="2 2" />
      {ratio && <path d={`M${low} ${height / 2 + 0.5}H${high}`} stroke={colour} strokeWidth="3" strokeLinecap="round" />}
      {ratio?.estimate !== null && ratio?.estimate !== undefined && <circle cx={x(ratio.estimate)} cy={height / 2 + 0.5} r="4" fill="var(--candidate)" />}
    </svg>
  );
}

/** Before any traffic: the candidate's answers to copies of what stable answered. */
function Copies({ of }: { of: ShadowVerdict }) {
  const time = (seconds: number | null) => (seconds === null ? "–" : `${significant(seconds * 1000)} ms`);
  return (
    <dl className="copies">
      <Said of="Copies compared">{count(of.compared)}</Said>
      <Said of="Other answer">
        {count(of.disagreed)} <span className="text-3">of which failed {count(of.failed)}</span>
      </Said>
      <Said of="Shown to agree">
        {evidenceText(of.safe)} of {count(of.safe_needed)}
      </Said>
      <Said of="Drift of outputs">{of.drift === null ? "–" : `${of.drift > 0 ? "+" : "−"}${significant(Math.abs(of.drift))} σ`}</Said>
      <Said of="Time of the model">
        {time(of.stable_seconds)} → {time(of.candidate_seconds)}
      </Said>
    </dl>
  );
}

function Said({ of, children }: { of: string; children: ReactNode }) {
  return (
    <div>
      <dt>{of}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Safe({ metric }: { metric: MetricVerdict }) {
  const safe = metric.safe === null || metric.safe >= metric.safe_needed;
  return (
    <Status of={{ shape: safe ? "success" : "queued", word: "" }}>
      {evidenceText(metric.safe)} of {count(metric.safe_needed)}
    </Status>
  );
}

function MetricName({ metric, rollout }: { metric: MetricVerdict; rollout: Rollout }) {
  const quantile = /^latency p(\d+)$/.exec(metric.name)?.[1];
  if (quantile) {
    const limit = rollout.evidence?.latency.find((each) => Math.round(each.quantile * 100) === Number(quantile))?.limit_seconds;
    return (
      <>
        Latency over p{quantile} {limit !== undefined && <span className="text-3 light">({significant(limit * 1000)} ms)</span>}
      </>
    );
  }
  if (metric.name === "labels") {
    const requests = (rollout.evidence?.requests.stable ?? 0) + (rollout.evidence?.requests.candidate ?? 0);
    const labelled = metric.stable.all + metric.candidate.all;
    return (
      <>
        Wrong labels {requests > 0 && <span className="text-3 light">({percent(labelled / requests, 1)} labelled)</span>}
      </>
    );
  }
  return <>{metric.name === "errors" ? "Errors" : metric.name}</>;
}
