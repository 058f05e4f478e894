import { useState, type FormEvent } from "react";
import { useMutation, useQueryClient } from "@tanstack/react-query";

import { post } from "../../api/client";
import type { Backfill, NewBackfill, Partition } from "../../api/types";
import { plural } from "../../format/number";
import { Dialog } from "../../parts/Dialog";
import { Failed } from "../../parts/Loaded";

const REPROCESS: { value: NewBackfill["reprocess"]; text: string }[] = [
  { value: "none", text: "Leave them out" },
  { value: "failed", text: "Again, where the last run failed" },
  { value: "completed", text: "Again, where the last run is over" },
];

/** Runs a schedule for planned times that have passed; says first how many that are. */
export function BackfillDialog({ project, schedule, onClose }: { project: string; schedule: string; onClose: () => void }) {
  const client = useQueryClient();
  const url = `/projects/${encodeURIComponent(project)}/backfills`;
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [atOnce, setAtOnce] = useState(1);
  const [reprocess, setReprocess] = useState<NewBackfill["reprocess"]>("none");
  const asked: NewBackfill = { schedule, from, to: to === "" ? null : to, at_once: atOnce, reprocess };
  const preview = useMutation({ mutationFn: () => post<Partition[]>(`${url}/preview`, asked) });
  const start = useMutation({
    mutationFn: () => post<Backfill>(url, asked),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ["backfills", project] });
      onClose();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    start.mutate();
  };
  // What was counted is no longer what is asked for.
  const change = (set: () => void) => {
    set();
    preview.reset();
  };
  return (
    <Dialog title={`Backfill ${schedule}`} onClose={onClose}>
      <form className="body form" onSubmit={submit}>
        <p>Each planned time in the range gets a run, all at the commit that is the newest now. Days are those of the schedule's time zone.</p>
        <div>
          <label className="medium" htmlFor="backfill-from">
            First day
          </label>
          <input id="backfill-from" className="input" type="date" data-autofocus required value={from} onChange={(event) => change(() => setFrom(event.target.value))} />
        </div>
        <div>
          <label className="medium" htmlFor="backfill-to">
            Last day <span className="text-3 light">empty: until now</span>
          </label>
          <input id="backfill-to" className="input" type="date" value={to} onChange={(event) => change(() => setTo(event.target.value))} />
        </div>
        <div>
          <label className="medium" htmlFor="backfill-at-once">
            Runs at the same time
          </label>
          <input id="backfill-at-once" className="input" type="number" min={1} max={1000} required value={atOnce} onChange={(event) => setAtOnce(event.target.valueAsNumber)} />
        </div>
        <div>
          <label className="medium" htmlFor="backfill-reprocess">
            Planned times that had a run
          </label>
          <select id="backfill-reprocess" className="input" value={reprocess} onChange={(event) => change(() => setReprocess(event.target.value as NewBackfill["reprocess"]))}>
            {REPROCESS.map(({ value, text }) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        </div>
        {preview.data && <p role="status">{counted(preview.data)}</p>}
        {preview.error && <Failed what="the planned times" error={preview.error} />}
        {start.error && <Failed what="the new backfill" error={start.error} />}
        <div className="actions">
          <button type="button" className="button" onClick={onClose}>
            Close
          </button>
          <button type="button" className="button" disabled={from === ""} onClick={() => preview.mutate()}>
            Count
          </button>
          <button type="submit" className="button primary">
            Backfill {schedule}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function counted(partitions: Partition[]): string {
  const runs = partitions.filter((partition) => partition.status === "waiting").length;
  const left = partitions.length - runs;
  return `${plural(runs, "run")} would start${left > 0 ? `, ${left} planned times are left out` : ""}.`;
}
