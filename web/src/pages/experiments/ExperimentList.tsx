import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { experiments } from "../../api/queries";
import type { Experiment } from "../../api/types";
import { count } from "../../format/number";
import { ListPanel, type Column } from "../../parts/ListPanel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

const COLUMNS: Column<Experiment>[] = [
  {
    head: "Experiment",
    cell: (experiment) => (
      <Link data-row className="plain strong" href={links.experiment(experiment.id)}>
        {experiment.name}
      </Link>
    ),
  },
  { head: "Runs", className: "num", cell: (experiment) => count(experiment.runs) },
  {
    head: "Running",
    className: "num",
    cell: ({ running }) => (running > 0 ? <span className="tone-running">{count(running)}</span> : "–"),
  },
  { head: "Since", className: "text-2", cell: (experiment) => <Time at={experiment.created_at} /> },
];

export function ExperimentList() {
  usePage([{ text: "Experiments" }]);
  const query = useInfiniteQuery(experiments());
  return (
    <>
      <h1>Experiments</h1>
      <ListPanel
        title="Tracked"
        query={query}
        what="the experiments"
        empty={
          <p>
            No experiment yet. Any MLflow client writes here with <code>MLFLOW_TRACKING_URI</code> set to this server's address.
          </p>
        }
        keyOf={(experiment) => experiment.id}
        columns={COLUMNS}
      />
    </>
  );
}
