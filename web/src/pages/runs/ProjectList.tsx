import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { projects } from "../../api/queries";
import { count } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { LoadedList } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";

/** Which repositories there are, and what came last. */
export function ProjectList() {
  usePage([{ text: "Pipelines" }]);
  const query = useInfiniteQuery(projects());
  return (
    <>
      <h1>Pipelines</h1>
      <Panel title="Projects" right={query.data && count(query.data.pages[0]?.total)}>
        <LoadedList
          query={query}
          what="the projects"
          empty={
            <p>
              A project is made by its first push: <code>git push http://…/git/NAME.git main</code>
            </p>
          }
        >
          {(items) => (
            <div className="scroll">
              <table>
                <thead>
                  <tr>
                    <th>Project</th>
                    <th>Newest commit</th>
                    <th className="not-narrow">Branch</th>
                    <th className="num">Runs</th>
                    <th className="not-narrow">Git remote</th>
                  </tr>
                </thead>
                <tbody>
                  {items.map((project) => (
                    <tr key={project.name}>
                      <td>
                        <Link data-row className="plain strong" href={links.project(project.name)}>
                          {project.name}
                        </Link>
                      </td>
                      <td>
                        {project.head && (
                          <span className="row">
                            <Hash hash={project.head.id} />
                            <span className="cut not-narrow">{project.head.subject}</span>
                            <span className="text-3">
                              <Time at={project.head.at} />
                            </span>
                          </span>
                        )}
                      </td>
                      <td className="not-narrow">{project.default_branch ?? "–"}</td>
                      <td className="num">{count(project.runs)}</td>
                      <td className="mono text-2 not-narrow">{project.git_url}</td>
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
