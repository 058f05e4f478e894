import { useState, type FormEvent } from "react";
import { useMutation, useQueryClient } from "@tanstack/react-query";

import { post } from "../../api/client";
import { Dialog } from "../../parts/Dialog";
import { Failed } from "../../parts/Loaded";

/** Rolling back is always possible and always first: one press, with the focus already on it. */
export function RollBackButton({ release, from, to }: { release: number; from: number; to: number | null }) {
  const [asking, setAsking] = useState(false);
  const label = to === null ? `Roll back v${from}` : `Roll back to v${to}`;
  return (
    <>
      <button type="button" className="button danger" onClick={() => setAsking(true)}>
        {label}
      </button>
      {asking && <RollBackDialog release={release} label={label} from={from} onClose={() => setAsking(false)} />}
    </>
  );
}

function RollBackDialog({ release, label, from, onClose }: { release: number; label: string; from: number; onClose: () => void }) {
  const client = useQueryClient();
  const [reason, setReason] = useState("rolled back by hand");
  const rollBack = useMutation({
    mutationFn: () => post(`/releases/${release}/rollback`, { reason: reason.trim() }),
    onSuccess: async () => {
      await client.invalidateQueries();
      onClose();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    rollBack.mutate();
  };
  return (
    <Dialog title={`${label}?`} onClose={onClose}>
      <form className="body form" onSubmit={submit}>
        <p>All traffic leaves v{from} at once and no request is lost. Automation will not release v{from} again.</p>
        <div>
          <label className="medium" htmlFor="rollback-reason">
            Reason <span className="text-3 light">kept in the ledger</span>
          </label>
          <input id="rollback-reason" className="input" required value={reason} onChange={(event) => setReason(event.target.value)} />
        </div>
        {rollBack.error && <Failed what="the rollback" error={rollBack.error} />}
        <div className="actions">
          <button type="button" className="button" onClick={onClose}>
            Leave it
          </button>
          <button type="submit" className="button danger" data-autofocus>
            {label}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
