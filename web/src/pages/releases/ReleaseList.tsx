import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { releases } from "../../api/queries";
import type { ReleaseState, ReleaseSummary } from "../../api/types";
import { count } from "../../format/number";
import { inPast, rounded } from "../../format/text";
import { Hash } from "../../parts/Hash";
import { LoadedList } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
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
      <Panel title="Version to environment" right={query.data && count(query.data.pages[0]?.total)}>
        <LoadedList query={query} what="the releases" empty={<p>{state ? "No release is in this state." : "A run that succeeds opens the first environment's release."}</p>}>
          {(items) => <ReleaseTable releases={items} />}
        </LoadedList>
      </Panel>
    </>
  );
}

export function ReleaseTable({ releases: items }: { releases: ReleaseSummary[] }) {
  return (
    <div className="scroll">
      <table>
        <thead>
          <tr>
            <th>Release</th>
            <th>State</th>
            <th className="not-narrow">Hash</th>
            <th className="not-narrow">From</th>
            <th className="not-narrow">Requested by</th>
            <th className="not-narrow">Changed</th>
            <th className="not-narrow">Why</th>
          </tr>
        </thead>
        <tbody>
          {items.map((release) => (
            <tr key={release.id}>
              <td>
                <Link data-row className="plain medium" href={links.release(release.id)}>
                  {release.model} v{release.version} to {release.environment}
                </Link>
              </td>
              <td>
                <Status of={RELEASE[release.state]} />
              </td>
              <td className="not-narrow">
                <Hash hash={release.hash} />
              </td>
              <td className="not-narrow">{release.run !== null && <Link href={links.run(release.project, release.run)}>run {release.run}</Link>}</td>
              <td className="text-2 not-narrow">{release.requested_by}</td>
              <td className="text-2 not-narrow">
                <Time at={release.updated_at} />
              </td>
              <td className="text-2 cut rest not-narrow" title={release.reason ?? undefined}>
                {release.reason && inPast(rounded(release.reason))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
