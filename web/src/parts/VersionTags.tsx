import { Link } from "wouter";

import type { VersionRef } from "../api/types";
import { links } from "./links";

/** Versions of models that something made, each a link. */
export function VersionTags({ of }: { of: VersionRef[] }) {
  return of.map(({ model, version }) => (
    <Link className="tag" key={`${model} ${version}`} href={links.version(model, version)}>
      {model} v{version}
    </Link>
  ));
}
