import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { deployments } from "../../api/queries";
import type { Deployment } from "../../api/types";
import { count, percent, significant } from "../../format/number";
import { LoadedList } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Status, deploymentState } from "../../parts/Status";
import { Trend } from "../../parts/Trend";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

/** What serves where. */
export function DeploymentList() {
  usePage([{ text: "Deployments" }]);
  const query = useInfiniteQuery(deployments());
  return (
    <>
      <h1>Deployments</h1>
      <Panel title="Environments" right={query.data && count(query.data.pages[0]?.total)}>
        <LoadedList query={query} what="the deployments" empty={<p>Nothing serves yet. The first release that goes live starts a deployment.</p>}>
          {(items) => (
            <div className="scroll">
              <table>
                <thead>
                  <tr>
                    <th>Deployment</th>
                    <th>State</th>
                    <th>Serves</th>
                    <th className="not-narrow">Requests</th>
                    <th className="num not-narrow">p99</th>
                    <th className="num not-narrow">Errors</th>
                    <th className="not-narrow">Address</th>
                  </tr>
                </thead>
                <tbody>
                  {items.map((each) => (
                    <Row key={`${each.project}/${each.environment}`} deployment={each} />
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </LoadedList>
      </Panel>
    </>
  );
}

function Row({ deployment }: { deployment: Deployment }) {
  const now = deployment.traffic.at(-1);
  return (
    <tr>
      <td>
        <Link data-row className="plain medium" href={links.deployment(deployment.project, deployment.environment)}>
          {deployment.project} in {deployment.environment}
        </Link>
      </td>
      <td>
        <Status of={deploymentState(deployment.status)} />
      </td>
      <td>
        {deployment.live ? <b>v{deployment.live.version}</b> : <span className="text-3">nothing</span>}{" "}
        {deployment.rolling_out !== null && (
          <Link className="plain" href={links.rollout(deployment.rolling_out)}>
            <Status of={{ shape: "running", word: "rolling out" }} />
          </Link>
        )}
      </td>
      <td className="not-narrow">
        {now ? (
          <span className="row">
            <Trend values={deployment.traffic.map((point) => point.requests_per_second)} label="Requests a second" />
            <span>
              {significant(now.requests_per_second)}
              <span className="text-3">&thinsp;/s</span>
            </span>
          </span>
        ) : (
          <span className="text-3">no traffic</span>
        )}
      </td>
      <td className="num not-narrow">{now?.p99_ms === null || !now ? "–" : `${significant(now.p99_ms)} ms`}</td>
      <td className="num not-narrow">{percent(now?.error_share, 2)}</td>
      <td className="mono text-2 not-narrow">{deployment.address}</td>
    </tr>
  );
}
