import type { StageItems as Items } from "../../api/types";
import { count, plural } from "../../format/number";
import { duration } from "../../format/time";
import { Table } from "../../parts/ListPanel";
import { Status, type State } from "../../parts/Status";

const STATES: Record<Items["items"][number]["status"], State> = {
  failed: { shape: "danger", word: "Failed" },
  not_run: { shape: "skipped", word: "Not run" },
  done: { shape: "success", word: "Done" },
  kept: { shape: "reused", word: "Kept" },
};

/** The items of an input that the stage worked on one by one: what failed first. */
export function StageItems({ of, running }: { of: Items; running: boolean }) {
  const unrun = of.total - of.done - of.kept - of.failed;
  const parts = [
    of.failed > 0 && `${count(of.failed)} failed`,
    `${count(of.done)} done`,
    of.retried > 0 && `${count(of.retried)} run more than once`,
    of.kept > 0 && `${count(of.kept)} kept from earlier runs`,
    unrun > 0 && `${count(unrun)} ${running ? "to go" : "not run"}`,
  ].filter(Boolean);
  return (
    <>
      <p className="pad small">
        {plural(of.total, "item")} in <code>{of.over}</code>: {parts.join(", ")}.
      </p>
      <Table
        dense
        items={of.items}
        keyOf={(item) => item.name}
        titleOf={(item) => item.error ?? undefined}
        columns={[
          { head: "Item", className: "mono", cell: (item) => item.name },
          { head: "Status", cell: (item) => <Status of={STATES[item.status]} /> },
          { head: "Runs", className: "num", cell: (item) => item.attempts || "" },
          { head: "Took", className: "num", cell: (item) => (item.attempts > 0 ? duration(item.seconds) : "") },
          { head: "Why", className: "text-2 cut rest", cell: (item) => item.error },
        ]}
      />
      {of.total > of.items.length && <p className="pad small text-3">The first {count(of.items.length)} are listed.</p>}
    </>
  );
}
