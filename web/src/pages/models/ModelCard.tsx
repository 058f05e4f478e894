import { useState, type FormEvent, type KeyboardEvent } from "react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { ApiError, put } from "../../api/client";
import { card as cardQuery, me } from "../../api/queries";
import type { Card } from "../../api/types";
import { lineDiff } from "../../format/lines";
import { Segments } from "../../parts/Choice";
import { LineDiff } from "../../parts/Diff";
import { Empty, Failed, Loaded } from "../../parts/Loaded";
import { Markdown } from "../../parts/Markdown";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";

/** The Markdown that people write about a model, edited where it stands. */
export function ModelCard({ model }: { model: string }) {
  const query = useQuery(cardQuery(model));
  const viewer = useQuery(me()).data;
  const [editing, setEditing] = useState<Card | null>(null);
  const mayWrite = viewer !== undefined && (viewer.admin || viewer.roles.includes("write"));
  return (
    <Panel
      title="Card"
      right={
        <>
          {query.data && <Edited card={query.data} />}
          {query.data && mayWrite && editing === null && (
            <button type="button" className="button" onClick={() => setEditing(query.data)}>
              Edit card
            </button>
          )}
        </>
      }
    >
      <Loaded query={query} what="the card" bars={4}>
        {(card) =>
          editing !== null ? (
            <Editor key={editing.digest} model={model} base={editing} there={card} onBase={setEditing} onDone={() => setEditing(null)} />
          ) : card.markdown.trim() === "" ? (
            <Empty>
              <p>Nobody has written what this model is for, what it was trained on, and where it fails.</p>
              {viewer !== undefined && !mayWrite && <p className="text-3">{viewer.user} may not: that needs the role write.</p>}
            </Empty>
          ) : (
            <div className="pad">
              <Markdown text={card.markdown} />
            </div>
          )
        }
      </Loaded>
    </Panel>
  );
}

function Edited({ card }: { card: Card }) {
  if (card.edited_at === null) return null;
  return (
    <span>
      edited by {card.edited_by} <Time at={card.edited_at} />
    </span>
  );
}

interface EditorProps {
  model: string;
  /** The card that is edited. */
  base: Card;
  /** The card that the server has now. */
  there: Card;
  onBase: (card: Card) => void;
  onDone: () => void;
}

function Editor({ model, base, there, onBase, onDone }: EditorProps) {
  const client = useQueryClient();
  const [text, setText] = useState(base.markdown);
  const [view, setView] = useState<"write" | "read">("write");
  const save = useMutation({
    mutationFn: (replaces: string) => put<Card>(`/models/${encodeURIComponent(model)}/card`, { markdown: text, replaces }),
    onSuccess: (written) => {
      client.setQueryData(cardQuery(model).queryKey, written);
      onDone();
    },
    // Whatever was refused, what is there now is worth knowing.
    onError: () => client.invalidateQueries({ queryKey: cardQuery(model).queryKey }),
  });
  const changed = there.digest !== base.digest;
  const conflict = save.error instanceof ApiError && save.error.status === 409;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    save.mutate(base.digest);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !changed) save.mutate(base.digest);
  };
  return (
    <form className="form pad" onSubmit={submit}>
      {changed && (
        <Changed
          there={there}
          mine={text}
          onReplace={() => save.mutate(there.digest)}
          onTake={() => onBase(there)}
        />
      )}
      {save.error && !conflict && <Failed what="the card as saved" error={save.error} />}
      <div className="row">
        <label className="medium grow" htmlFor="card">
          Card of {model}, in Markdown
        </label>
        <Segments label="View" value={view} onChange={setView} options={[{ value: "write", label: "Write" }, { value: "read", label: "Read" }]} />
      </div>
      {view === "write" ? (
        <textarea id="card" className="card-text mono" data-autofocus autoFocus spellCheck value={text} onChange={(event) => setText(event.target.value)} onKeyDown={onKeyDown} />
      ) : (
        <div className="card-read">
          <Markdown text={text} />
        </div>
      )}
      <div className="row">
        <span className="text-3 grow not-narrow">MLflow's clients show it as the description. Every change is in the ledger.</span>
        <button type="button" className="button" onClick={onDone}>
          Discard
        </button>
        <button type="submit" className="button primary" disabled={save.isPending || changed || text === base.markdown}>
          Save card
        </button>
      </div>
    </form>
  );
}

/** Somebody else wrote another card meanwhile: what differs, and whose stays. */
function Changed({ there, mine, onReplace, onTake }: { there: Card; mine: string; onReplace: () => void; onTake: () => void }) {
  return (
    <div className="card-changed" role="alert">
      <p>
        <b>{there.edited_by ?? "Somebody"} changed the card</b> {there.edited_at !== null && <Time at={there.edited_at} />}, since this text was opened. From theirs to yours:
      </p>
      <LineDiff label="From their card to yours" lines={lineDiff(there.markdown, mine)} />
      <div className="row wrap">
        <button type="button" className="button" onClick={onTake}>
          Take theirs, drop mine
        </button>
        <button type="button" className="button danger" onClick={onReplace}>
          Replace theirs with mine
        </button>
        <span className="text-3">or put both together below, then replace.</span>
      </div>
    </div>
  );
}
