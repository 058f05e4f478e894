import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "wouter";

import { release as releaseQuery } from "../../api/queries";
import type { Release } from "../../api/types";
import { inPast, rounded } from "../../format/text";
import { age } from "../../format/time";
import { Hash } from "../../parts/Hash";
import { Empty, Loaded } from "../../parts/Loaded";
import { LedgerTable } from "../../parts/LedgerTable";
import { Panel } from "../../parts/Panel";
import { RELEASE, Status } from "../../parts/Status";
import { Time, useNow } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";
import { RollBackButton } from "../deployments/RollBack";
import { Against } from "./Against";
import { Approval } from "./Approval";
import { Gates } from "./Gates";
import { Path } from "./Path";
import "./release.css";

/** May this go in? */
export function ReleaseDetail() {
  const { id = "" } = useParams<{ id: string }>();
  const query = useQuery(releaseQuery(Number(id)));
  const data = query.data;
  usePage(
    data
      ? [{ text: data.project, href: links.project(data.project) }, { text: "Releases", href: "/releases" }, { text: data.environment, href: links.deployment(data.project, data.environment) }, { text: `v${data.version}` }]
      : [{ text: "Releases", href: "/releases" }, { text: id }],
    data?.project,
  );
  return (
    <Loaded query={query} what={`release ${id}`} bars={10}>
      {(release) => <Contents release={release} />}
    </Loaded>
  );
}

function Contents({ release }: { release: Release }) {
  return (
    <>
      <Head release={release} />
      <Path release={release} />
      <div className="columns side">
        <div className="stack">
          <Gates release={release} />
          {release.comparison && <Against comparison={release.comparison} environment={release.environment} />}
        </div>
        <Approval release={release} />
      </div>
      <Panel title="History">
        {release.history.length === 0 ? <Empty>The ledger says nothing about this release yet.</Empty> : <LedgerTable entries={release.history} of={`release/${release.id}`} />}
      </Panel>
    </>
  );
}

function Head({ release }: { release: Release }) {
  const missing = release.approvals_needed - release.approvals_given;
  const state = RELEASE[release.state];
  // The reason is the judge's last decision; what it needs now changes in between.
  const said = release.state === "rolling_out" && release.rollout ? release.rollout.next : release.reason;
  return (
    <div className="head">
      <div>
        <h1>
          {release.model} v{release.version} to {release.environment}{" "}
          <Status of={state} pill>
            {release.state === "awaiting_approval" && missing > 0 ? `Waits for ${missing} approval${missing === 1 ? "" : "s"}` : state.word}
          </Status>
        </h1>
        <div className="meta">
          <span>
            releases <Link href={links.version(release.model, release.version)}>{release.model} v{release.version}</Link>
          </span>
          <span>
            hash <Hash hash={release.hash} />
          </span>
          <span>
            requested by <b>{release.requested_by}</b> <Time at={release.created_at} />
          </span>
          <Replaces release={release} />
          {release.run !== null && (
            <span>
              from <Link href={links.run(release.project, release.run)}>run {release.run}</Link>
            </span>
          )}
        </div>
        {said && <p className="small text-2 release-reason">{inPast(rounded(said))}</p>}
      </div>
      <div className="actions">
        {release.rollout && (
          <Link className="button" href={links.rollout(release.id)}>
            Rollout
          </Link>
        )}
        <Link className="button" href={links.trace(`${release.model}/${release.version}`)}>
          Lineage
        </Link>
        {(release.state === "rolling_out" || (release.state === "live" && release.incumbent?.release === release.id)) && (
          <RollBackButton release={release.id} from={release.version} to={release.state === "rolling_out" ? (release.incumbent?.version ?? null) : null} />
        )}
      </div>
    </div>
  );
}

function Replaces({ release }: { release: Release }) {
  const now = useNow();
  const { incumbent } = release;
  const over = ["rejected", "rolled_back", "superseded", "failed"].includes(release.state);
  if (!incumbent) return <span>nothing serves there yet</span>;
  if (incumbent.release === release.id) return <span>serves there now</span>;
  return (
    <span>
      {over ? "serves there now:" : "replaces"} <Link href={links.release(incumbent.release)}>v{incumbent.version}</Link>
      {incumbent.live_at !== null && `, live ${age(incumbent.live_at, now)}`}
    </span>
  );
}
