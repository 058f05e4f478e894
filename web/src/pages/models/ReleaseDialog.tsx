import { useState, type FormEvent } from "react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useLocation } from "wouter";

import { post } from "../../api/client";
import { overview } from "../../api/queries";
import type { ModelVersion, Release } from "../../api/types";
import { Dialog } from "../../parts/Dialog";
import { Failed } from "../../parts/Loaded";
import { links } from "../../parts/links";

/** Sends a version on its way into an environment; gates and approvals decide from there. */
export function ReleaseDialog({ version, onClose }: { version: ModelVersion; onClose: () => void }) {
  const [, navigate] = useLocation();
  const lanes = useQuery(overview()).data?.lanes ?? [];
  const known = lanes.filter((lane) => lane.model === version.model).flatMap((lane) => lane.environments.map((each) => each.environment));
  const [environment, setEnvironment] = useState(known.at(-1) ?? "");
  const [reason, setReason] = useState("");
  const release = useMutation({
    mutationFn: () => post<Release>("/releases", { model: version.model, version: version.version, environment: environment.trim(), reason: reason.trim() || null }),
    onSuccess: (opened) => navigate(links.release(opened.id)),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    release.mutate();
  };
  const name = `${version.model} v${version.version}`;
  return (
    <Dialog title={`Release ${name}`} onClose={onClose}>
      <form className="body form" onSubmit={submit}>
        <p>It passes the gates and approvals of the environment before it gets traffic.</p>
        <div>
          <label className="medium" htmlFor="environment">
            Environment
          </label>
          <input id="environment" className="input" data-autofocus required list="environments" value={environment} onChange={(event) => setEnvironment(event.target.value)} />
          <datalist id="environments">
            {known.map((each) => (
              <option key={each} value={each} />
            ))}
          </datalist>
        </div>
        <div>
          <label className="medium" htmlFor="release-reason">
            Reason <span className="text-3 light">needed to release again what was rolled back or rejected</span>
          </label>
          <input id="release-reason" className="input" value={reason} onChange={(event) => setReason(event.target.value)} />
        </div>
        {release.error && <Failed what="the new release" error={release.error} />}
        <div className="actions">
          <button type="button" className="button" onClick={onClose}>
            Close
          </button>
          <button type="submit" className="button primary">
            Release {name}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
