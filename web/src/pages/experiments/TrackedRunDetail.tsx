import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "wouter";

import { experiments, trackedRun } from "../../api/queries";
import type { TrackedRun } from "../../api/types";
import { metric } from "../../format/number";
import { duration, secondsBetween } from "../../format/time";
import { Hash } from "../../parts/Hash";
import { Empty, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Status, trackedState } from "../../parts/Status";
import { Time, useNow } from "../../parts/Time";
import { VersionTags } from "../../parts/VersionTags";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";
import { SeriesPanel } from "./SeriesPanel";
import "./experiment.css";

/** A chart for each metric that was logged more than once; beyond this many the table is enough. */
const MOST_CHARTS = 9;

/** One tracked run: summary, series, params. */
export function TrackedRunDetail() {
  const { experiment = "", run: id = "" } = useParams<{ experiment: string; run: string }>();
  const query = useQuery(trackedRun(id));
  const name = useInfiniteQuery(experiments()).data?.pages.flatMap((page) => page.items).find((each) => each.id === experiment)?.name;
  usePage([{ text: "Experiments", href: "/experiments" }, { text: name ?? experiment, href: links.experiment(experiment) }, { text: query.data?.name ?? id.slice(0, 8) }]);
  return (
    <Loaded query={query} what={`run ${id}`} bars={8}>
      {(run) => <Contents run={run} experiment={experiment} />}
    </Loaded>
  );
}

function Contents({ run, experiment }: { run: TrackedRun; experiment: string }) {
  const now = useNow();
  const [project, number] = run.pipeline_run?.split("/") ?? [];
  const series = Object.entries(run.metrics).filter(([, { step }]) => step > 0).slice(0, MOST_CHARTS);
  const charted = new Map([[run.run_id, 0]]);
  return (
    <>
      <div className="head">
        <div>
          <h1>
            {run.name} <Status of={trackedState(run.status)} pill />
          </h1>
          <div className="meta">
            {run.started_at !== null && (
              <span>
                started <Time at={run.started_at} />, {run.finished_at === null ? "so far " : "took "}
                {duration(secondsBetween(run.started_at, run.finished_at ?? now))}
              </span>
            )}
            {run.commit && (
              <span>
                commit <Hash hash={run.commit} />
              </span>
            )}
            {project && number && (
              <span>
                from{" "}
                <Link href={run.stage ? links.stage(project, Number(number), run.stage) : links.run(project, Number(number))}>
                  run {number}
                  {run.stage && `, stage ${run.stage}`}
                </Link>
              </span>
            )}
            <VersionTags of={run.model_versions} />
          </div>
        </div>
      </div>
      {series.length > 0 && (
        <div className="columns three">
          {series.map(([name]) => (
            <SeriesPanel key={name} experiment={experiment} runs={[run]} charted={charted} name={name} />
          ))}
        </div>
      )}
      <div className="columns two">
        <Values title="Metrics" none="No metric was logged." values={Object.entries(run.metrics).map(([name, { value, step }]) => [name, metric(value), step > 0 ? `step ${step}` : ""])} />
        <Values title="Params" none="No parameter was logged." values={Object.entries(run.params).map(([name, value]) => [name, value, ""])} />
      </div>
      <Values title="Tags" none="No tag was set." values={Object.entries(run.tags).map(([name, value]) => [name, value, ""])} />
    </>
  );
}

function Values({ title, values, none }: { title: string; values: [string, string, string][]; none: string }) {
  return (
    <Panel title={title} right={values.length}>
      {values.length === 0 ? (
        <Empty>{none}</Empty>
      ) : (
        <table className="dense values">
          <tbody>
            {values.map(([name, value, beside]) => (
              <tr key={name}>
                <td className="medium">{name}</td>
                <td className="num cut" title={value}>
                  {value}
                </td>
                {beside !== "" && <td className="text-3 num">{beside}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}
