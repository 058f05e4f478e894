import { useState } from "react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "wouter";

import { post } from "../../api/client";
import { schedules } from "../../api/queries";
import type { Schedule } from "../../api/types";
import { sentence } from "../../format/text";
import { exact } from "../../format/time";
import { Table, type Column } from "../../parts/ListPanel";
import { Empty, Failed, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { BackfillDialog } from "./BackfillDialog";

/** What starts runs beside a push, when next, and what came of it last. */
export function Schedules({ project }: { project: string }) {
  const query = useQuery(schedules(project));
  const client = useQueryClient();
  const [asking, setAsking] = useState<string | null>(null);
  const change = useMutation({
    mutationFn: (schedule: Schedule) =>
      post(`/projects/${encodeURIComponent(project)}/schedules/${encodeURIComponent(schedule.name)}/${schedule.paused_at === null ? "pause" : "resume"}`),
    onSuccess: () => client.invalidateQueries({ queryKey: ["schedules", project] }),
  });
  const columns: Column<Schedule>[] = [
    { head: "Schedule", cell: (schedule) => <span className="medium">{schedule.name}</span> },
    { head: "When", className: "mono", cell: (schedule) => schedule.when },
    { head: "Next", className: "text-2", cell: (schedule) => <Next schedule={schedule} /> },
    { head: "Last", className: "text-2 not-narrow", cell: (schedule) => <Last schedule={schedule} /> },
    {
      head: "Change",
      className: "num",
      cell: (schedule) => (
        <span className="actions">
          {schedule.kind === "schedule" && (
            <button type="button" className="button" onClick={() => setAsking(schedule.name)}>
              Backfill {schedule.name}
            </button>
          )}
          <button type="button" className="button" disabled={change.isPending} onClick={() => change.mutate(schedule)}>
            {schedule.paused_at === null ? "Pause" : "Resume"} {schedule.name}
          </button>
        </span>
      ),
    },
  ];
  return (
    <Panel title="Schedules and triggers" label="Schedules and triggers">
      {change.error && <Failed what="the change" error={change.error} />}
      <Loaded query={query} what={`the schedules of ${project}`} bars={2}>
        {(items) =>
          items.length === 0 ? (
            <Empty>
              Only pushes start runs. <code>on</code> in <code>towpath.yaml</code> may name schedules, data, aliases, other runs and webhooks.
            </Empty>
          ) : (
            <Table items={items} keyOf={(schedule) => schedule.name} columns={columns} />
          )
        }
      </Loaded>
      {asking !== null && <BackfillDialog project={project} schedule={asking} onClose={() => setAsking(null)} />}
    </Panel>
  );
}

function Next({ schedule }: { schedule: Schedule }) {
  if (schedule.paused_at !== null) return <>paused by {schedule.paused_by}</>;
  if (schedule.next_at === null) return <>{schedule.kind === "schedule" ? "never again" : "when it happens"}</>;
  return <time dateTime={new Date(schedule.next_at).toISOString()}>{exact(schedule.next_at).split("\n")[0]?.slice(0, 16).replace("T", " ")}</time>;
}

function Last({ schedule: { project, last } }: { schedule: Schedule }) {
  if (!last) return <>nothing yet</>;
  return (
    <span title={sentence(last.why)}>
      {last.outcome} {last.run !== null && <Link href={links.run(project, last.run)}>run {last.run}</Link>} <Time at={last.at} />
    </span>
  );
}
