import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { models } from "../../api/queries";
import type { Model } from "../../api/types";
import { ListPanel, type Column } from "../../parts/ListPanel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

const COLUMNS: Column<Model>[] = [
  {
    head: "Model",
    cell: (model) => (
      <>
        <Link data-row className="plain strong" href={links.model(model.name)}>
          {model.name}
        </Link>{" "}
        <span className="text-2 not-narrow">{model.description}</span>
      </>
    ),
  },
  { head: "Newest version", cell: (model) => <Newest version={model.versions[0]} /> },
  {
    head: "Aliases",
    cell: (model) => (
      <span className="row">
        {Object.entries(model.aliases).map(([alias, version]) => (
          <span className="tag" key={alias}>
            {alias} v{version}
          </span>
        ))}
      </span>
    ),
  },
];

export function ModelList() {
  usePage([{ text: "Models" }]);
  const query = useInfiniteQuery(models());
  return (
    <>
      <h1>Models</h1>
      <ListPanel
        title="Registered models"
        query={query}
        what="the models"
        empty={
          <p>
            No model yet. A run that succeeds registers the output that <code>towpath.yaml</code> names under <code>model</code>.
          </p>
        }
        keyOf={(model) => model.name}
        columns={COLUMNS}
      />
    </>
  );
}

function Newest({ version }: { version: Model["versions"][number] | undefined }) {
  if (!version) return "–";
  return (
    <>
      v{version.version}{" "}
      <span className="text-3">
        <Time at={version.created_at} />
      </span>
    </>
  );
}
