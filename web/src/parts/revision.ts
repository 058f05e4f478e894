import type { Deployment, Revision } from "../api/types";

/** The model version in a revision's id, `<model>-v<version>-r<release>`. */
export function revisionVersion(id: string): number | null {
  const found = /-v(\d+)-r\d+$/.exec(id);
  return found ? Number(found[1]) : null;
}

export function revisionRelease(id: string): number | null {
  const found = /-r(\d+)$/.exec(id);
  return found ? Number(found[1]) : null;
}

/** `v8`, or the whole id where it has another form. */
export function revisionName(id: string): string {
  const version = revisionVersion(id);
  return version === null ? id : `v${version}`;
}

export type Arm = "stable" | "candidate";

/** Which part a revision plays: the candidate belongs to the release that is rolling out. */
export function armOf(deployment: Deployment, revision: Revision): Arm {
  return deployment.rolling_out !== null && revisionRelease(revision.id) === deployment.rolling_out ? "candidate" : "stable";
}

/** Revisions that get traffic, the one that serves first. */
export function sharing(deployment: Deployment): { revision: Revision; arm: Arm }[] {
  return deployment.revisions
    .map((revision) => ({ revision, arm: armOf(deployment, revision) }))
    .filter(({ revision }) => revision.weight > 0)
    .sort((a, b) => Number(a.arm === "candidate") - Number(b.arm === "candidate"));
}
