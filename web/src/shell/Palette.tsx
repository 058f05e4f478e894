import { useMemo, useState, type KeyboardEvent } from "react";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useLocation } from "wouter";

import { deployments, models, overview, releases } from "../api/queries";
import { Dialog } from "../parts/Dialog";
import { links } from "../parts/links";

interface Target {
  text: string;
  kind: string;
  href: string;
  /** Hashes and other names it is found by. */
  also?: string;
}

const PAGES: Target[] = [
  ["Overview", "/"],
  ["Pipelines", "/p"],
  ["Experiments", "/experiments"],
  ["Models", "/models"],
  ["Releases", "/releases"],
  ["Deployments", "/deployments"],
  ["Audit", "/audit"],
  ["Settings", "/settings"],
].map(([text = "", href = ""]) => ({ text, href, kind: "page" }));

const SHOWN = 12;

/** Goes to any thing by its name, its version or seven characters of its hash. */
export function Palette({ onClose }: { onClose: () => void }) {
  const [, navigate] = useLocation();
  const [text, setText] = useState("");
  const [active, setActive] = useState(0);
  const targets = useTargets();
  const found = useMemo(() => search(targets, text), [targets, text]);

  const go = (target: Target | undefined) => {
    if (!target) return;
    onClose();
    navigate(target.href);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      setActive((active + step + found.length) % Math.max(1, found.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      go(found[active]);
    }
  };
  return (
    <Dialog title="Search or go to" className="palette" onClose={onClose}>
      <input
        data-autofocus
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found[active] ? `palette-${active}` : undefined}
        aria-label="Search or go to"
        placeholder="A name, a version, a hash, a prediction id"
        autoComplete="off"
        spellCheck={false}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setActive(0);
        }}
        onKeyDown={onKeyDown}
      />
      <ul id="palette-list" role="listbox" aria-label="Found">
        {found.map((target, index) => (
          <li key={target.href + target.text} id={`palette-${index}`} role="option" aria-selected={index === active} onMouseEnter={() => setActive(index)} onClick={() => go(target)}>
            {target.text}
            <span className="kind">{target.kind}</span>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

function useTargets(): Target[] {
  const now = useQuery(overview()).data;
  const released = useInfiniteQuery(releases()).data;
  const registered = useInfiniteQuery(models()).data;
  const serving = useInfiniteQuery(deployments()).data;
  return useMemo(() => {
    const lanes = now?.lanes ?? [];
    return [
      ...lanes.map((lane) => ({ text: lane.project, kind: "project", href: links.project(lane.project) })),
      ...lanes.flatMap((lane) =>
        [...lane.recent_runs].reverse().map((run) => ({
          text: `${run.project} run ${run.number}`,
          kind: "pipeline run",
          href: links.run(run.project, run.number),
          also: `${run.commit.id} ${run.commit.subject}`,
        })),
      ),
      ...(released?.pages ?? []).flatMap((page) =>
        page.items.map((release) => ({
          text: `${release.model} v${release.version} to ${release.environment}`,
          kind: `release ${release.id}`,
          href: links.release(release.id),
          also: release.hash,
        })),
      ),
      ...(registered?.pages ?? []).flatMap((page) =>
        page.items.flatMap((model) => [
          { text: model.name, kind: "model", href: links.model(model.name) },
          ...model.versions.map((version) => ({
            text: `${model.name} v${version.version}`,
            kind: "model version",
            href: links.version(model.name, version.version),
            also: version.lineage?.content,
          })),
        ]),
      ),
      ...(serving?.pages ?? []).flatMap((page) =>
        page.items.map((deployment) => ({
          text: `${deployment.project} in ${deployment.environment}`,
          kind: "deployment",
          href: links.deployment(deployment.project, deployment.environment),
        })),
      ),
      ...PAGES,
    ];
  }, [now, released, registered, serving]);
}

function search(targets: Target[], text: string): Target[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [...PAGES];
  const found = targets.filter((target) => {
    const name = `${target.text} ${target.kind} ${target.also ?? ""}`.toLowerCase();
    return words.every((word) => name.includes(word));
  });
  return [...found.slice(0, SHOWN - 1), { text: `Trace ${text.trim()}`, kind: "trace", href: links.trace(text.trim()) }];
}
