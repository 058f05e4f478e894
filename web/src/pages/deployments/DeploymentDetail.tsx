import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "wouter";

import { deployment as deploymentQuery, releases } from "../../api/queries";
import type { Deployment } from "../../api/types";
import { count, percent, significant, weight } from "../../format/number";
import { LoadedList, Empty, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Status, deploymentState } from "../../parts/Status";
import { Time } from "../../parts/Time";
import { Trend } from "../../parts/Trend";
import { links } from "../../parts/links";
import { armOf, revisionName, revisionRelease, revisionVersion, sharing } from "../../parts/revision";
import { usePage } from "../../shell/page";
import { ReleaseTable } from "../releases/ReleaseList";
import { RollBackButton } from "./RollBack";
import "./rollout.css";

/** What serves, and how well? */
export function DeploymentDetail() {
  const { project = "", environment = "" } = useParams<{ project: string; environment: string }>();
  usePage([{ text: project, href: links.project(project) }, { text: "Deployments", href: "/deployments" }, { text: environment }], project);
  const query = useQuery(deploymentQuery(project, environment));
  const history = useInfiniteQuery(releases({ project, environment }));
  return (
    <>
      <Loaded query={query} what={`what serves ${project} in ${environment}`} bars={8}>
        {(deployment) => <Contents deployment={deployment} />}
      </Loaded>
      <Panel title="Releases">
        <LoadedList query={history} what="its releases" empty={<p>No release has come here yet.</p>}>
          {(items) => <ReleaseTable releases={items} />}
        </LoadedList>
      </Panel>
    </>
  );
}

function Contents({ deployment }: { deployment: Deployment }) {
  const shares = sharing(deployment);
  const { live } = deployment;
  const candidate = shares.find(({ arm }) => arm === "candidate");
  const candidateVersion = candidate ? revisionVersion(candidate.revision.id) : null;
  return (
    <>
      <div className="head">
        <div>
          <h1>
            {deployment.model} in {deployment.environment} <Status of={deploymentState(deployment.status)} pill />
          </h1>
          <div className="meta">
            {live ? (
              <span>
                serves <Link href={links.version(deployment.model, live.version)}>v{live.version}</Link> since <Time at={live.since} />
              </span>
            ) : (
              <span>nothing serves yet</span>
            )}
            <span className="mono">{deployment.address}</span>
            {deployment.restarts > 0 && <span>restarted {count(deployment.restarts)} times</span>}
          </div>
        </div>
        <div className="actions">
          {deployment.rolling_out !== null && (
            <Link className="button primary" href={links.rollout(deployment.rolling_out)}>
              Rollout
            </Link>
          )}
          {deployment.rolling_out !== null && live && candidateVersion !== null && <RollBackButton release={deployment.rolling_out} from={candidateVersion} to={live.version} />}
          {deployment.rolling_out === null && live && <RollBackButton release={live.release} from={live.version} to={null} />}
        </div>
      </div>
      <Panel title="Traffic" right={<Now deployment={deployment} />}>
        {shares.length === 0 ? (
          <Empty>No revision gets traffic.</Empty>
        ) : (
          <div className="traffic">
            <div className="share" role="img" aria-label={shares.map(({ revision }) => `${revisionName(revision.id)} ${weight(revision.weight)}`).join(", ")}>
              {shares.map(({ revision, arm }) => (
                <i key={revision.id} className={`${arm}-arm`} style={{ width: `${revision.weight * 100}%` }}>
                  {revisionName(revision.id)}&ensp;{weight(revision.weight)}
                </i>
              ))}
            </div>
          </div>
        )}
      </Panel>
      <Revisions deployment={deployment} />
    </>
  );
}

function Now({ deployment }: { deployment: Deployment }) {
  const now = deployment.traffic.at(-1);
  if (!now) return <>no traffic yet</>;
  return (
    <>
      <Trend values={deployment.traffic.map((point) => point.requests_per_second)} label="Requests a second" />
      <span>{significant(now.requests_per_second)} /s</span>
      <span>p99 {now.p99_ms === null ? "–" : `${significant(now.p99_ms)} ms`}</span>
      <span className="not-narrow">errors {percent(now.error_share, 2)}</span>
    </>
  );
}

const milliseconds = (seconds: number | null) => (seconds === null ? "–" : `${significant(seconds * 1000)} ms`);

function Revisions({ deployment }: { deployment: Deployment }) {
  const { labels } = deployment;
  return (
    <Panel
      title="Revisions"
      right={`labels: ${count(labels.accepted)} accepted, ${count(labels.duplicate)} twice, ${count(labels.late)} late, ${count(labels.unknown)} unknown`}
    >
      <div className="scroll">
        <table>
          <thead>
            <tr>
              <th>Revision</th>
              <th className="num">Weight</th>
              <th className="num">Requests</th>
              <th className="num">Errors</th>
              <th className="num not-narrow">p50</th>
              <th className="num not-narrow">p99</th>
              <th className="num not-narrow">Correct, of labelled</th>
              <th className="not-narrow">Engine</th>
            </tr>
          </thead>
          <tbody>
            {deployment.revisions.map((revision) => {
              const release = revisionRelease(revision.id);
              return (
                <tr key={revision.id}>
                  <td>
                    {release === null ? (
                      revision.id
                    ) : (
                      <Link data-row className={armOf(deployment, revision) === "candidate" ? "candidate medium" : "plain medium"} href={links.release(release)}>
                        {revision.id}
                      </Link>
                    )}
                  </td>
                  <td className="num">{weight(revision.weight)}</td>
                  <td className="num">{count(revision.requests)}</td>
                  <td className="num">{count(revision.errors)}</td>
                  <td className="num not-narrow">{milliseconds(revision.p50)}</td>
                  <td className="num not-narrow">{milliseconds(revision.p99)}</td>
                  <td className="num not-narrow">{revision.labelled === 0 ? "–" : `${percent(revision.correct / revision.labelled, 1)} of ${count(revision.labelled)}`}</td>
                  <td className="text-2 not-narrow">{revision.engine}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
