import { useState } from "react";
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useLocation, useParams } from "wouter";

import { post } from "../../api/client";
import { run as runQuery, runs as runsQuery } from "../../api/queries";
import type { Run, RunSummary, StageRun } from "../../api/types";
import { bytes } from "../../format/number";
import { sentence } from "../../format/text";
import { duration } from "../../format/time";
import { Segments } from "../../parts/Choice";
import { Dialog } from "../../parts/Dialog";
import { Hash } from "../../parts/Hash";
import { Empty, Failed, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { STAGE, Status } from "../../parts/Status";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { useSearchParam } from "../../parts/useSearchParam";
import { usePage } from "../../shell/page";
import { Checks } from "./Checks";
import { StageGraph } from "./StageGraph";
import { StageList } from "./StageList";
import { StagePanel } from "./StagePanel";
import { StageTimeline } from "./StageTimeline";
import "./run.css";

/** What ran, and why? */
export function RunDetail() {
  const { project = "", n = "" } = useParams<{ project: string; n: string }>();
  const number = Number(n);
  usePage([{ text: project, href: links.project(project) }, { text: "Pipelines", href: "/p" }, { text: `Run ${n}` }], project);
  const query = useQuery(runQuery(project, number));
  return (
    <Loaded query={query} what={`run ${n} of ${project}`} bars={10}>
      {(run) => <Contents run={run} />}
    </Loaded>
  );
}

function Contents({ run }: { run: Run }) {
  const [chosen, choose] = useSearchParam("stage");
  const selected = run.stages.find((stage) => stage.name === chosen) ?? worthLooking(run.stages);
  const checks = run.checks.length > 0 && <Checks checks={run.checks} />;
  const stopped = run.checks.some((check) => check.stopped_run);
  const began = run.stages.some((stage) => stage.started_at !== null || stage.status === "reused" || stage.status === "queued");
  return (
    <>
      <Head run={run} />
      {run.error && (
        <p className="notice bad" role="alert">
          {sentence(run.error)}
        </p>
      )}
      <div className="columns inspect">
        <div className="stack">
          {stopped && checks}
          <Stages run={run} selected={selected?.name} onSelect={choose} />
          {!stopped && checks}
          {began && <StageTimeline run={run} selected={selected?.name} onSelect={choose} />}
          <Produced run={run} />
        </div>
        {selected && <StagePanel key={selected.name} run={run} stage={selected} />}
      </div>
    </>
  );
}

/** What a person most likely came for: what runs, what failed, else what was computed last. */
function worthLooking(stages: StageRun[]): StageRun | undefined {
  return (
    stages.find((stage) => stage.status === "waiting") ??
    stages.find((stage) => stage.status === "running") ??
    stages.find((stage) => stage.status === "failed") ??
    stages.findLast((stage) => stage.status === "succeeded") ??
    stages[0]
  );
}

function Head({ run }: { run: Run }) {
  const [asking, setAsking] = useState(false);
  const unfinished = run.status === "running" || run.status === "queued";
  const trigger = run.trigger === "push" ? "push to" : run.trigger;
  return (
    <div className="head">
      <div>
        <h1>
          Run {run.number} <Status of={STAGE[run.status]} pill />
        </h1>
        <div className="meta">
          <span>
            {trigger} <b>{run.branch ?? ""}</b> by {run.started_by}
          </span>
          <span className="row">
            <Hash hash={run.commit.id} /> <span className="cut">{run.commit.subject}</span>
          </span>
          <span>
            started <Time at={run.started_at ?? run.created_at} />
            {run.first_process_ms !== null && `, first process after ${duration(run.first_process_ms / 1000)}`}
          </span>
          {run.model_version && (
            <span>
              made{" "}
              <Link href={links.version(run.model_version.model, run.model_version.version)}>
                {run.model_version.model} v{run.model_version.version}
              </Link>
            </span>
          )}
        </div>
      </div>
      <div className="actions">
        <Neighbours run={run} />
        {run.experiment && run.tracking_run && (
          <Link className="button" href={links.trackedRun(run.experiment, run.tracking_run)}>
            Tracked run
          </Link>
        )}
        {unfinished && (
          <button type="button" className="button danger" onClick={() => setAsking(true)}>
            Cancel run
          </button>
        )}
        {!unfinished && <Again run={run} />}
      </div>
      {asking && <CancelDialog run={run} onClose={() => setAsking(false)} />}
    </div>
  );
}

/** Makes the run once more: what it finished is reused, so it goes on where it failed. */
function Again({ run }: { run: Run }) {
  const [, navigate] = useLocation();
  const again = useMutation({
    mutationFn: () => post<RunSummary>(`/projects/${encodeURIComponent(run.project)}/runs/${run.number}/again`),
    onSuccess: (made) => navigate(links.run(made.project, made.number)),
  });
  return (
    <>
      <button type="button" className="button" disabled={again.isPending} onClick={() => again.mutate()}>
        Run again
      </button>
      {again.error && <Failed what="the new run" error={again.error} />}
    </>
  );
}

function CancelDialog({ run, onClose }: { run: Run; onClose: () => void }) {
  const client = useQueryClient();
  const cancel = useMutation({
    mutationFn: () => post(`/projects/${encodeURIComponent(run.project)}/runs/${run.number}/cancel`),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ["runs", run.project, run.number] });
      onClose();
    },
  });
  return (
    <Dialog title={`Cancel run ${run.number}?`} onClose={onClose}>
      <div className="body">
        <p>Its processes are ended. What finished stays in the cache, so the next run does not compute it again.</p>
        {cancel.error && <Failed what="the cancelled run" error={cancel.error} />}
        <div className="actions">
          <button type="button" className="button" onClick={onClose}>
            Keep running
          </button>
          <button type="button" className="button danger" data-autofocus onClick={() => cancel.mutate()}>
            Cancel run {run.number}
          </button>
        </div>
      </div>
    </Dialog>
  );
}

const COUNTED: [StageRun["status"], string][] = [
  ["succeeded", "done"],
  ["reused", "reused"],
  ["running", "running"],
  ["waiting", "waiting"],
  ["queued", "queued"],
  ["failed", "failed"],
  ["skipped", "skipped"],
  ["cancelled", "cancelled"],
];

function Stages({ run, selected, onSelect }: { run: Run; selected?: string; onSelect: (stage: string) => void }) {
  const [shape, setShape] = useSearchParam("as");
  const counts = COUNTED.map(([status, word]) => ({ status, word, count: run.stages.filter((stage) => stage.status === status).length }));
  return (
    <Panel
      title="Stages"
      beside={
        <span className="row wide-gap wrap">
          {counts
            .filter(({ count }) => count > 0)
            .map(({ status, word, count }) => (
              <Status key={status} of={STAGE[status]} quiet={status !== "failed"}>
                {count} {word}
              </Status>
            ))}
        </span>
      }
      right={
        <Segments
          label="Show as"
          options={[
            { value: "graph", label: "Graph" },
            { value: "list", label: "List" },
          ]}
          value={shape === "list" ? "list" : "graph"}
          onChange={(value) => setShape(value === "list" ? "list" : null)}
        />
      }
    >
      {run.stages.length === 0 ? (
        <Empty>The plan is being made: stages stand here as soon as their reasons are known.</Empty>
      ) : shape === "list" ? (
        <StageList run={run} selected={selected} onSelect={onSelect} />
      ) : (
        <StageGraph run={run} selected={selected} onSelect={onSelect} />
      )}
    </Panel>
  );
}

function Produced({ run }: { run: Run }) {
  const produced = run.stages
    .filter((stage) => stage.status === "succeeded" || stage.status === "reused")
    .flatMap((stage) => stage.outputs.map((output) => ({ stage, output })));
  if (produced.length === 0) return null;
  const finished = run.finished_at !== null;
  return (
    <Panel
      title={finished ? "Produced" : "Produced so far"}
      right={
        run.lock_ref && (
          <span>
            dvc.lock in <span className="mono">{run.lock_ref}</span>
          </span>
        )
      }
    >
      <div className="scroll">
        <table className="dense">
          <tbody>
            {produced.map(({ stage, output }) => (
              <tr key={output.path}>
                <td className="medium">{output.path}</td>
                <td>{output.hash && <Hash hash={output.hash} />}</td>
                <td className="num">{bytes(output.size)}</td>
                <td className="text-2">{stage.name}</td>
                <td className="text-3">{stage.status === "reused" ? "reused" : ""}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

/** `[` and `]` open the run before and after. */
function Neighbours({ run }: { run: Run }) {
  const [, navigate] = useLocation();
  const newest = useInfiniteQuery(runsQuery(run.project)).data?.pages[0]?.items[0]?.number ?? run.number;
  const go = (number: number) => navigate(links.run(run.project, number));
  return (
    <>
      {run.number > 1 && (
        <button type="button" className="button" data-key="[" onClick={() => go(run.number - 1)}>
          Run {run.number - 1} <kbd>[</kbd>
        </button>
      )}
      {run.number < newest && (
        <button type="button" className="button" data-key="]" onClick={() => go(run.number + 1)}>
          Run {run.number + 1} <kbd>]</kbd>
        </button>
      )}
    </>
  );
}
