import { useQuery, useInfiniteQuery } from "@tanstack/react-query";
import { Link, useLocation } from "wouter";

import { overview, projects, verified } from "../api/queries";
import type { Overview } from "../api/types";
import { count } from "../format/number";
import { Hash } from "../parts/Hash";
import { Icon, Mark, type IconName } from "../parts/Icon";
import { links } from "../parts/links";
import { StatusShape } from "../parts/Status";
import { Time } from "../parts/Time";

interface Entry {
  word: string;
  href: string;
  icon: IconName;
  /** First path segments that belong to it. */
  under: string[];
  count?: (counts: Overview["counts"]) => number;
  /** The count waits for the viewer. */
  yours?: boolean;
}

/** In the order a model travels. */
const GROUPS: Entry[][] = [
  [{ word: "Overview", href: "/", icon: "overview", under: [""] }],
  [
    { word: "Pipelines", href: "/p", icon: "pipelines", under: ["p"], count: (counts) => counts.runs },
    { word: "Experiments", href: "/experiments", icon: "experiments", under: ["experiments", "compare"] },
    { word: "Models", href: "/models", icon: "models", under: ["models", "versions"] },
  ],
  [
    { word: "Releases", href: "/releases", icon: "releases", under: ["releases"], count: (counts) => counts.releases_waiting, yours: true },
    { word: "Deployments", href: "/deployments", icon: "deployments", under: ["deployments"], count: (counts) => counts.rollouts },
  ],
  [
    { word: "Audit", href: "/audit", icon: "audit", under: ["audit", "trace"] },
    { word: "Settings", href: "/settings", icon: "settings", under: ["settings"] },
  ],
];

export function Navigation({ project, open }: { project?: string; open: boolean }) {
  const [location] = useLocation();
  const { data } = useQuery(overview());
  const segment = location.split("/")[1] ?? "";
  // A rollout has its address below its release, but its place is with what serves.
  const here = location.endsWith("/rollout") ? "deployments" : segment;
  return (
    <nav className={open ? "nav open" : "nav"} aria-label="Main">
      <Link className="brand" href="/">
        <Mark />
        <span className="word">Towpath</span>
      </Link>
      <ProjectSwitch project={project} />
      <ul>
        {GROUPS.flatMap((group, index) =>
          group.map((entry, place) => {
            const unfinished = data && entry.count ? entry.count(data.counts) : 0;
            return (
              <li key={entry.href} className={index > 0 && place === 0 ? "first" : undefined}>
                <Link href={entry.href} aria-current={entry.under.includes(here) ? "page" : undefined}>
                  <Icon name={entry.icon} />
                  <span className="word">{entry.word}</span>
                  {unfinished > 0 && (
                    <span className={entry.yours ? "count yours" : "count"}>
                      {count(unfinished)}
                      <span className="visually-hidden">{entry.yours ? " wait for approval" : " unfinished"}</span>
                    </span>
                  )}
                </Link>
              </li>
            );
          }),
        )}
      </ul>
      <LedgerFoot head={data?.ledger[0]} />
    </nav>
  );
}

function ProjectSwitch({ project }: { project?: string }) {
  const [, navigate] = useLocation();
  const { data } = useInfiniteQuery(projects());
  const names = data?.pages.flatMap((page) => page.items.map((item) => item.name)) ?? [];
  if (project && !names.includes(project)) names.push(project);
  return (
    <div className="switch">
      <select aria-label="Project" value={project ?? ""} onChange={(event) => navigate(event.target.value ? links.project(event.target.value) : "/")}>
        <option value="">All projects</option>
        {names.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
      <Icon name="choose" />
    </div>
  );
}

/** Length and head of the ledger, and when its chain was last recomputed. */
function LedgerFoot({ head }: { head?: Overview["ledger"][number] }) {
  const { data } = useQuery(verified());
  const entries = Math.max(head?.seq ?? 0, data?.entries ?? 0);
  return (
    <footer>
      {data && (
        <span className="row">
          <StatusShape shape={data.intact ? "success" : "danger"} coloured />
          <span className={data.intact ? undefined : "bad"}>
            {data.intact ? "Ledger verified " : `Ledger broken at ${data.broken_at} `}
            <Time at={data.at} as="clock" />
          </span>
        </span>
      )}
      {head && (
        <span className="row">
          {count(entries)} {entries === 1 ? "entry" : "entries"} <Hash hash={head.hash} />
        </span>
      )}
    </footer>
  );
}
