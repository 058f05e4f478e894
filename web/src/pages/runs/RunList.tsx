import { useState, type FormEvent } from "react";
import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { Link, useLocation, useParams } from "wouter";

import { post } from "../../api/client";
import { runs } from "../../api/queries";
import type { RunSummary } from "../../api/types";
import { duration, secondsBetween } from "../../format/time";
import { Dialog } from "../../parts/Dialog";
import { Hash } from "../../parts/Hash";
import { ListPanel, type Column } from "../../parts/ListPanel";
import { Failed } from "../../parts/Loaded";
import { STAGE, Status } from "../../parts/Status";
import { Time, useNow } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";
import { Backfills } from "./Backfills";
import { RunGrid } from "./RunGrid";
import { Schedules } from "./Schedules";
import "./run.css";

const COLUMNS: Column<RunSummary>[] = [
  {
    head: "Run",
    cell: (run) => (
      <Link data-row className="plain medium" href={links.run(run.project, run.number)}>
        Run {run.number}
      </Link>
    ),
  },
  { head: "State", cell: (run) => <Status of={STAGE[run.status]} /> },
  {
    head: "Commit",
    cell: ({ commit }) => (
      <span className="row">
        <Hash hash={commit.id} />
        <span className="cut not-narrow">{commit.subject}</span>
      </span>
    ),
  },
  { head: "Trigger", className: "text-2 not-narrow", cell: (run) => `${run.trigger} by ${run.started_by}` },
  { head: "Started", className: "text-2 not-narrow", cell: (run) => <Time at={run.started_at ?? run.created_at} /> },
  { head: "Took", className: "num not-narrow", cell: (run) => <Took run={run} /> },
  {
    head: "Made",
    className: "not-narrow",
    cell: ({ model_version: made }) =>
      made && (
        <Link className="tag" href={links.version(made.model, made.version)}>
          {made.model} v{made.version}
        </Link>
      ),
  },
];

/** How do runs go, and what became of each commit? */
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
      <RunGrid project={project} />
      <Schedules project={project} />
      <Backfills project={project} />
      <ListPanel
        title="Runs"
        query={query}
        what={`the runs of ${project}`}
        empty={
          <p>
            No run yet. A push to a branch named in <code>towpath.yaml</code> starts one.
          </p>
        }
        keyOf={(run) => run.number}
        columns={COLUMNS}
        titleOf={(run) => run.error ?? undefined}
      />
      {asking && <StartDialog project={project} onClose={() => setAsking(false)} />}
    </>
  );
}

function Took({ run }: { run: RunSummary }) {
  const now = useNow();
  return run.started_at === null ? "–" : duration(secondsBetween(run.started_at, run.finished_at ?? now));
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
