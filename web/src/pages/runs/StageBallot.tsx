import { useState } from "react";
import { useMutation, useQueryClient } from "@tanstack/react-query";

import { post } from "../../api/client";
import type { Run, StageApproval, StageRun } from "../../api/types";
import { Failed } from "../../parts/Loaded";
import { Time } from "../../parts/Time";

/** Who has agreed to a stage, and the buttons to do so while it waits. */
export function StageBallot({ run, stage, approval }: { run: Run; stage: StageRun; approval: StageApproval }) {
  const given = approval.votes.filter((vote) => vote.approved).length;
  return (
    <div className="pad small">
      <p>
        {given} of {approval.count} approvals{approval.from.length > 0 && ` from ${approval.from.join(", ")}`}
      </p>
      <ul className="plain">
        {approval.votes.map((vote) => (
          <li key={vote.user}>
            <b>{vote.user}</b> {vote.approved ? "approved" : "refused"} <Time at={vote.at} />
            {vote.reason && `: ${vote.reason}`}
          </li>
        ))}
      </ul>
      {stage.status === "waiting" && <Vote run={run} stage={stage} />}
    </div>
  );
}

function Vote({ run, stage }: { run: Run; stage: StageRun }) {
  const client = useQueryClient();
  const [reason, setReason] = useState("");
  const path = `/projects/${encodeURIComponent(run.project)}/runs/${run.number}/stages/${encodeURIComponent(stage.name)}/vote`;
  const vote = useMutation({
    mutationFn: (approve: boolean) => post(path, { approve, reason }),
    onSuccess: () => client.invalidateQueries({ queryKey: ["runs", run.project, run.number] }),
  });
  return (
    <>
      <label className="text-3">
        Reason <input className="input" value={reason} onChange={(event) => setReason(event.target.value)} />
      </label>
      {vote.error && <Failed what="the vote" error={vote.error} />}
      <div className="actions">
        <button type="button" className="button danger" disabled={vote.isPending} onClick={() => vote.mutate(false)}>
          Refuse {stage.name}
        </button>
        <button type="button" className="button primary" disabled={vote.isPending} onClick={() => vote.mutate(true)}>
          Approve {stage.name}
        </button>
      </div>
    </>
  );
}
