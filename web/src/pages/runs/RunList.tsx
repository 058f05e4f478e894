import { useState, type FormEvent } from "react";
import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { Link, useLocation, useParams } from "wouter";

import { post } from "../../api/client";
import { runs } from "../../api/queries";
import type { RunSummary } from "../../api/types";
import { count } from "../../format/number";
import { duration, secondsBetween } from "../../format/time";
import { Dialog } from "../../parts/Dialog";
import { Hash } from "../../parts/Hash";
import { Failed, LoadedList } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { STAGE, Status } from "../../parts/Status";
import { Time, useNow } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

/** What became of each commit? */
export function RunList() {
  const { project = "" } = useParams<{ project: string }>();
  usePage([{ text: "Pipelines", href: "/p" }, { text: project }], project);
  const query = useInfiniteQuery(runs(project));
  const [asking, setAsking] = useState(false);
  return (
    <>
      <div className="head">
        <h1>{project}</h1>
        <div className="actions">
          <button type="button" className="button primary" onClick={() => setAsking(true)}>
            Run pipeline
          </button>
        </div>
      </div>
      <Panel title="Runs" right={query.data && count(query.data.pages[0]?.total)}>
        <LoadedList
          query={query}
          what={`the runs of ${project}`}
          empty={
            <p>
              No run yet. A push to a branch named in <code>towpath.yaml</code> starts one.
            </p>
          }
        >
          {(items) => <RunTable runs={items} />}
        </LoadedList>
      </Panel>
      {asking && <StartDialog project={project} onClose={() => setAsking(false)} />}
    </>
  );
}

function RunTable({ runs: items }: { runs: RunSummary[] }) {
  const now = useNow();
  return (
    <div className="scroll">
      <table>
        <thead>
          <tr>
            <th>Run</th>
            <th>State</th>
            <th>Commit</th>
            <th className="not-narrow">Trigger</th>
            <th className="not-narrow">Started</th>
            <th className="num not-narrow">Took</th>
            <th className="not-narrow">Made</th>
          </tr>
        </thead>
        <tbody>
          {items.map((run) => (
            <tr key={run.number} title={run.error ?? undefined}>
              <td>
                <Link data-row className="plain medium" href={links.run(run.project, run.number)}>
                  Run {run.number}
                </Link>
              </td>
              <td>
                <Status of={STAGE[run.status]} />
              </td>
              <td>
                <span className="row">
                  <Hash hash={run.commit.id} />
                  <span className="cut not-narrow">{run.commit.subject}</span>
                </span>
              </td>
              <td className="text-2 not-narrow">
                {run.trigger} by {run.started_by}
              </td>
              <td className="text-2 not-narrow">
                <Time at={run.started_at ?? run.created_at} />
              </td>
              <td className="num not-narrow">{run.started_at === null ? "–" : duration(secondsBetween(run.started_at, run.finished_at ?? now))}</td>
              <td className="not-narrow">
                {run.model_version && (
                  <Link className="tag" href={links.version(run.model_version.model, run.model_version.version)}>
                    {run.model_version.model} v{run.model_version.version}
                  </Link>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function StartDialog({ project, onClose }: { project: string; onClose: () => void }) {
  const [, navigate] = useLocation();
  const [reference, setReference] = useState("main");
  const [force, setForce] = useState(false);
  const start = useMutation({
    mutationFn: () => post<RunSummary>(`/projects/${encodeURIComponent(project)}/runs`, { ref: reference.trim(), force }),
    onSuccess: (run) => navigate(links.run(project, run.number)),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    start.mutate();
  };
  return (
    <Dialog title={`Run the pipeline of ${project}`} onClose={onClose}>
      <form className="body form" onSubmit={submit}>
        <div>
          <label className="medium" htmlFor="reference">
            Branch, tag or commit
          </label>
          <input id="reference" className="input" data-autofocus required value={reference} onChange={(event) => setReference(event.target.value)} />
        </div>
        <label className="row">
          <input type="checkbox" checked={force} onChange={(event) => setForce(event.target.checked)} />
          Run every stage, whatever the cache says
        </label>
        {start.error && <Failed what="the new run" error={start.error} />}
        <div className="actions">
          <button type="button" className="button" onClick={onClose}>
            Close
          </button>
          <button type="submit" className="button primary">
            Run {project}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
