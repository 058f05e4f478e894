/**
 * What the page asks the server. The first words of a query key are the ones the server names in
 * its events; parameters of a list stand last, as an object (see `live.ts`).
 */
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";

import { get, search } from "./client";
import type {
  Backfill,
  Card,
  Deployment,
  Experiment,
  Facts,
  Grid,
  LedgerEntry,
  LogPage,
  Me,
  MetricSeries,
  Model,
  ModelVersion,
  Overview,
  Page,
  Project,
  Release,
  ReleaseSummary,
  Rollout,
  Run,
  RunSummary,
  Schedule,
  StageOrigins,
  Token,
  Trace,
  TrackedRun,
  User,
  Verified,
  VersionComparison,
  VersionRef,
} from "./types";

type Params = Record<string, string | undefined>;

const path = (...segments: (string | number)[]) => segments.map((segment) => `/${encodeURIComponent(segment)}`).join("");

/** A list that is fetched page after page. */
function list<T>(key: (string | number)[], url: string, params: Params = {}) {
  return infiniteQueryOptions({
    queryKey: [...key, params],
    queryFn: ({ pageParam, signal }) => get<Page<T>>(url + search({ ...params, cursor: pageParam }), signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next,
  });
}

/** A list that is short enough to come as one answer. */
function whole<T>(key: (string | number)[], url: string) {
  return infiniteQueryOptions({
    queryKey: [...key, {}],
    queryFn: async ({ signal }): Promise<Page<T>> => {
      const items = await get<T[]>(url, signal);
      return { items, total: items.length };
    },
    initialPageParam: undefined as string | undefined,
    getNextPageParam: () => undefined,
  });
}

function one<T>(key: (string | number)[], url: string) {
  return queryOptions({ queryKey: key, queryFn: ({ signal }) => get<T>(url, signal) });
}

export const me = () => one<Me>(["me"], "/me");
export const users = () => whole<User>(["users"], "/users");
export const tokens = () => whole<Token>(["tokens"], "/tokens");

/** It shows something of everything, and has no event of its own. */
export const overview = () => ({
  ...one<Overview>(["overview"], "/overview"),
  meta: { follows: [["projects"], ["runs"], ["releases"], ["deployments"], ["ledger"]] },
});
export const projects = () => whole<Project>(["projects"], "/projects");

export const runs = (project: string) => list<RunSummary>(["runs", project], `${path("projects", project)}/runs`);
export const run = (project: string, number: number) => one<Run>(["runs", project, number], path("projects", project, "runs", number));
/** It changes with every run. */
export const grid = (project: string) => ({
  ...one<Grid>(["grid", project], `${path("projects", project)}/grid`),
  meta: { follows: [["runs", project]] },
});
export const schedules = (project: string) => one<Schedule[]>(["schedules", project], `${path("projects", project)}/schedules`);
/** Its planned times change with their runs. */
export const backfills = (project: string) => ({
  ...one<Backfill[]>(["backfills", project], `${path("projects", project)}/backfills`),
  meta: { follows: [["schedules", project], ["runs", project]] },
});
/** Stays as it is: a run has one commit, and a stage is decided once. So no event of the run asks again. */
export const stageOrigins = (project: string, number: number, stage: string) =>
  queryOptions({
    ...one<StageOrigins>(["origins", project, number, stage], `${path("projects", project, "runs", number, "stages", stage)}/origins`),
    staleTime: Infinity,
  });
/** A stage's log from line `from` on (counted from 0). */
export const stageLog = (project: string, number: number, stage: string, from: number, signal?: AbortSignal) =>
  get<LogPage>(path("projects", project, "runs", number, "stages", stage) + `/log${search({ from })}`, signal);

export const experiments = () => whole<Experiment>(["experiments"], "/experiments");
export const trackedRuns = (experiment: string, filter: string, orderBy: string) =>
  list<TrackedRun>(["experiments", experiment, "runs"], `${path("experiments", experiment)}/runs`, { filter, order_by: orderBy });
export const trackedRun = (id: string) => one<TrackedRun>(["tracking", id], path("tracking", "runs", id));
/** What a chart draws of a metric, at most so many points a run; `from` and `to` are steps or times. */
export const metricSeries = (experiment: string, runIds: string[], key: string, view: { axis: "step" | "time"; points: number; from?: number; to?: number }) => {
  const runs = runIds.join(",");
  return queryOptions({
    queryKey: ["experiments", experiment, "series", key, runs, view],
    queryFn: ({ signal }) => get<MetricSeries[]>(`/tracking/metrics${search({ runs, key, ...view })}`, signal),
  });
};

export const models = () => list<Model>(["models"], "/models");
export const model = (name: string) => one<Model>(["models", name], path("models", name));
export const modelVersion = (name: string, version: number) =>
  one<ModelVersion>(["models", name, version], path("models", name, "versions", version));

export const card = (name: string) => one<Card>(["models", name, "card"], path("models", name, "card"));
export const facts = (name: string, version: number) =>
  one<Facts>(["models", name, version, "facts"], path("models", name, "versions", version, "facts"));
/** Changes with both. */
export const versionComparison = (a: VersionRef, b: VersionRef) => ({
  ...one<VersionComparison>(
    ["models", a.model, a.version, "compare", b.model, b.version],
    path("models", a.model, "versions", a.version, "compare") + search({ with: `${b.model}/${b.version}`, all: "true" }),
  ),
  meta: { follows: [["models", b.model, b.version]] },
});

export const releases = (params: { project?: string; environment?: string; state?: string; model?: string; version?: string } = {}) =>
  list<ReleaseSummary>(["releases"], "/releases", params);
export const release = (id: number) => one<Release>(["releases", id], path("releases", id));
/** Of the release with this id. Its evidence moves on between the judge's decisions. */
export const rollout = (id: number) => ({
  ...one<Rollout>(["rollouts", id], path("releases", id, "rollout")),
  meta: { follows: [["releases", id], ["rollout_evidence", id]] },
});

export const deployments = () => whole<Deployment>(["deployments"], "/deployments");
export const deployment = (project: string, environment: string) =>
  one<Deployment>(["deployments", project, environment], path("deployments", project, environment));

export const ledger = (params: { about?: string; kind?: string; before?: string } = {}) => list<LedgerEntry>(["ledger"], "/ledger", params);
export const ledgerEntry = (seq: number) => one<LedgerEntry>(["ledger", seq], path("ledger", seq));
/** Recomputes the whole chain: asked for once a visit, then only by a person. */
export const verified = () => queryOptions({ ...one<Verified>(["audit", "verify"], "/audit/verify"), staleTime: Infinity });

export const trace = (of: string) => one<Trace>(["trace", of], `/trace${search({ of })}`);
