import { useMemo, useState } from "react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useParams } from "wouter";

import { ApiError } from "../../api/client";
import { experiments, trackedRuns } from "../../api/queries";
import { plural } from "../../format/number";
import { Icon } from "../../parts/Icon";
import { Bars, Empty, Failed } from "../../parts/Loaded";
import { useSearchParam } from "../../parts/useSearchParam";
import { usePage } from "../../shell/page";
import { Charts } from "./Charts";
import { Columns } from "./Columns";
import { RunsTable } from "./RunsTable";
import { useCharted } from "./charted";
import { chosenColumns, columnsOf } from "./columns";
import "./experiment.css";

/** Which run is best? */
export function ExperimentDetail() {
  const { experiment = "" } = useParams<{ experiment: string }>();
  const named = useInfiniteQuery(experiments()).data?.pages.flatMap((page) => page.items).find((each) => each.id === experiment);
  const name = named?.name ?? experiment;
  usePage([{ text: "Experiments", href: "/experiments" }, { text: name }]);

  const [filter, setFilter] = useSearchParam("filter");
  const [sort, setSort] = useSearchParam("sort");
  const [columnText, setColumns] = useSearchParam("columns");
  const [differing, setDiffering] = useSearchParam("differing");
  const query = useInfiniteQuery(trackedRuns(experiment, filter ?? "", sort ?? ""));
  const runs = useMemo(() => query.data?.pages.flatMap((page) => page.items) ?? [], [query.data]);
  const total = query.data?.pages[0]?.total ?? runs.length;
  const { charted, toggle } = useCharted(runs);
  const all = useMemo(() => columnsOf(runs), [runs]);
  const columns = chosenColumns(all, columnText).filter((column) => differing === null || column.kind !== "param" || column.differs);
  const running = runs.filter((run) => run.status === "RUNNING").length;

  return (
    <>
      <div className="head centred">
        <h1>{name}</h1>
        <span className="text-3 small">
          {plural(total, "run")}
          {running > 0 && `, ${running} running`}
        </span>
        <div className="actions">
          <button type="button" className="button" aria-pressed={differing !== null} onClick={() => setDiffering(differing === null ? "1" : null)}>
            Only differences
          </button>
          {charted.size >= 2 && (
            <Link className="button primary" data-key="c" href={`/compare?runs=${[...charted.keys()].map(encodeURIComponent).join(",")}`}>
              Compare {plural(charted.size, "run")} <kbd>C</kbd>
            </Link>
          )}
        </div>
      </div>
      <div className="row filter-row">
        <Filter value={filter ?? ""} onChange={setFilter} error={query.error} />
        <Columns all={all} chosen={columns} onChange={setColumns} />
      </div>
      {query.error && !isFilterError(query.error) && <Failed what="the runs" error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <Bars count={10} what="the runs" />}
      {query.data &&
        (runs.length === 0 ? (
          <Empty>{filter ? "No run matches the filter." : "No run yet. A stage's mlflow calls land here by themselves."}</Empty>
        ) : (
          <>
            <Charts experiment={experiment} runs={runs} charted={charted} columns={columns} />
            <RunsTable query={query} runs={runs} total={total} columns={columns} charted={charted} onToggle={toggle} sort={sort} onSort={setSort} />
          </>
        ))}
    </>
  );
}

const isFilterError = (error: Error) => error instanceof ApiError && error.status === 400;

/** Sent to the server as it is written: the grammar is MLflow's search. */
function Filter({ value, onChange, error }: { value: string; onChange: (value: string) => void; error: Error | null }) {
  const [text, setText] = useState(value);
  const wrong = error && isFilterError(error) ? error : null;
  return (
    <form
      className="grow"
      onSubmit={(event) => {
        event.preventDefault();
        onChange(text.trim());
      }}
    >
      <label className="field">
        <Icon name="find" />
        <span className="visually-hidden">Filter</span>
        <input
          data-filter
          className="mono"
          spellCheck={false}
          autoComplete="off"
          placeholder={'metrics.accuracy > 0.93 and params.model = "mlp"'}
          aria-invalid={wrong !== null}
          aria-describedby={wrong ? "filter-error" : undefined}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onBlur={() => text.trim() !== value && onChange(text.trim())}
        />
      </label>
      {wrong && (
        <p id="filter-error" className="small bad filter-error" role="alert">
          {wrong.message}
        </p>
      )}
    </form>
  );
}

