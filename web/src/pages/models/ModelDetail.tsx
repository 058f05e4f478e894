import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "wouter";

import { model as modelQuery } from "../../api/queries";
import type { Model } from "../../api/types";
import { count, metric, weight } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { Empty, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

/** Versions, aliases, and where they serve. */
export function ModelDetail() {
  const { model = "" } = useParams<{ model: string }>();
  usePage([{ text: "Models", href: "/models" }, { text: model }]);
  const query = useQuery(modelQuery(model));
  return (
    <>
      <div className="head">
        <div>
          <h1>{model}</h1>
          {query.data?.description && <div className="meta">{query.data.description}</div>}
        </div>
      </div>
      <Loaded query={query} what={`model ${model}`} bars={6}>
        {(data) => <Versions model={data} />}
      </Loaded>
    </>
  );
}

const COLUMNS = 4;

function Versions({ model }: { model: Model }) {
  const metrics = [...new Set(model.versions.flatMap((version) => Object.keys(version.metrics)))].slice(0, COLUMNS);
  return (
    <Panel title="Versions" right={count(model.versions.length)}>
      {model.versions.length === 0 ? (
        <Empty>No version is registered yet.</Empty>
      ) : (
        <div className="scroll">
          <table>
            <thead>
              <tr>
                <th>Version</th>
                <th>Serves in</th>
                <th className="not-narrow">Aliases</th>
                {metrics.map((name) => (
                  <th key={name} className="num not-narrow">
                    {name}
                  </th>
                ))}
                <th className="not-narrow">Commit</th>
                <th className="not-narrow">From</th>
                <th>Registered</th>
              </tr>
            </thead>
            <tbody>
              {model.versions.map((version) => (
                <tr key={version.version}>
                  <td>
                    <Link data-row className="plain strong" href={links.version(model.name, version.version)}>
                      v{version.version}
                    </Link>
                  </td>
                  <td>
                    <span className="row">
                      {Object.entries(version.serving).map(([environment, share]) => (
                        <span className="tag" key={environment}>
                          {environment} {weight(share)}
                        </span>
                      ))}
                    </span>
                  </td>
                  <td className="not-narrow text-2">{version.aliases.join(", ")}</td>
                  {metrics.map((name) => (
                    <td key={name} className="num not-narrow">
                      {metric(version.metrics[name])}
                    </td>
                  ))}
                  <td className="not-narrow">{version.lineage && <Hash hash={version.lineage.commit} />}</td>
                  <td className="not-narrow">{version.lineage && <Link href={links.run(version.lineage.project, version.lineage.run)}>run {version.lineage.run}</Link>}</td>
                  <td className="text-2">
                    <Time at={version.created_at} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
