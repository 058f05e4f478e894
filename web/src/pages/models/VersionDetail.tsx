import { useState } from "react";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "wouter";

import { facts as factsQuery, model as modelQuery, modelVersion, releases } from "../../api/queries";
import type { ModelVersion, VersionRef } from "../../api/types";
import { Loaded, LoadedList } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";
import { ReleaseTable } from "../releases/ReleaseList";
import { ReleaseDialog } from "./ReleaseDialog";
import { Serving } from "./Serving";
import { VersionFacts } from "./VersionFacts";
import "./models.css";

/** One version: where it serves, what it was made from, what it is, and what nobody knows of it. */
export function VersionDetail() {
  const { model = "", version = "" } = useParams<{ model: string; version: string }>();
  usePage([{ text: "Models", href: "/models" }, { text: model, href: links.model(model) }, { text: `v${version}` }]);
  const query = useQuery(modelVersion(model, Number(version)));
  const facts = useQuery(factsQuery(model, Number(version)));
  return (
    <Loaded query={query} what={`${model} v${version}`} bars={8}>
      {(data) => (
        <>
          <Head version={data} />
          <Releases of={data} />
          <Loaded query={facts} what="what is known about it" bars={8}>
            {(known) => <VersionFacts facts={known} />}
          </Loaded>
        </>
      )}
    </Loaded>
  );
}

function Head({ version }: { version: ModelVersion }) {
  const [releasing, setReleasing] = useState(false);
  const other = useReference(version);
  return (
    <div className="head">
      <div>
        <h1>
          {version.model} v{version.version}
        </h1>
        <div className="meta">
          <Serving versions={[version]} plain />
          {version.aliases.map((alias) => (
            <span className="tag" key={alias}>
              {alias}
            </span>
          ))}
          <span>
            registered <Time at={version.created_at} />
          </span>
        </div>
      </div>
      <div className="actions">
        {other && (
          <Link data-key="c" className="button" href={links.compareVersions(other, version)}>
            Compare with v{other.version}
          </Link>
        )}
        <Link className="button" href={links.trace(`${version.model}/${version.version}`)}>
          Trace
        </Link>
        {version.lineage && (
          <button type="button" className="button primary" onClick={() => setReleasing(true)}>
            Release version
          </button>
        )}
      </div>
      {releasing && <ReleaseDialog version={version} onClose={() => setReleasing(false)} />}
    </div>
  );
}

/** What a version is compared with at first: the one before it, or else the next. */
function useReference({ model, version }: ModelVersion): VersionRef | null {
  const numbers = useQuery(modelQuery(model)).data?.versions.map((each) => each.version) ?? [];
  const before = numbers.filter((number) => number < version);
  const after = numbers.filter((number) => number > version);
  const number = before.length > 0 ? Math.max(...before) : after.length > 0 ? Math.min(...after) : null;
  return number === null ? null : { model, version: number };
}

/** Where it was to go, who agreed, and what became of that. */
function Releases({ of }: { of: ModelVersion }) {
  const query = useInfiniteQuery(releases({ model: of.model, version: String(of.version) }));
  return (
    <Panel title="Releases" right={query.data?.pages[0]?.total}>
      <LoadedList query={query} what="its releases" empty={<p>No release of it was opened: it is on its way nowhere.</p>}>
        {(items) => <ReleaseTable releases={items} />}
      </LoadedList>
    </Panel>
  );
}
