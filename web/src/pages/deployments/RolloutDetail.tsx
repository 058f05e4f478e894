import { useMutation, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "wouter";

import { post } from "../../api/client";
import { release as releaseQuery, rollout as rolloutQuery } from "../../api/queries";
import type { Decision, Recomputed, Release, Rollout } from "../../api/types";
import { weight } from "../../format/number";
import { inPast, withoutVerb } from "../../format/text";
import { asked, duration } from "../../format/time";
import { Hash } from "../../parts/Hash";
import { Empty, Failed, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Status, StatusShape, rolloutState, type Shape, type State } from "../../parts/Status";
import { Time, useNow } from "../../parts/Time";
import { links } from "../../parts/links";
import { useFresh } from "../../parts/useFresh";
import { usePage } from "../../shell/page";
import { ArmCharts } from "./ArmCharts";
import { EndExperimentButton } from "./EndExperiment";
import { Evidence } from "./Evidence";
import { RollBackButton } from "./RollBack";
import { armsOf, isExperiment } from "./arms";
import { pointsOf } from "./evidenceSeries";
import "./rollout.css";

/** Is the candidate worse? */
export function RolloutDetail() {
  const { id = "" } = useParams<{ id: string }>();
  const release = useQuery(releaseQuery(Number(id)));
  const rollout = useQuery(rolloutQuery(Number(id)));
  const of = release.data;
  usePage(
    of
      ? [
          { text: of.project, href: links.project(of.project) },
          { text: "Deployments", href: "/deployments" },
          { text: of.environment, href: links.deployment(of.project, of.environment) },
          { text: `Rollout of v${of.version}` },
        ]
      : [{ text: "Deployments", href: "/deployments" }, { text: "Rollout" }],
    of?.project,
  );
  return (
    <Loaded query={release} what={`release ${id}`} bars={10}>
      {(release) => (
        <Loaded query={rollout} what={`the rollout of release ${id}`} bars={10}>
          {(rollout) => <Contents release={release} rollout={rollout} />}
        </Loaded>
      )}
    </Loaded>
  );
}

const isOver = (rollout: Rollout) => rollout.finished_at !== null;

function Contents({ release, rollout }: { release: Release; rollout: Rollout }) {
  const points = pointsOf(rollout);
  return (
    <>
      <Head release={release} rollout={rollout} />
      <Traffic rollout={rollout} />
      <div className="columns side evidence-columns">
        <Evidence rollout={rollout} points={points} />
        <Decisions rollout={rollout} />
      </div>
      <ArmCharts rollout={rollout} points={points} />
    </>
  );
}

function Head({ release, rollout }: { release: Release; rollout: Rollout }) {
  const approvers = release.votes.filter((vote) => vote.approved && vote.stale === null).map((vote) => vote.user);
  return (
    <div className="head">
      <div>
        <h1>
          {release.model} v{rollout.candidate_version} to {release.environment} <Status of={rolloutState(rollout.status)} pill />
        </h1>
        <div className="meta">
          <span>
            release <Hash hash={release.hash} />
          </span>
          {rollout.policy.variants && (
            <span>
              experiment: <b className="candidate">{rollout.policy.variants.candidate}</b> against <b>{rollout.policy.variants.stable}</b>
            </span>
          )}
          {rollout.stable_version !== null && (
            <span>
              {isOver(rollout) ? "against" : "replaces"} <Link href={links.version(release.model, rollout.stable_version)}>v{rollout.stable_version}</Link>
              {!isOver(rollout) && ", kept warm"}
            </span>
          )}
          {approvers.length > 0 && <span>approved by {approvers.join(", ")}</span>}
          <span>
            started <Time at={rollout.started_at} />
          </span>
          {rollout.finished_at !== null && (
            <span>
              ended <Time at={rollout.finished_at} />
            </span>
          )}
        </div>
      </div>
      <div className="actions">
        <Link className="button" href={links.release(release.id)}>
          Release
        </Link>
        {!isOver(rollout) && isExperiment(rollout) && <EndExperimentButton release={release.id} rollout={rollout} />}
        {!isOver(rollout) && <RollBackButton release={release.id} from={rollout.candidate_version} to={rollout.stable_version} />}
      </div>
    </div>
  );
}

function Traffic({ rollout }: { rollout: Rollout }) {
  const { stable, candidate } = armsOf(rollout);
  return (
    <Panel
      title="Traffic"
      beside={
        <span className="small text-2" role="status">
          {isOver(rollout) ? inPast(rollout.next) : rollout.next}
        </span>
      }
      right={
        rollout.observed_share !== null &&
        !isOver(rollout) && (
          <span className="not-narrow" title="Requests are routed by their key: a caller stays with its revision">
            observed {weight(rollout.observed_share)}
          </span>
        )
      }
    >
      <div className="traffic">
        <div className="share" role="img" aria-label={`${stable} ${weight(1 - rollout.weight)}, ${candidate} ${weight(rollout.weight)}`}>
          {rollout.weight < 1 && (
            <i className="stable-arm" style={{ width: `${(1 - rollout.weight) * 100}%` }}>
              {stable}&ensp;{weight(1 - rollout.weight)}
            </i>
          )}
          {rollout.weight > 0 && (
            <i className="candidate-arm" style={{ width: `${rollout.weight * 100}%` }}>
              {candidate}&ensp;{weight(rollout.weight)}
            </i>
          )}
        </div>
      </div>
      <Steps rollout={rollout} stable={stable} />
    </Panel>
  );
}

const STEP: Record<string, State> = {
  done: { shape: "success", word: "Done" },
  current: { shape: "running", word: "Now" },
  next: { shape: "queued", word: "Next" },
  later: { shape: "queued", word: "Later" },
};

function Steps({ rollout, stable }: { rollout: Rollout; stable: string }) {
  const now = useNow();
  const { policy, status } = rollout;
  const ended: State | null = status === "rolled_back" || status === "failed" ? rolloutState(status) : null;
  const warmUntil = (rollout.finished_at ?? now) + policy.warm_seconds * 1000;
  const keepsWarm = rollout.stable_version !== null && !ended && now < warmUntil;
  return (
    <ol className="steps" aria-label="Steps" tabIndex={0}>
      {rollout.steps.map((step, index) => {
        const current = step.status === "current";
        const state = (current && (ended ?? (status === "holding" ? { shape: "running" as const, word: "Holding" } : STEP.current))) || STEP[step.status] || STEP.later!;
        const seconds = current && !isOver(rollout) && step.started_at !== null ? Math.max(1, Math.floor((now - step.started_at) / 1000)) : step.seconds;
        return (
          <li key={index} className={current ? `current of-${state.shape}` : undefined} aria-current={current ? "step" : undefined}>
            <Status of={ended && !current && step.status !== "done" ? { shape: "skipped", word: "Not reached" } : state} />
            <div>
              <b className="step-weight">{weight(step.weight)}</b>{" "}
              <span className={current ? "text-2" : "text-3"}>
                {step.started_at !== null ? (
                  <>
                    <Time at={step.started_at} as="clock" />
                    {seconds !== null && `, ${current ? asked(seconds) : duration(seconds)}`}
                  </>
                ) : (
                  !isOver(rollout) && step.weight < 1 && `at least ${asked(policy.step.min_seconds)}`
                )}
              </span>
            </div>
          </li>
        );
      })}
      <li>
        <Status of={status === "promoted" ? { shape: "success", word: "Done" } : ended ? { shape: "skipped", word: "Not reached" } : STEP.later!} />
        <div>
          <b className="step-weight">Live</b> <span className="text-3">{keepsWarm && `${stable} warm ${asked(policy.warm_seconds)} more`}</span>
        </div>
      </li>
    </ol>
  );
}

const VERBS: Record<string, { shape: Shape; word: string }> = {
  start: { shape: "success", word: "Start" },
  hold: { shape: "waiting", word: "Hold" },
  advance: { shape: "success", word: "Advance" },
  promote: { shape: "success", word: "Promote" },
  roll_back: { shape: "danger", word: "Roll back" },
};

/** Newest first: time, verb, the numbers it was decided on then, hash. */
function Decisions({ rollout }: { rollout: Rollout }) {
  const recompute = useMutation({ mutationFn: () => post<Recomputed>(`/releases/${rollout.release}/rollout/recompute`) });
  const newest = useFresh<HTMLOListElement>(rollout.decisions[0]?.hash);
  return (
    <Panel
      title="Decisions"
      className="beside-evidence"
      right={
        rollout.decisions.length > 0 && (
          <button type="button" className="link" onClick={() => recompute.mutate()}>
            {recompute.isPending ? "Recomputing" : "Recompute"}
          </button>
        )
      }
    >
      {recompute.data && <Verdict of={recompute.data} />}
      {recompute.error && <Failed what="the recomputed decisions" error={recompute.error} />}
      {rollout.decisions.length === 0 ? (
        <Empty>The judge has not decided anything yet.</Empty>
      ) : (
        <ol className="decisions" ref={newest} tabIndex={0} aria-label="Decisions, newest first">
          {rollout.decisions.map((decision) => (
            <DecisionLine key={`${decision.at} ${decision.hash}`} decision={decision} rollout={rollout} />
          ))}
        </ol>
      )}
    </Panel>
  );
}

function DecisionLine({ decision, rollout }: { decision: Decision; rollout: Rollout }) {
  const verb = VERBS[decision.verb] ?? { shape: "queued" as const, word: decision.verb };
  const at = rollout.policy.steps[decision.verb === "advance" ? decision.step + 1 : decision.step];
  return (
    <li>
      <span className="mono text-3 tiny">
        <Time at={decision.at} as="seconds" />
      </span>
      <span className={decision.verb === "hold" ? "tone-neutral" : undefined}>
        <StatusShape shape={verb.shape} coloured={decision.verb !== "hold"} />
      </span>
      <div>
        <b>
          {verb.word}
          {at !== undefined && decision.verb !== "promote" && ` ${decision.verb === "advance" ? "to" : "at"} ${weight(at)}`}
          {decision.verb === "promote" && ` to ${weight(1)}`}
        </b>
        <p>
          {withoutVerb(decision.text)} <Hash hash={decision.hash} />
        </p>
      </div>
    </li>
  );
}

function Verdict({ of }: { of: Recomputed }) {
  const equal = of.equal === of.decisions;
  return (
    <div className="recomputed" role="status">
      <StatusShape shape={equal ? "success" : "danger"} coloured />
      <div>
        {of.equal} of {of.decisions} decisions come out equal.
        {of.differences.map((difference) => (
          <p key={difference} className="bad">
            {difference}
          </p>
        ))}
      </div>
    </div>
  );
}
