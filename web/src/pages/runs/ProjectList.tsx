import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { projects } from "../../api/queries";
import type { Project } from "../../api/types";
import { count } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { ListPanel, type Column } from "../../parts/ListPanel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

const COLUMNS: Column<Project>[] = [
  {
    head: "Project",
    cell: (project) => (
      <Link data-row className="plain strong" href={links.project(project.name)}>
        {project.name}
      </Link>
    ),
  },
  {
    head: "Newest commit",
    cell: ({ head }) =>
      head && (
        <span className="row">
          <Hash hash={head.id} />
          <span className="cut not-narrow">{head.subject}</span>
          <span className="text-3">
            <Time at={head.at} />
          </span>
        </span>
      ),
  },
  { head: "Branch", className: "not-narrow", cell: (project) => project.default_branch ?? "–" },
  { head: "Runs", className: "num", cell: (project) => count(project.runs) },
  { head: "Git remote", className: "mono text-2 not-narrow", cell: (project) => project.git_url },
];

/** Which repositories there are, and what came last. */
export function ProjectList() {
  usePage([{ text: "Pipelines" }]);
  const query = useInfiniteQuery(projects());
  return (
    <>
      <h1>Pipelines</h1>
      <ListPanel
        title="Projects"
        query={query}
        what="the projects"
        empty={
          <p>
            A project is made by its first push: <code>git push http://…/git/NAME.git main</code>
          </p>
        }
        keyOf={(project) => project.name}
        columns={COLUMNS}
      />
    </>
  );
}
