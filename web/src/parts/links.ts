import type { VersionRef } from "../api/types";

/** The page's addresses, in one place. */
const enc = encodeURIComponent;

export const links = {
  project: (project: string) => `/p/${enc(project)}`,
  run: (project: string, number: number) => `/p/${enc(project)}/runs/${number}`,
  stage: (project: string, number: number, stage: string) => `/p/${enc(project)}/runs/${number}?stage=${enc(stage)}`,
  experiment: (id: string) => `/experiments/${enc(id)}`,
  trackedRun: (experiment: string, id: string) => `/experiments/${enc(experiment)}/runs/${enc(id)}`,
  model: (name: string) => `/models/${enc(name)}`,
  version: (name: string, version: number) => `/models/${enc(name)}/${version}`,
  compareVersions: (a: VersionRef, b: VersionRef) => `/versions?a=${enc(a.model)}/${a.version}&b=${enc(b.model)}/${b.version}`,
  release: (id: number) => `/releases/${id}`,
  rollout: (release: number) => `/releases/${release}/rollout`,
  deployment: (project: string, environment: string) => `/deployments/${enc(project)}/${enc(environment)}`,
  trace: (of: string) => `/trace?of=${enc(of)}`,
  ledgerEntry: (seq: number) => `/audit/${seq}`,
};

/** Where a thing named in the ledger is shown, and how people call it. */
export function ledgerSubject(about: string): { text: string; href: string | null } {
  const [noun, first, second] = about.split("/");
  if (noun === "run" && first && second) return { text: `run ${first}/${second}`, href: links.run(first, Number(second)) };
  if (noun === "release" && first) return { text: `release ${first}`, href: links.release(Number(first)) };
  if (noun === "model" && first && second) return { text: `${first} v${second}`, href: links.version(first, Number(second)) };
  if (noun === "model" && first) return { text: first, href: links.model(first) };
  if (noun === "deployment" && first && second) return { text: `${first}/${second}`, href: links.deployment(first, second) };
  if (noun === "project" && first) return { text: `project ${first}`, href: links.project(first) };
  return { text: about, href: null };
}
