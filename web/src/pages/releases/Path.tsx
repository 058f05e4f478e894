import type { Release } from "../../api/types";
import { percent, plural } from "../../format/number";
import { duration } from "../../format/time";
import { Status, type Shape, type State, type Tone } from "../../parts/Status";

interface Reach {
  word: string;
  fact: string;
  state: State;
}

const reach = (word: string, shape: Shape, fact: string): Reach => ({ word, fact, state: { shape, word } });

/** The way of a release, from the version to live, with a lock gate between its reaches. */
export function Path({ release }: { release: Release }) {
  const reaches = steps(release);
  const current = reaches.findIndex(({ state }) => state.shape === "waiting" || state.shape === "running" || state.shape === "danger");
  return (
    <ol className="path" aria-label="Path of the release">
      {reaches.map(({ word, fact, state }, index) => (
        <li key={word} className={index === current ? `current of-${state.shape}` : undefined} aria-current={index === current ? "step" : undefined}>
          <div>
            <Status of={state}>{word}</Status>
            <span className={index === current ? "tiny text-2" : "tiny text-3"}>{fact}</span>
          </div>
          {index < reaches.length - 1 && (
            <Gate
              open={state.shape === "success"}
              tone={state.shape === "success" ? "success" : state.shape === "waiting" || state.shape === "danger" || state.shape === "running" ? state.shape : "neutral"}
              before={index === current ? state.shape : null}
              after={index + 1 === current ? (reaches[current]?.state.shape ?? null) : null}
            />
          )}
        </li>
      ))}
    </ol>
  );
}

function steps(release: Release): Reach[] {
  const { state, gates, rollout } = release;
  const failed = gates.filter((gate) => gate.outcome !== "passed" && gate.outcome !== "no_incumbent").length;
  const gated = gates.length > 0;
  const past = (...states: Release["state"][]) => states.includes(state);

  const gateShape: Shape = state === "pending" ? "queued" : state === "gating" ? "running" : failed > 0 && past("rejected", "failed") ? "danger" : gated || !past("rejected", "failed") ? "success" : "danger";
  const gateFact = !gated ? (state === "pending" || state === "gating" ? "being evaluated" : "none declared") : failed > 0 ? `${failed} of ${gates.length} failed` : `${gates.length} passed`;

  const enough = release.approvals_given >= release.approvals_needed;
  const refused = state === "rejected" && release.votes.some((vote) => !vote.approved);
  const approvalShape: Shape = refused ? "danger" : state === "awaiting_approval" ? "waiting" : past("rolling_out", "live", "rolled_back", "superseded") || (enough && state === "failed") ? "success" : "queued";
  const approvalFact = refused ? "rejected" : release.approvals_needed === 0 ? "none needed" : `${release.approvals_given} of ${release.approvals_needed}`;

  const rolloutShape: Shape = state === "rolling_out" ? "running" : state === "rolled_back" ? "danger" : past("live", "superseded") ? "success" : approvalShape === "success" && state === "failed" ? "danger" : "queued";
  const liveShape: Shape = state === "live" ? "success" : state === "superseded" ? "cancelled" : "queued";
  return [
    reach("Version", "success", `v${release.version}${release.run === null ? "" : ` from run ${release.run}`}`),
    reach("Gates", gateShape, gateFact),
    reach("Approvals", approvalShape, approvalFact),
    reach("Rollout", rolloutShape, rolloutFact(release)),
    reach("Live", liveShape, state === "superseded" ? "replaced by a later one" : rollout && release.incumbent && (state === "rolling_out" || state === "live") && rollout.stable_version !== null ? `v${rollout.stable_version ?? release.incumbent.version} stays warm ${duration(rollout.policy.warm_seconds)}` : ""),
  ];
}

function rolloutFact({ rollout, state }: Release): string {
  if (!rollout) return state === "live" || state === "superseded" ? "all at once" : "";
  if (state === "rolled_back") return `back at ${percent(rollout.steps[rollout.step]?.weight)}`;
  if (rollout.policy.strategy === "all_at_once") return "all at once";
  if (rollout.policy.strategy === "blue_green") return "blue and green, one switch";
  if (rollout.policy.strategy === "ab") return "experiment, ended by a person";
  return `canary, ${plural(rollout.policy.steps.length, "step")}, α ${rollout.policy.judge.alpha}`;
}

/** The chevron over the whole height; the reach it belongs to keeps its ground up to the tip. */
function Gate({ open, tone, before, after }: { open: boolean; tone: Tone; before: Shape | null; after: Shape | null }) {
  const soft = (shape: Shape) => `var(--${shape === "waiting" || shape === "danger" || shape === "running" ? shape : "neutral"}-soft)`;
  return (
    <svg viewBox="0 0 22 48" preserveAspectRatio="none" role="img" aria-label={open ? "gate open" : "gate closed"} className={`tone-${tone}`}>
      {after && <path d="M4 0L18 24 4 48H22V0Z" fill={soft(after)} />}
      {before && <path d="M0 0H4L18 24 4 48H0Z" fill={soft(before)} />}
      <path d={open ? "M4 0L12.2 14M4 48l8.2-14" : "M4 0L18 24 4 48"} fill="none" stroke={tone === "neutral" ? "var(--line-strong)" : "currentColor"} strokeWidth="1.8" strokeLinecap="round" />
    </svg>
  );
}
