import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { trackedRun } from "../../api/queries";
import type { Facts, Item, Json, ModelFile, SignatureColumn } from "../../api/types";
import { bytes, metric, plural } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { Table } from "../../parts/ListPanel";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { links } from "../../parts/links";
import { word } from "./words";

/** What is known about a version, generated from what made it; what is not known is said so. */
export function VersionFacts({ facts }: { facts: Facts }) {
  return (
    <div className="columns facts">
      <div className="stack">
        <Panel title="Made from">
          <Origin facts={facts} />
        </Panel>
        {facts.data.length > 0 && <Data items={facts.data} />}
        {facts.files.length > 0 && <Files facts={facts} />}
        {facts.environment && facts.environment.packages.length > 0 && <Packages facts={facts} />}
      </div>
      <div className="stack">
        {facts.unknown.length > 0 && <NotKnown facts={facts} />}
        <Values title="Metrics" values={Object.entries(facts.metrics).map(([name, value]) => [name, metric(value)])} />
        <Values title="Params" values={Object.entries(facts.params).map(([name, value]) => [name, written(value)])} />
        {facts.signature && <Columns facts={facts} />}
      </div>
    </div>
  );
}

/** A text as it is, anything else as JSON. */
export const written = (value: Json) => (typeof value === "string" ? value : JSON.stringify(value));

function Origin({ facts }: { facts: Facts }) {
  const [project, number] = facts.pipeline_run?.split("/") ?? [];
  return (
    <dl className="pairs pad">
      {project && number && (
        <>
          <dt>Pipeline run</dt>
          <dd>
            <Link href={links.run(project, Number(number))}>{facts.pipeline_run}</Link>
          </dd>
        </>
      )}
      {facts.tracking_run && (
        <>
          <dt>Tracked run</dt>
          <dd>
            <TrackedRunLink id={facts.tracking_run} />
          </dd>
        </>
      )}
      {facts.commit && (
        <>
          <dt>Commit</dt>
          <dd>
            <Hash hash={facts.commit} /> {facts.author && `by ${facts.author}`}
          </dd>
        </>
      )}
      {facts.trainer && (
        <>
          <dt>Trained by</dt>
          <dd>{facts.trainer}</dd>
        </>
      )}
      <dt>Registered by</dt>
      <dd>
        {facts.created_by} <Time at={facts.created_at} />
      </dd>
      {facts.datasets.map((dataset, index) => [
        <dt key={`${index} term`}>{index === 0 ? "Datasets" : ""}</dt>,
        <dd key={index}>
          {dataset.name} <span className="mono text-3">{dataset.digest}</span> {dataset.context && <span className="tag">{dataset.context}</span>}
        </dd>,
      ])}
      {facts.evaluation_hash && (
        <>
          <dt>Evaluated on</dt>
          <dd>
            <Hash hash={facts.evaluation_hash} />
          </dd>
        </>
      )}
      {facts.environment && (
        <>
          <dt>Environment</dt>
          <dd>
            {facts.environment.hash && <Hash hash={facts.environment.hash} />}
            {facts.environment.locked ? `${plural(facts.environment.packages.length, "package")}, locked` : "asked for, not locked"}
          </dd>
        </>
      )}
      {facts.content && (
        <>
          <dt>Content</dt>
          <dd>
            <Hash hash={facts.content} /> {bytes(facts.size)}
          </dd>
        </>
      )}
      {facts.flavors.length > 0 && (
        <>
          <dt>Loads as</dt>
          <dd>{facts.flavors.join(", ")}</dd>
        </>
      )}
      <dt>Files at</dt>
      <dd className="mono">{facts.location}</dd>
      {facts.description && (
        <>
          <dt>Note</dt>
          <dd>{facts.description}</dd>
        </>
      )}
    </dl>
  );
}

function TrackedRunLink({ id }: { id: string }) {
  const run = useQuery(trackedRun(id)).data;
  return run ? <Link href={links.trackedRun(run.experiment, id)}>{run.name}</Link> : <span className="mono">{id.slice(0, 8)}</span>;
}

function NotKnown({ facts }: { facts: Facts }) {
  return (
    <Panel title="Not known" right={facts.unknown.length}>
      <dl className="pairs pad not-known">
        {facts.unknown.map(({ what, why }) => [<dt key={`${what} term`}>{word(what)}</dt>, <dd key={what} className="text-3">{why}</dd>])}
      </dl>
    </Panel>
  );
}

function Data({ items }: { items: Item[] }) {
  return (
    <Panel title="Data" right={items.length}>
      <Table
        dense
        items={items}
        keyOf={(item) => item.path}
        columns={[
          { head: "Path", className: "mono", cell: (item) => item.path },
          { head: "Version", cell: (item) => (item.hash ? <Hash hash={item.hash} /> : <span className="text-3">none</span>) },
          { head: "Size", className: "num", cell: (item) => bytes(item.size) },
          { head: "Files", className: "num not-narrow", cell: (item) => item.files ?? "" },
        ]}
      />
    </Panel>
  );
}

function Files({ facts }: { facts: Facts }) {
  return (
    <Panel title="Files" right={`${facts.files.length}, ${bytes(facts.size)}`}>
      <Table<ModelFile>
        dense
        items={facts.files}
        keyOf={(file) => file.path}
        columns={[
          { head: "Path", className: "mono", cell: (file) => file.path },
          { head: "SHA-256", cell: (file) => (file.sha256 ? <Hash hash={file.sha256} /> : <span className="text-3">not read yet</span>) },
          { head: "Size", className: "num", cell: (file) => bytes(file.size) },
        ]}
      />
      <p className="section small text-3">
        <code>
          towpath model download {facts.model.includes(" ") ? `"${facts.model}/${facts.version}"` : `${facts.model}/${facts.version}`}
        </code>{" "}
        fetches them and checks each.
      </p>
    </Panel>
  );
}

function Packages({ facts }: { facts: Facts }) {
  const { locked = false, packages = [] } = facts.environment ?? {};
  return (
    <Panel title="Packages" right={`${packages.length}, ${locked ? "as they were installed" : "as its files ask for them"}`}>
      <ul className="packages mono">
        {packages.map((each) => (
          <li key={each}>{each}</li>
        ))}
      </ul>
    </Panel>
  );
}

function Columns({ facts }: { facts: Facts }) {
  const { inputs = [], outputs = [], params = [] } = facts.signature ?? {};
  const rows = [
    ...inputs.map((column, index) => ({ part: "input", column, index })),
    ...outputs.map((column, index) => ({ part: "output", column, index })),
    ...params.map((column, index) => ({ part: "param", column, index })),
  ];
  const name = (column: SignatureColumn, index: number) => column.name || String(index);
  return (
    <Panel title="Signature" right={`${plural(inputs.length, "input")}, ${plural(outputs.length, "output")}`}>
      <Table
        dense
        items={rows}
        keyOf={({ part, index }) => `${part} ${index}`}
        columns={[
          { head: "Part", className: "text-3", cell: ({ part }) => part },
          { head: "Name", className: "medium", cell: ({ column, index }) => name(column, index) },
          { head: "Type", className: "mono", cell: ({ column }) => column.kind },
        ]}
      />
    </Panel>
  );
}

function Values({ title, values }: { title: string; values: [string, string][] }) {
  if (values.length === 0) return null;
  return (
    <Panel title={title} right={values.length}>
      <table className="dense">
        <tbody>
          {values.map(([name, value]) => (
            <tr key={name}>
              <th scope="row" className="medium">
                {name}
              </th>
              <td className="num cut rest" title={value}>
                {value}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
