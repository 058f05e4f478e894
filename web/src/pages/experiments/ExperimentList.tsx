import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { experiments } from "../../api/queries";
import { count } from "../../format/number";
import { LoadedList } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

export function ExperimentList() {
  usePage([{ text: "Experiments" }]);
  const query = useInfiniteQuery(experiments());
  return (
    <>
      <h1>Experiments</h1>
      <Panel title="Tracked" right={query.data && count(query.data.pages[0]?.total)}>
        <LoadedList
          query={query}
          what="the experiments"
          empty={
            <p>
              No experiment yet. Any MLflow client writes here with <code>MLFLOW_TRACKING_URI</code> set to this server's address.
            </p>
          }
        >
          {(items) => (
            <div className="scroll">
              <table>
                <thead>
                  <tr>
                    <th>Experiment</th>
                    <th className="num">Runs</th>
                    <th className="num">Running</th>
                    <th>Since</th>
                  </tr>
                </thead>
                <tbody>
                  {items.map((experiment) => (
                    <tr key={experiment.id}>
                      <td>
                        <Link data-row className="plain strong" href={links.experiment(experiment.id)}>
                          {experiment.name}
                        </Link>
                      </td>
                      <td className="num">{count(experiment.runs)}</td>
                      <td className="num">{experiment.running > 0 ? <span className="tone-running">{count(experiment.running)}</span> : "–"}</td>
                      <td className="text-2">
                        <Time at={experiment.created_at} />
                      </td>
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
