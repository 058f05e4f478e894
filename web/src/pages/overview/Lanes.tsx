import { Link } from "wouter";

import type { Deployment, EnvironmentLane, Lane, ReleaseSummary, RunSummary } from "../../api/types";
import { metric, percent, plural, significant, weight } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { LockGate } from "../../parts/LockGate";
import { Panel } from "../../parts/Panel";
import { STAGE, Status, deploymentState, type Tone } from "../../parts/Status";
import { Time } from "../../parts/Time";
import { Trend } from "../../parts/Trend";
import { links } from "../../parts/links";
import { revisionName, sharing } from "../../parts/revision";

/** Every model as a lane: commit, gate, staging, gate, production, and how it serves there. */
export function Lanes({ lanes }: { lanes: Lane[] }) {
  const environments = [...new Set(lanes.flatMap((lane) => lane.environments.map((environment) => environment.environment)))];
  return (
    <Panel
      title="Models"
      right={
        <>
          <span>{plural(lanes.length, "model")}</span>
          <span className="not-narrow">traffic and quality in {environments.at(-1) ?? "production"}</span>
        </>
      }
    >
      <div className="scroll">
        <table className="lanes">
          <thead>
            <tr>
              <th>Model</th>
              <th className="far">Newest commit</th>
              {environments.map((environment, index) => (
                <EnvironmentHead key={environment} environment={environment} last={index === environments.length - 1} />
              ))}
              <th className="far">Requests</th>
              <th className="num far">p99</th>
              <th className="num far">Errors</th>
              <th className="num far">Quality</th>
            </tr>
          </thead>
          <tbody>
            {lanes.map((lane) => (
              <LaneRow key={lane.project} lane={lane} environments={environments} />
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function EnvironmentHead({ environment, last }: { environment: string; last: boolean }) {
  return (
    <>
      <th className="gate-cell far">
        <span className="visually-hidden">Gates of {environment}</span>
      </th>
      <th className={last ? "capital" : "capital far"}>{environment}</th>
    </>
  );
}

function LaneRow({ lane, environments }: { lane: Lane; environments: string[] }) {
  const last = lane.environments.at(-1);
  const name = lane.model ?? lane.project;
  return (
    <tr>
      <td>
        <div className="cell">
          <Link data-row className="plain strong name" href={lane.model ? links.model(lane.model) : links.project(lane.project)}>
            {name}
          </Link>
          <div className="text-3 tiny">project {lane.project}</div>
        </div>
      </td>
      <td className="far">{lane.newest_run && <NewestCommit run={lane.newest_run} />}</td>
      {environments.map((environment, index) => {
        const found = lane.environments.find((each) => each.environment === environment);
        const final = index === environments.length - 1;
        return <EnvironmentCells key={environment} lane={found} first={index === 0} final={final} run={lane.newest_run} />;
      })}
      <ServingCells lane={last} />
    </tr>
  );
}

function NewestCommit({ run }: { run: RunSummary }) {
  return (
    <div className="cell">
      <div>
        <Hash hash={run.commit.id} length={7} />
        <Link className="plain" href={links.run(run.project, run.number)}>
          <Status of={STAGE[run.status]}>
            Run {run.number} {STAGE[run.status].word.toLowerCase()}
          </Status>
        </Link>
      </div>
      <div className="text-3 tiny subject">
        <span className="cut">{run.commit.subject}</span>
        <span>
          · {run.commit.author} · <Time at={run.created_at} />
        </span>
      </div>
    </div>
  );
}

function EnvironmentCells({ lane, first, final, run }: { lane?: EnvironmentLane; first: boolean; final: boolean; run: RunSummary | null }) {
  if (!lane) {
    return (
      <>
        <td className="gate-cell far" />
        <td className={final ? undefined : "far"} />
      </>
    );
  }
  const gate = gateMark(lane, first && run?.status === "failed");
  return (
    <>
      <td className="gate-cell far">
        <LockGate {...gate} label={`Gates of ${lane.environment}: ${gate.label}`} />
      </td>
      <td className={final ? undefined : "far"}>
        <EnvironmentState lane={lane} />
      </td>
    </>
  );
}

/** What stands before an environment: open to what passed, closed with the reason as its colour. */
function gateMark(lane: EnvironmentLane, runFailed: boolean): { open: boolean; tone: Tone; label: string } {
  if (runFailed) return { open: false, tone: "danger", label: "the newest run failed" };
  switch (lane.newest_release?.state) {
    case "live":
    case "rolling_out":
    case "superseded":
      return { open: true, tone: "success", label: "passed" };
    case "awaiting_approval":
      return { open: false, tone: "waiting", label: "waits for approval" };
    case "gating":
      return { open: false, tone: "running", label: "being evaluated" };
    case "rejected":
    case "failed":
    case "rolled_back":
      return { open: false, tone: "danger", label: "closed" };
    default:
      return { open: false, tone: "neutral", label: "nothing to pass yet" };
  }
}

function EnvironmentState({ lane }: { lane: EnvironmentLane }) {
  const { newest_release: release, deployment } = lane;
  if (release?.state === "rolling_out" && deployment) return <RollingOut release={release} deployment={deployment} />;
  const live = deployment?.live;
  const incoming = release ? incomingWords(release) : null;
  return (
    <div className="cell">
      {live && deployment ? (
        <span>
          {incoming ? <b>v{live.version}</b> : <Link className="plain medium" href={links.deployment(deployment.project, deployment.environment)}>v{live.version}</Link>}
          {deployment.status === "ready" ? <Status of={{ shape: "success", word: "Live" }} /> : <Status of={deploymentState(deployment.status)} />}
        </span>
      ) : (
        <span className="text-3">Nothing in {lane.environment} yet</span>
      )}
      <div className="tiny text-3">{release && incoming ? (
          <Link className="plain" href={links.release(release.id)}>
            <span className={incoming.className}>{incoming.text}</span>
          </Link>
        ) : live ? (
          <>
            since <Time at={live.since} />
          </>
        ) : (
          "opens when a version gets here"
        )}</div>
    </div>
  );
}

/** The release that is not live here: what it waits for, or how it ended. */
function incomingWords(release: ReleaseSummary): { className: string; text: string } | null {
  const version = `v${release.version}`;
  switch (release.state) {
    case "pending":
      return { className: "text-3", text: `${version} is next` };
    case "gating":
      return { className: "tone-running", text: `${version} passes the gates` };
    case "awaiting_approval":
      return { className: "tone-waiting", text: `${version} waits: ${release.approvals_given} of ${plural(release.approvals_needed, "approval")}` };
    case "rejected":
      return { className: "tone-danger", text: `${version} rejected` };
    case "rolled_back":
      return { className: "tone-danger", text: `${version} rolled back` };
    case "failed":
      return { className: "tone-danger", text: `${version} failed` };
    case "rolling_out":
      return { className: "tone-running", text: `${version} is rolling out` };
    default:
      return null;
  }
}

function RollingOut({ release, deployment }: { release: ReleaseSummary; deployment: Deployment }) {
  const shares = sharing(deployment);
  return (
    <div className="cell">
      <Link className="plain" href={links.rollout(release.id)}>
        <Status of={{ shape: "running", word: "Rolling out" }}>Rolling out v{release.version}</Status>
      </Link>
      <div className="split">
        <div className="share" role="img" aria-label={shares.map(({ revision }) => `${revisionName(revision.id)} ${weight(revision.weight)}`).join(", ")}>
          {shares.map(({ revision, arm }) => (
            <i key={revision.id} className={`${arm}-arm`} style={{ width: `${revision.weight * 100}%` }} />
          ))}
        </div>
      </div>
      <div className="tiny text-3 row">
        {shares.map(({ revision, arm }) => (
          <span key={revision.id} className={arm === "candidate" ? "candidate" : undefined}>
            {revisionName(revision.id)} {weight(revision.weight)}
          </span>
        ))}
      </div>
    </div>
  );
}

function ServingCells({ lane }: { lane?: EnvironmentLane }) {
  const deployment = lane?.deployment;
  const now = deployment?.traffic.at(-1);
  if (!deployment?.live || !now) {
    return (
      <>
        <td className="far text-3">no traffic</td>
        <td className="num far text-3">–</td>
        <td className="num far text-3">–</td>
        <td className="num far text-3">–</td>
      </>
    );
  }
  return (
    <>
      <td className="far">
        <div className="row">
          <Trend values={deployment.traffic.map((point) => point.requests_per_second)} label={`Requests a second, now ${significant(now.requests_per_second)}`} />
          <span className="num">
            {significant(now.requests_per_second)}
            <span className="text-3">&thinsp;/s</span>
          </span>
        </div>
      </td>
      <td className="num far">
        {significant(now.p99_ms)}
        {now.p99_ms !== null && <span className="text-3">&thinsp;ms</span>}
      </td>
      <td className="num far">{percent(now.error_share, 2)}</td>
      <td className="num far">
        {lane?.quality === null || lane?.quality === undefined ? (
          <span className="text-3">–</span>
        ) : (
          <>
            {metric(lane.quality)}
            <div className="tiny text-3">accuracy</div>
          </>
        )}
      </td>
    </>
  );
}
