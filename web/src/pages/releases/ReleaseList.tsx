import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { releases } from "../../api/queries";
import type { ReleaseState, ReleaseSummary } from "../../api/types";
import { inPast, rounded } from "../../format/text";
import { Hash } from "../../parts/Hash";
import { ListPanel, Table, type Column } from "../../parts/ListPanel";
import { RELEASE, Status } from "../../parts/Status";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { useSearchParam } from "../../parts/useSearchParam";
import { usePage } from "../../shell/page";

/** Every version on its way into an environment, newest first. */
export function ReleaseList() {
  usePage([{ text: "Releases" }]);
  const [state, setState] = useSearchParam("state");
  const query = useInfiniteQuery(releases({ state: state ?? undefined }));
  return (
    <>
      <div className="head">
        <h1>Releases</h1>
        <div className="actions">
          <select className="button" data-filter aria-label="State" value={state ?? ""} onChange={(event) => setState(event.target.value || null)}>
            <option value="">All states</option>
            {(Object.keys(RELEASE) as ReleaseState[]).map((each) => (
              <option key={each} value={each}>
                {RELEASE[each].word}
              </option>
            ))}
          </select>
        </div>
      </div>
      <ListPanel
        title="Version to environment"
        query={query}
        what="the releases"
        empty={<p>{state ? "No release is in this state." : "A run that succeeds opens the first environment's release."}</p>}
        keyOf={(release) => release.id}
        columns={COLUMNS}
      />
    </>
  );
}

const COLUMNS: Column<ReleaseSummary>[] = [
  {
    head: "Release",
    cell: (release) => (
      <Link data-row className="plain medium" href={links.release(release.id)}>
        {release.model} v{release.version} to {release.environment}
      </Link>
    ),
  },
  { head: "State", cell: (release) => <Status of={RELEASE[release.state]} /> },
  { head: "Hash", className: "not-narrow", cell: (release) => <Hash hash={release.hash} /> },
  {
    head: "From",
    className: "not-narrow",
    cell: ({ project, run }) => run !== null && <Link href={links.run(project, run)}>run {run}</Link>,
  },
  { head: "Requested by", className: "text-2 not-narrow", cell: (release) => release.requested_by },
  { head: "Changed", className: "text-2 not-narrow", cell: (release) => <Time at={release.updated_at} /> },
  {
    head: "Why",
    className: "text-2 cut rest not-narrow",
    cell: ({ reason }) => reason && <span title={reason}>{inPast(rounded(reason))}</span>,
  },
];

export function ReleaseTable({ releases: items }: { releases: ReleaseSummary[] }) {
  return <Table items={items} keyOf={(release) => release.id} columns={COLUMNS} />;
}
