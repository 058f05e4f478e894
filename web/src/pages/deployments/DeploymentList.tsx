import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { deployments } from "../../api/queries";
import type { Deployment } from "../../api/types";
import { percent, significant } from "../../format/number";
import { ListPanel, type Column } from "../../parts/ListPanel";
import { Status, deploymentState } from "../../parts/Status";
import { Trend } from "../../parts/Trend";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

const COLUMNS: Column<Deployment>[] = [
  {
    head: "Deployment",
    cell: ({ project, environment }) => (
      <Link data-row className="plain medium" href={links.deployment(project, environment)}>
        {project} in {environment}
      </Link>
    ),
  },
  { head: "State", cell: (deployment) => <Status of={deploymentState(deployment.status)} /> },
  { head: "Serves", cell: (deployment) => <Serves deployment={deployment} /> },
  { head: "Requests", className: "not-narrow", cell: (deployment) => <Requests deployment={deployment} /> },
  {
    head: "p99",
    className: "num not-narrow",
    cell: ({ traffic }) => {
      const p99 = traffic.at(-1)?.p99_ms ?? null;
      return p99 === null ? "–" : `${significant(p99)} ms`;
    },
  },
  { head: "Errors", className: "num not-narrow", cell: ({ traffic }) => percent(traffic.at(-1)?.error_share, 2) },
  { head: "Address", className: "mono text-2 not-narrow", cell: (deployment) => deployment.address },
];

/** What serves where. */
export function DeploymentList() {
  usePage([{ text: "Deployments" }]);
  const query = useInfiniteQuery(deployments());
  return (
    <>
      <h1>Deployments</h1>
      <ListPanel
        title="Environments"
        query={query}
        what="the deployments"
        empty={<p>Nothing serves yet. The first release that goes live starts a deployment.</p>}
        keyOf={(each) => `${each.project}/${each.environment}`}
        columns={COLUMNS}
      />
    </>
  );
}

function Serves({ deployment: { live, rolling_out } }: { deployment: Deployment }) {
  return (
    <>
      {live ? <b>v{live.version}</b> : <span className="text-3">nothing</span>}{" "}
      {rolling_out !== null && (
        <Link className="plain" href={links.rollout(rolling_out)}>
          <Status of={{ shape: "running", word: "rolling out" }} />
        </Link>
      )}
    </>
  );
}

function Requests({ deployment: { traffic } }: { deployment: Deployment }) {
  const now = traffic.at(-1);
  if (!now) return <span className="text-3">no traffic</span>;
  return (
    <span className="row">
      <Trend values={traffic.map((point) => point.requests_per_second)} label="Requests a second" />
      <span>
        {significant(now.requests_per_second)}
        <span className="text-3">&thinsp;/s</span>
      </span>
    </span>
  );
}
