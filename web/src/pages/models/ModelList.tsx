import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { models } from "../../api/queries";
import type { Model } from "../../api/types";
import { count, weight } from "../../format/number";
import { ListPanel, type Column } from "../../parts/ListPanel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

const COLUMNS: Column<Model>[] = [
  {
    head: "Model",
    cell: (model) => (
      <Link data-row className="plain strong" href={links.model(model.name)}>
        {model.name}
      </Link>
    ),
  },
  { head: "About", className: "text-3 cut rest not-narrow", cell: (model) => firstWords(model.description) },
  { head: "Versions", className: "num not-narrow", cell: (model) => count(model.versions.length) },
  { head: "Newest", cell: (model) => <Newest version={model.versions[0]} /> },
  { head: "Serves in", cell: (model) => <Live model={model} /> },
  {
    head: "Aliases",
    className: "not-narrow",
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
  { head: "Last change", className: "text-2", cell: (model) => <Time at={model.updated_at} /> },
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

/** A share is said only where another version has the rest. */
function Live({ model }: { model: Model }) {
  return (
    <span className="row">
      {model.versions.flatMap((version) =>
        Object.entries(version.serving).map(([environment, share]) => (
          <Link className="tag" key={`${version.version} ${environment}`} href={links.version(model.name, version.version)}>
            v{version.version} {environment} {share < 1 && weight(share)}
          </Link>
        )),
      )}
    </span>
  );
}

/** Of a card in Markdown: its first line that is not a heading, without the signs of Markdown. */
function firstWords(card: string | null): string {
  const line = (card ?? "").split("\n").find((each) => /^[^#\s\-|<]/.test(each)) ?? "";
  return line.replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[*`]/g, "").slice(0, 200);
}

function Newest({ version }: { version: Model["versions"][number] | undefined }) {
  if (!version) return "–";
  return (
    <>
      v{version.version}{" "}
      <span className="text-3 not-narrow">
        <Time at={version.created_at} />
      </span>
    </>
  );
}
