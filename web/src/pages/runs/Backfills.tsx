import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "wouter";

import { post } from "../../api/client";
import { backfills } from "../../api/queries";
import type { Backfill, Partition, StageStatus } from "../../api/types";
import { exact } from "../../format/time";
import { Failed, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { STAGE, StatusShape } from "../../parts/Status";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";

/** Runs for planned times that have passed. Nothing is shown where there never was one. */
export function Backfills({ project }: { project: string }) {
  const query = useQuery(backfills(project));
  if (query.data?.length === 0) return null;
  return (
    <Panel title="Backfills" label="Backfills">
      <Loaded query={query} what={`the backfills of ${project}`} bars={2}>
        {(items) => items.slice(0, 10).map((backfill) => <Row key={backfill.number} backfill={backfill} />)}
      </Loaded>
    </Panel>
  );
}

const OVER = ["succeeded", "failed", "cancelled", "skipped"];

function Row({ backfill }: { backfill: Backfill }) {
  const client = useQueryClient();
  const { project, number, partitions, status } = backfill;
  const change = useMutation({
    mutationFn: (verb: string) => post(`/projects/${encodeURIComponent(project)}/backfills/${number}/${verb}`),
    onSuccess: () => client.invalidateQueries({ queryKey: ["backfills", project] }),
  });
  const over = partitions.filter((partition) => OVER.includes(partition.status)).length;
  const name = `backfill ${number}`;
  return (
    <div className="pad backfill">
      <div className="row wrap">
        <span className="medium">
          {number} {backfill.schedule}
        </span>
        <span className="text-2">
          {day(backfill.from)} to {day(backfill.to)}, {over} of {partitions.length} over, {status}
        </span>
        <span className="text-3 not-narrow">
          by {backfill.created_by} <Time at={backfill.created_at} />
        </span>
        {(status === "running" || status === "paused") && (
          <span className="actions">
            <button type="button" className="button" disabled={change.isPending} onClick={() => change.mutate(status === "paused" ? "resume" : "pause")}>
              {status === "paused" ? "Resume" : "Pause"} {name}
            </button>
            <button type="button" className="button danger" disabled={change.isPending} onClick={() => change.mutate("cancel")}>
              Cancel {name}
            </button>
          </span>
        )}
      </div>
      {change.error && <Failed what={name} error={change.error} />}
      <ul className="partitions" aria-label={`Planned times of ${name}`}>
        {partitions.slice(0, 400).map((partition) => (
          <li key={partition.planned_at} title={`${exact(partition.planned_at).split("\n")[1]}${partition.why ? `\n${partition.why}` : ""}`}>
            <Planned project={project} partition={partition} />
          </li>
        ))}
      </ul>
    </div>
  );
}

function Planned({ project, partition }: { project: string; partition: Partition }) {
  // A planned time that waits has no run yet, as a queued stage has no process.
  const state = STAGE[(partition.status === "waiting" ? "queued" : partition.status) as StageStatus];
  const label = `${day(partition.planned_at)}: ${partition.status}`;
  if (partition.run === null) {
    return (
      <>
        <StatusShape shape={state.shape} coloured />
        <span className="visually-hidden">{label}</span>
      </>
    );
  }
  return (
    <Link className="cell" href={links.run(project, partition.run)} aria-label={`${label}, run ${partition.run}`}>
      <StatusShape shape={state.shape} coloured />
    </Link>
  );
}

const day = (at: number) => new Date(at).toISOString().slice(0, 10);
