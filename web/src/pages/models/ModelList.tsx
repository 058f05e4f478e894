import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { models } from "../../api/queries";
import { count } from "../../format/number";
import { LoadedList } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

export function ModelList() {
  usePage([{ text: "Models" }]);
  const query = useInfiniteQuery(models());
  return (
    <>
      <h1>Models</h1>
      <Panel title="Registered models" right={query.data && count(query.data.pages[0]?.total)}>
        <LoadedList
          query={query}
          what="the models"
          empty={
            <p>
              No model yet. A run that succeeds registers the output that <code>towpath.yaml</code> names under <code>model</code>.
            </p>
          }
        >
          {(items) => (
            <div className="scroll">
              <table>
                <thead>
                  <tr>
                    <th>Model</th>
                    <th>Newest version</th>
                    <th>Aliases</th>
                    {items.some((model) => model.description) && <th className="not-narrow">Description</th>}
                  </tr>
                </thead>
                <tbody>
                  {items.map((model) => (
                    <tr key={model.name}>
                      <td>
                        <Link data-row className="plain strong" href={links.model(model.name)}>
                          {model.name}
                        </Link>
                      </td>
                      <td>
                        {model.versions[0] ? (
                          <>
                            v{model.versions[0].version}{" "}
                            <span className="text-3">
                              <Time at={model.versions[0].created_at} />
                            </span>
                          </>
                        ) : (
                          "–"
                        )}
                      </td>
                      <td>
                        <span className="row">
                          {Object.entries(model.aliases).map(([alias, version]) => (
                            <span className="tag" key={alias}>
                              {alias} v{version}
                            </span>
                          ))}
                        </span>
                      </td>
                      {items.some((each) => each.description) && <td className="text-2 not-narrow">{model.description}</td>}
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </LoadedList>
      </Panel>
    </>
  );
}
