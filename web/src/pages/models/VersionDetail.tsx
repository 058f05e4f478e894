import { useState } from "react";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "wouter";

import { modelVersion, releases } from "../../api/queries";
import type { Lineage, ModelVersion } from "../../api/types";
import { bytes, metric, plural, weight } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { Empty, Loaded, LoadedList } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { usePage } from "../../shell/page";
import { ReleaseTable } from "../releases/ReleaseList";
import { ReleaseDialog } from "./ReleaseDialog";

/** One version: what it was made from, how good it was, where it serves. */
export function VersionDetail() {
  const { model = "", version = "" } = useParams<{ model: string; version: string }>();
  usePage([{ text: "Models", href: "/models" }, { text: model, href: links.model(model) }, { text: `v${version}` }]);
  const query = useQuery(modelVersion(model, Number(version)));
  return (
    <Loaded query={query} what={`${model} v${version}`} bars={8}>
      {(data) => <Contents version={data} />}
    </Loaded>
  );
}

function Contents({ version }: { version: ModelVersion }) {
  const [releasing, setReleasing] = useState(false);
  return (
    <>
      <div className="head">
        <div>
          <h1>
            {version.model} v{version.version}
          </h1>
          <div className="meta">
            <span>
              registered <Time at={version.created_at} />
            </span>
            {version.aliases.map((alias) => (
              <span className="tag" key={alias}>
                {alias}
              </span>
            ))}
            {Object.entries(version.serving).map(([environment, share]) => (
              <span key={environment}>
                {weight(share)} of {environment}
              </span>
            ))}
          </div>
        </div>
        <div className="actions">
          <Link className="button" href={links.trace(`${version.model}/${version.version}`)}>
            Trace
          </Link>
          {version.lineage && (
            <button type="button" className="button primary" onClick={() => setReleasing(true)}>
              Release version
            </button>
          )}
        </div>
      </div>
      {releasing && <ReleaseDialog version={version} onClose={() => setReleasing(false)} />}
      <div className="columns two">
        <Panel title="Lineage">{version.lineage ? <LineageFacts lineage={version.lineage} /> : <Empty>Registered from outside a pipeline: nothing is known of its origin but {version.source}.</Empty>}</Panel>
        <div className="stack">
          <Values title="Metrics" values={Object.entries(version.metrics).map(([name, value]) => [name, metric(value)])} none="No metric was written by its run." />
          <Values title="Params" values={Object.entries(version.params).map(([name, value]) => [name, JSON.stringify(value)])} none="No parameter was read." />
        </div>
      </div>
      {version.lineage && <Releases of={version} project={version.lineage.project} />}
    </>
  );
}

/** Where it was to go, and what became of that. */
function Releases({ of, project }: { of: ModelVersion; project: string }) {
  const query = useInfiniteQuery(releases({ project }));
  return (
    <Panel title="Releases" right={of.releases.length}>
      <LoadedList query={query} what="its releases" empty={<p>No release of it was opened.</p>}>
        {(items) => <ReleaseTable releases={items.filter((release) => of.releases.includes(release.id))} />}
      </LoadedList>
    </Panel>
  );
}

function LineageFacts({ lineage }: { lineage: Lineage }) {
  return (
    <dl className="pairs pad">
      <dt>Run</dt>
      <dd>
        <Link href={links.run(lineage.project, lineage.run)}>
          {lineage.project}/{lineage.run}
        </Link>{" "}
        started by {lineage.trainer}
      </dd>
      <dt>Commit</dt>
      <dd>
        <Hash hash={lineage.commit} /> by {lineage.author}
      </dd>
      <dt>Model</dt>
      <dd>
        <Hash hash={lineage.content} /> {bytes(lineage.size)}
      </dd>
      {lineage.data.map((item, index) => [
        <dt key={`${item.path} term`}>{index === 0 ? "Inputs" : ""}</dt>,
        <dd key={item.path}>
          <span className="mono">{item.path}</span> {item.hash && <Hash hash={item.hash} />} {item.files !== null && <span className="text-3">{plural(item.files, "file")}</span>}
        </dd>,
      ])}
      <dt>Params</dt>
      <dd>
        <Hash hash={lineage.params_hash} />
      </dd>
      <dt>Evaluated on</dt>
      <dd>{lineage.evaluation_hash ? <Hash hash={lineage.evaluation_hash} /> : "not declared"}</dd>
      <dt>Environment</dt>
      <dd>{lineage.environment_hash ? <Hash hash={lineage.environment_hash} /> : "the server's own"}</dd>
    </dl>
  );
}

function Values({ title, values, none }: { title: string; values: [string, string][]; none: string }) {
  return (
    <Panel title={title} right={values.length}>
      {values.length === 0 ? (
        <Empty>{none}</Empty>
      ) : (
        <table className="dense">
          <tbody>
            {values.map(([name, value]) => (
              <tr key={name}>
                <td className="medium">{name}</td>
                <td className="num">{value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}
