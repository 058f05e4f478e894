import { useState } from "react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { post } from "../../api/client";
import { me as meQuery } from "../../api/queries";
import type { Me, Release, Vote, Voter } from "../../api/types";
import { plural } from "../../format/number";
import { Hash, HashBar, fours } from "../../parts/Hash";
import { Failed } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { StatusShape } from "../../parts/Status";
import { Time } from "../../parts/Time";

/** What an approval binds to, who may give one, who did, and the button that names the hash. */
export function Approval({ release }: { release: Release }) {
  const me = useQuery(meQuery()).data;
  const open = release.state === "awaiting_approval";
  return (
    <Panel title={open ? "Your approval" : "Approvals"} label="Approval" className="approval" right={`${release.approvals_given} of ${release.approvals_needed}`}>
      <Bound release={release} />
      <Voters release={release} me={me} />
      {open && me && <Ballot release={release} me={me} />}
    </Panel>
  );
}

/** Approvals can still be given, or will be asked for. */
const undecided = ({ state }: Release) => state === "awaiting_approval" || state === "pending" || state === "gating";

function Bound({ release }: { release: Release }) {
  const { binds } = release;
  const open = undecided(release);
  return (
    <div className="pad bound">
      <div className="text-3 small">{open ? "You approve exactly this, nothing later:" : "An approval holds for exactly this:"}</div>
      <div className="release-hash">
        <HashBar hash={release.hash} tall />
        <span>{fours(release.hash)}</span>
      </div>
      <dl className="pairs">
        <dt>Model</dt>
        <dd>
          {binds.model} v{binds.version} {binds.model_content && <Hash hash={binds.model_content} />}
        </dd>
        <dt>Data</dt>
        <dd>
          {binds.data ? <Hash hash={binds.data} /> : "–"} {binds.evaluation && <Hash hash={binds.evaluation} />}
        </dd>
        <dt>Code</dt>
        <dd>
          {binds.commit ? <Hash hash={binds.commit} /> : "–"} {release.commit && <span className="text-3 cut">{release.commit.subject}</span>}
        </dd>
        <dt>Params</dt>
        <dd>{binds.params ? <Hash hash={binds.params} /> : "–"}</dd>
        <dt>Evidence</dt>
        <dd>
          {release.verdicts_hash ? <Hash hash={release.verdicts_hash} /> : "–"} <span className="text-3">{plural(release.gates.length, "gate")}</span>
        </dd>
      </dl>
      {open && (
        <p className="text-3 tiny">
          If any of these changes, or {release.environment} is no longer {release.incumbent ? `v${release.incumbent.version}` : "empty"}, all approvals lapse and you are asked again.
        </p>
      )}
    </div>
  );
}

/** Votes with their reasons first, dissent kept; then who may, then who may not and why. */
function Voters({ release, me }: { release: Release; me?: Me }) {
  const voted = new Set(release.votes.map((vote) => vote.user));
  const open = undecided(release);
  const others = release.voters.filter((voter) => !voted.has(voter.user) && (open || !voter.may)).sort((a, b) => Number(b.may) - Number(a.may));
  if (release.votes.length + others.length === 0) return null;
  return (
    <div className="section">
      <ul className="voters">
        {release.votes.map((vote) => (
          <VoteLine key={`${vote.user} ${vote.at}`} vote={vote} />
        ))}
        {others.map((voter) => (
          <VoterLine key={voter.user} voter={voter} you={voter.user === me?.user} />
        ))}
      </ul>
    </div>
  );
}

function VoteLine({ vote }: { vote: Vote }) {
  return (
    <li>
      <StatusShape shape={vote.stale ? "cancelled" : vote.approved ? "success" : "danger"} coloured />
      <span>
        <b>{vote.user}</b> <span className="text-3">{vote.role}</span> {vote.stale ? <span className="text-3">lapsed</span> : !vote.approved && <span className="bad">rejected</span>}
      </span>
      <span className="text-2">
        <Time at={vote.at} />
      </span>
      {vote.reason && <span className="vote-reason">“{vote.reason}”</span>}
      {vote.stale && <span className="vote-reason text-3">does not count any more: {vote.stale}</span>}
    </li>
  );
}

function VoterLine({ voter, you }: { voter: Voter; you: boolean }) {
  const roles = voter.roles.join(", ");
  return (
    <li>
      <StatusShape shape={!voter.may ? "skipped" : you ? "waiting" : "queued"} coloured />
      <span className={voter.may ? undefined : "text-3"}>
        {you ? <b>you</b> : voter.user} <span className="text-3">{voter.may ? roles : voter.why_not}</span>
      </span>
      <span className={you && voter.may ? "tone-waiting" : "text-3"}>{voter.may ? "can approve" : "may not"}</span>
    </li>
  );
}

function Ballot({ release, me }: { release: Release; me: Me }) {
  const voter = release.voters.find((each) => each.user === me.user);
  if (release.votes.some((vote) => vote.user === me.user && vote.stale === null)) {
    return <p className="section small text-2">You have voted. A person's vote counts once.</p>;
  }
  if (voter && !voter.may) {
    const others = release.voters.filter((each) => each.may && !release.votes.some((vote) => vote.user === each.user)).map((each) => each.user);
    return (
      <p className="section small text-2">
        You may not approve this: {voter.why_not}. {others.length > 0 ? `Ask ${others.join(" or ")}.` : "Nobody else may yet: an admin gives the roles."}
      </p>
    );
  }
  return <Vote release={release} />;
}

function Vote({ release }: { release: Release }) {
  const client = useQueryClient();
  const [reason, setReason] = useState("");
  const [asked, setAsked] = useState(false);
  const [seen, setSeen] = useState<Set<string>>(new Set());
  const warnings = release.gates.filter((gate) => gate.outcome !== "passed");
  const unseen = warnings.filter((gate) => !seen.has(gate.name));
  const vote = useMutation({
    mutationFn: (verb: "approve" | "reject") => post(`/releases/${release.id}/${verb}`, { reason: reason.trim(), hash: release.hash }),
    onSettled: () => Promise.all([client.invalidateQueries({ queryKey: ["releases"] }), client.invalidateQueries({ queryKey: ["overview"] })]),
  });
  const missing = reason.trim() === "" ? "Say why, in a few words: it is kept in the ledger." : null;
  const cast = (verb: "approve" | "reject") => {
    setAsked(true);
    if (missing === null && (verb === "reject" || unseen.length === 0)) vote.mutate(verb);
  };
  const toggle = (name: string) => {
    const next = new Set(seen);
    if (!next.delete(name)) next.add(name);
    setSeen(next);
  };
  return (
    <div className="section form">
      <div>
        <label className="medium" htmlFor="reason">
          Reason <span className="text-3 light">kept in the ledger</span>
        </label>
        <textarea id="reason" value={reason} aria-invalid={asked && missing !== null} aria-describedby={asked && missing ? "reason-error" : undefined} onChange={(event) => setReason(event.target.value)} />
        {asked && missing && (
          <p id="reason-error" className="bad">
            {missing}
          </p>
        )}
      </div>
      {warnings.map((gate) => (
        <label className="row top-aligned" key={gate.name}>
          <input type="checkbox" checked={seen.has(gate.name)} onChange={() => toggle(gate.name)} />
          <span>
            I have seen that <b>{gate.name}</b> {gate.outcome === "no_incumbent" ? "had nothing to compare with" : "did not pass"}
          </span>
        </label>
      ))}
      {asked && missing === null && unseen.length > 0 && <p className="bad">Tick what you have seen above.</p>}
      <div className="row">
        <button type="button" className="button primary tall grow" aria-disabled={vote.isPending} onClick={() => cast("approve")}>
          Approve {fours(release.hash, 8)}
        </button>
        <button type="button" className="button danger tall" aria-disabled={vote.isPending} onClick={() => cast("reject")}>
          Reject
        </button>
      </div>
      {vote.error && <Failed what="your vote in the ledger" error={vote.error} />}
      <p className="text-3 tiny">{release.approvals_needed - release.approvals_given <= 1 ? "This approval starts the rollout at once." : `${plural(release.approvals_needed - release.approvals_given, "approval")} are missing.`} Rolling back never needs approval.</p>
    </div>
  );
}
