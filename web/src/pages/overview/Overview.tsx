import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { overview } from "../../api/queries";
import type { Attention, Lane, Overview as Data, RunSummary } from "../../api/types";
import { rounded, sentence, withoutVerb } from "../../format/text";
import { duration, secondsBetween } from "../../format/time";
import { LedgerTable } from "../../parts/LedgerTable";
import { Empty, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { RunBars } from "../../parts/RunBars";
import { STAGE, Status, StatusShape } from "../../parts/Status";
import { Time, useNow } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";
import { Lanes } from "./Lanes";
import { answer } from "./answer";
import "./overview.css";

/** Is all right, and what needs me? */
export function Overview() {
  usePage([{ text: "Overview" }]);
  const query = useQuery(overview());
  return (
    <Loaded query={query} what="the overview" bars={8}>
      {(data) => (data.lanes.length === 0 ? <FirstSteps /> : <Contents data={data} />)}
    </Loaded>
  );
}

function Contents({ data }: { data: Data }) {
  const { first, rest } = answer(data);
  return (
    <>
      <h1 className="answer">
        <b>{first}</b> {rest}
      </h1>
      <Lanes lanes={data.lanes} />
      <div className="columns two">
        <WaitingForYou waiting={data.waiting} />
        <NeedsAttention attention={data.attention} />
      </div>
      <div className="columns two">
        <RecentRuns lanes={data.lanes} />
        <Panel title="Ledger" right={<Link href="/audit">Open audit</Link>}>
          {data.ledger.length === 0 ? <Empty>Nothing has happened yet.</Empty> : <LedgerTable entries={data.ledger} short />}
        </Panel>
      </div>
    </>
  );
}

function WaitingForYou({ waiting }: { waiting: Data["waiting"] }) {
  return (
    <Panel title="Waiting for you" right={waiting.length}>
      {waiting.length === 0 ? (
        <Empty>Nothing waits for you. A release that needs your approval stands here.</Empty>
      ) : (
        <ul className="todo">
          {waiting.map(({ release, text, may_approve }) => (
            <li key={release.id}>
              <StatusShape shape="waiting" coloured />
              <div className="medium prose">
                {may_approve ? "Approve" : "Waits:"}{" "}
                <Link href={links.release(release.id)}>
                  {release.model} v{release.version} for {release.environment}
                </Link>
              </div>
              <Link className={may_approve ? "button primary" : "button"} href={links.release(release.id)}>
                {may_approve ? "Review" : "Open"}
              </Link>
              <p>{sentence(text)}</p>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function NeedsAttention({ attention }: { attention: Attention[] }) {
  return (
    <Panel title="Needs attention" right={attention.length}>
      {attention.length === 0 ? (
        <Empty>Nothing failed. Runs that stop and releases that are rolled back stand here.</Empty>
      ) : (
        <ul className="todo">
          {attention.map((item) => {
            const href = item.kind === "release" ? links.release(item.id) : links.run(item.project, item.id);
            return (
              <li key={`${item.kind}/${item.project}/${item.id}`}>
                <StatusShape shape="danger" coloured />
                <div className="medium prose">
                  <Link href={href}>{item.title}</Link>
                </div>
                <Link className="button" href={href}>
                  {item.kind === "release" ? "See release" : "See run"}
                </Link>
                <p>{withoutVerb(rounded(item.text))}</p>
              </li>
            );
          })}
        </ul>
      )}
    </Panel>
  );
}

function RecentRuns({ lanes }: { lanes: Lane[] }) {
  const now = useNow();
  return (
    <Panel title="Pipeline runs" right="height is duration">
      {lanes.map((lane) => {
        const newest = lane.newest_run;
        return (
          <div className="run-row" key={lane.project}>
            <Link className="plain medium cut" href={links.project(lane.project)}>
              {lane.project}
            </Link>
            <div className="bars">
              <RunBars runs={lane.recent_runs} now={now} />
            </div>
            {newest && (
              <Link className="plain row" href={links.run(newest.project, newest.number)}>
                <Status of={STAGE[newest.status]}>
                  {newest.number}
                  {newest.status === "failed" && " failed"}
                </Status>
                {newest.status !== "failed" && newest.started_at !== null && (
                  <span className="text-3 tiny">{duration(secondsBetween(newest.started_at, newest.finished_at ?? now))}</span>
                )}
              </Link>
            )}
          </div>
        );
      })}
      {lanes.length === 1 && <NewestRuns runs={lanes[0]?.recent_runs ?? []} />}
    </Panel>
  );
}

/** As many as stand beside them in the ledger. */
const NEWEST = 7;

/** Of the only project there is room to name each run. */
function NewestRuns({ runs }: { runs: RunSummary[] }) {
  return (
    <table className="dense newest-runs">
      <thead className="visually-hidden">
        <tr>
          <th>Run</th>
          <th>Commit</th>
          <th>Made</th>
          <th>Started</th>
        </tr>
      </thead>
      <tbody>
        {runs.slice(-NEWEST).reverse().map((run) => (
          <tr key={run.number}>
            <td>
              <Link className="plain" href={links.run(run.project, run.number)}>
                <Status of={STAGE[run.status]}>Run {run.number}</Status>
              </Link>
            </td>
            <td className="rest cut text-2">{run.commit.subject}</td>
            <td className="text-2">{run.model_version && `v${run.model_version.version}`}</td>
            <td className="text-3">
              <Time at={run.created_at} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function FirstSteps() {
  return (
    <>
      <h1 className="answer">
        <b>No project yet.</b> A first push makes one.
      </h1>
      <Panel title="The first model">
        <div className="empty">
          <p>
            <code>towpath new digits</code> writes an example repository with its data, its checks and its gates.
          </p>
          <p>
            <code>cd digits && git push towpath main</code> runs its pipeline and carries the model to production.
          </p>
          <p>
            <code>towpath predict digits --wait</code> asks it for an answer.
          </p>
        </div>
      </Panel>
    </>
  );
}
