import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "wouter";

import { model as modelQuery } from "../../api/queries";
import type { Model, ModelVersion } from "../../api/types";
import { count, metric, weight } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { Empty, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { useSearchParam } from "../../parts/useSearchParam";
import { usePage } from "../../shell/page";
import { ModelCard } from "./ModelCard";
import { Serving } from "./Serving";
import "./models.css";

/** What people wrote about a model, its versions, and where they serve. */
export function ModelDetail() {
  const { model = "" } = useParams<{ model: string }>();
  usePage([{ text: "Models", href: "/models" }, { text: model }]);
  const query = useQuery(modelQuery(model));
  return (
    <>
      <div className="head">
        <div>
          <h1>{model}</h1>
          {query.data && (
            <div className="meta">
              <Serving versions={query.data.versions} />
              <span>
                last change <Time at={query.data.updated_at} />
              </span>
              <span>
                registered <Time at={query.data.created_at} />
              </span>
            </div>
          )}
        </div>
      </div>
      <Loaded query={query} what={`model ${model}`} bars={6}>
        {(data) => (
          <>
            <Versions model={data} />
            <ModelCard model={model} />
          </>
        )}
      </Loaded>
    </>
  );
}

const COLUMNS = 4;

function Versions({ model }: { model: Model }) {
  const metrics = [...new Set(model.versions.flatMap((version) => Object.keys(version.metrics)))].slice(0, COLUMNS);
  const [chosen, toggle] = useChosen();
  const known = chosen.filter((number) => model.versions.some(({ version }) => version === number)).sort((a, b) => a - b);
  return (
    <Panel title="Versions" right={<CompareChosen model={model} chosen={known} />}>
      {model.versions.length === 0 ? (
        <Empty>No version is registered yet.</Empty>
      ) : (
        <div className="scroll" tabIndex={0} role="region" aria-label="Versions table">
          <table>
            <thead>
              <tr>
                <th>Version</th>
                <th>Serves in</th>
                <th className="not-narrow">Aliases</th>
                {metrics.map((name) => (
                  <th key={name} className="num not-narrow">
                    {name}
                  </th>
                ))}
                <th className="not-narrow">Commit</th>
                <th className="not-narrow">From</th>
                <th>Registered</th>
              </tr>
            </thead>
            <tbody>
              {model.versions.map((version) => (
                <Row key={version.version} version={version} metrics={metrics} chosen={known.includes(version.version)} onToggle={() => toggle(version.version)} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

function Row({ version, metrics, chosen, onToggle }: { version: ModelVersion; metrics: string[]; chosen: boolean; onToggle: () => void }) {
  return (
    <tr className={chosen ? "selected" : undefined}>
      <td>
        <span className="row wide-gap">
          <input type="checkbox" aria-label={`Compare v${version.version}`} checked={chosen} onChange={onToggle} />
          <Link data-row className="plain strong" href={links.version(version.model, version.version)}>
            v{version.version}
          </Link>
        </span>
      </td>
      <td>
        <span className="row">
          {Object.entries(version.serving).map(([environment, share]) => (
            <span className="tag" key={environment}>
              {environment} {weight(share)}
            </span>
          ))}
        </span>
      </td>
      <td className="not-narrow text-2">{version.aliases.join(", ")}</td>
      {metrics.map((name) => (
        <td key={name} className="num not-narrow">
          {metric(version.metrics[name])}
        </td>
      ))}
      <td className="not-narrow">{version.lineage && <Hash hash={version.lineage.commit} />}</td>
      <td className="not-narrow">
        {version.lineage ? <Link href={links.run(version.lineage.project, version.lineage.run)}>run {version.lineage.run}</Link> : <span className="text-3">outside</span>}
      </td>
      <td className="text-2">
        <Time at={version.created_at} />
      </td>
    </tr>
  );
}

/** Two versions at most, in the URL; a third takes the place of the one that was chosen first. */
function useChosen(): [number[], (version: number) => void] {
  const [text, setText] = useSearchParam("chosen");
  const chosen = (text ?? "").split(",").filter(Boolean).map(Number);
  const toggle = (version: number) => {
    const next = chosen.includes(version) ? chosen.filter((each) => each !== version) : [...chosen, version].slice(-2);
    setText(next.join(","));
  };
  return [chosen, toggle];
}

function CompareChosen({ model, chosen: [a, b] }: { model: Model; chosen: number[] }) {
  return (
    <>
      {a !== undefined && b !== undefined ? (
        <Link data-key="c" className="button" href={links.compareVersions({ model: model.name, version: a }, { model: model.name, version: b })}>
          Compare v{a} and v{b} <kbd>c</kbd>
        </Link>
      ) : (
        model.versions.length > 1 && <span className="not-narrow">choose two to compare</span>
      )}
      <span>{count(model.versions.length)}</span>
    </>
  );
}
