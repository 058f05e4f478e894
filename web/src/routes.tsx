import { useEffect, type ComponentType } from "react";
import { Route, Switch } from "wouter";

import { Empty } from "./parts/Loaded";
import { ahead } from "./parts/ahead";
import { Overview } from "./pages/overview/Overview";
import { usePage } from "./shell/page";

const loads: (() => Promise<unknown>)[] = [];

/** Every page but the first is loaded when it is opened, or before, when nothing else is to be done. */
const page = <T extends string>(load: () => Promise<Record<T, ComponentType>>, name: T) => {
  const { View, fetch } = ahead(async () => (await load())[name]);
  loads.push(fetch);
  return View;
};

/** How long after the start the other pages are fetched, so that opening one waits for its data only. */
const AHEAD_MS = 1_000;

const ProjectList = page(() => import("./pages/runs/ProjectList"), "ProjectList");
const RunList = page(() => import("./pages/runs/RunList"), "RunList");
const RunDetail = page(() => import("./pages/runs/RunDetail"), "RunDetail");
const ExperimentList = page(() => import("./pages/experiments/ExperimentList"), "ExperimentList");
const ExperimentDetail = page(() => import("./pages/experiments/ExperimentDetail"), "ExperimentDetail");
const TrackedRunDetail = page(() => import("./pages/experiments/TrackedRunDetail"), "TrackedRunDetail");
const Compare = page(() => import("./pages/experiments/Compare"), "Compare");
const ModelList = page(() => import("./pages/models/ModelList"), "ModelList");
const ModelDetail = page(() => import("./pages/models/ModelDetail"), "ModelDetail");
const VersionDetail = page(() => import("./pages/models/VersionDetail"), "VersionDetail");
const CompareVersions = page(() => import("./pages/models/CompareVersions"), "CompareVersions");
const ReleaseList = page(() => import("./pages/releases/ReleaseList"), "ReleaseList");
const ReleaseDetail = page(() => import("./pages/releases/ReleaseDetail"), "ReleaseDetail");
const RolloutDetail = page(() => import("./pages/deployments/RolloutDetail"), "RolloutDetail");
const DeploymentList = page(() => import("./pages/deployments/DeploymentList"), "DeploymentList");
const DeploymentDetail = page(() => import("./pages/deployments/DeploymentDetail"), "DeploymentDetail");
const Audit = page(() => import("./pages/audit/Audit"), "Audit");
const AuditEntry = page(() => import("./pages/audit/AuditEntry"), "AuditEntry");
const Trace = page(() => import("./pages/audit/Trace"), "Trace");
const Settings = page(() => import("./pages/settings/Settings"), "Settings");

export function Pages() {
  useEffect(() => {
    const timer = setTimeout(() => loads.forEach((load) => void load()), AHEAD_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <Switch>
      <Route path="/" component={Overview} />
      <Route path="/p" component={ProjectList} />
      <Route path="/p/:project" component={RunList} />
      <Route path="/p/:project/runs/:n" component={RunDetail} />
      <Route path="/experiments" component={ExperimentList} />
      <Route path="/experiments/:experiment" component={ExperimentDetail} />
      <Route path="/experiments/:experiment/runs/:run" component={TrackedRunDetail} />
      <Route path="/compare" component={Compare} />
      <Route path="/versions" component={CompareVersions} />
      <Route path="/models" component={ModelList} />
      <Route path="/models/:model" component={ModelDetail} />
      <Route path="/models/:model/:version" component={VersionDetail} />
      <Route path="/releases" component={ReleaseList} />
      <Route path="/releases/:id" component={ReleaseDetail} />
      <Route path="/releases/:id/rollout" component={RolloutDetail} />
      <Route path="/deployments" component={DeploymentList} />
      <Route path="/deployments/:project/:environment" component={DeploymentDetail} />
      <Route path="/audit" component={Audit} />
      <Route path="/audit/:seq" component={AuditEntry} />
      <Route path="/trace" component={Trace} />
      <Route path="/settings" component={Settings} />
      <Route component={NotFound} />
    </Switch>
  );
}

function NotFound() {
  usePage([{ text: "Not found" }]);
  return (
    <Empty>
      <h1>There is no page at this address.</h1>
      <p>Ctrl K finds projects, runs, models and releases by name, version or hash.</p>
    </Empty>
  );
}
