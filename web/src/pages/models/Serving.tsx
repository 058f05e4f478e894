import { Link } from "wouter";

import type { ModelVersion } from "../../api/types";
import { weight } from "../../format/number";
import { links } from "../../parts/links";

/** Which versions of a model answer, and where: "v7 in production, v8 answers 25 % of production". `plain` where its own page says it. */
export function Serving({ versions, plain }: { versions: ModelVersion[]; plain?: boolean }) {
  const live = versions.flatMap((version) => Object.entries(version.serving).map(([environment, share]) => ({ version, environment, share })));
  if (live.length === 0) return <span>serves nowhere</span>;
  return live.map(({ version, environment, share }) => (
    <span key={`${version.version} ${environment}`}>
      {plain ? `v${version.version}` : <Link href={links.version(version.model, version.version)}>v{version.version}</Link>}{" "}
      {share < 1 ? `answers ${weight(share)} of ` : "serves in "}
      {version.lineage ? <Link href={links.deployment(version.lineage.project, environment)}>{environment}</Link> : environment}
    </span>
  ));
}
