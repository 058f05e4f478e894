import { useState, type FormEvent } from "react";
import { useMutation, useQueryClient } from "@tanstack/react-query";

import { post } from "../../api/client";
import type { Rollout } from "../../api/types";
import { Dialog } from "../../parts/Dialog";
import { Failed } from "../../parts/Loaded";
import { armsOf } from "./arms";

/** Ends an experiment: the candidate serves everybody. Rolling back ends it as well. */
export function EndExperimentButton({ release, rollout }: { release: number; rollout: Rollout }) {
  const [asking, setAsking] = useState(false);
  const { candidate } = armsOf(rollout);
  return (
    <>
      <button type="button" className="button primary" onClick={() => setAsking(true)}>
        Promote {candidate}
      </button>
      {asking && <EndExperiment release={release} rollout={rollout} onClose={() => setAsking(false)} />}
    </>
  );
}

function EndExperiment({ release, rollout, onClose }: { release: number; rollout: Rollout; onClose: () => void }) {
  const client = useQueryClient();
  const [reason, setReason] = useState("");
  const { stable, candidate } = armsOf(rollout);
  const promote = useMutation({
    mutationFn: () => post(`/releases/${release}/rollout/promote`, { reason: reason.trim() }),
    onSuccess: async () => {
      await client.invalidateQueries();
      onClose();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    promote.mutate();
  };
  return (
    <Dialog title={`Promote ${candidate}?`} onClose={onClose}>
      <form className="body form" onSubmit={submit}>
        <p>
          The experiment ends: {candidate} serves everybody, {stable} nobody.
        </p>
        <div>
          <label className="medium" htmlFor="promote-reason">
            Reason <span className="text-3 light">kept in the ledger</span>
          </label>
          <input id="promote-reason" className="input" data-autofocus required value={reason} onChange={(event) => setReason(event.target.value)} />
        </div>
        {promote.error && <Failed what="the promotion" error={promote.error} />}
        <div className="actions">
          <button type="button" className="button" onClick={onClose}>
            Go on with the experiment
          </button>
          <button type="submit" className="button primary">
            Promote {candidate}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
