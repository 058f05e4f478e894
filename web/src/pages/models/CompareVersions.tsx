import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useLocation } from "wouter";

import { models as modelsQuery, versionComparison } from "../../api/queries";
import type { Unknown, VersionComparison, VersionRef } from "../../api/types";
import { plural } from "../../format/number";
import { Empty, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { links } from "../../parts/links";
import { useSearchParam } from "../../parts/useSearchParam";
import { usePage } from "../../shell/page";
import { DataTable, ValueTable, isSame } from "./Compared";
import { word } from "./words";
import "./models.css";

/** What differs between two versions of a model, or of two. */
export function CompareVersions() {
  const a = reference(useSearchParam("a")[0]);
  const b = reference(useSearchParam("b")[0]);
  usePage([{ text: "Models", href: "/models" }, ...(a ? [{ text: a.model, href: links.model(a.model) }] : []), { text: "Compare versions" }]);
  if (!a || !b) {
    return (
      <>
        <h1>Compare two versions</h1>
        <Empty>Choose two versions in a model's table.</Empty>
      </>
    );
  }
  return <Comparison a={a} b={b} />;
}

/** `digits/3` */
function reference(text: string | null): VersionRef | null {
  const [, model, version] = /^(.+)\/(\d+)$/.exec(text ?? "") ?? [];
  return model !== undefined && version !== undefined ? { model, version: Number(version) } : null;
}

function Comparison({ a, b }: { a: VersionRef; b: VersionRef }) {
  const query = useQuery(versionComparison(a, b));
  const [all, setAll] = useSearchParam("all");
  const [, navigate] = useLocation();
  const go = (left: VersionRef, right: VersionRef) => navigate(links.compareVersions(left, right) + (all ? "&all=1" : ""), { replace: true });
  return (
    <>
      <div className="head">
        <div>
          <h1>
            {name(a)} and {a.model === b.model ? `v${b.version}` : name(b)}
          </h1>
          {query.data && <Answer of={query.data} />}
        </div>
        <div className="actions wrap">
          <Choose label="From" value={a} onChange={(next) => go(next, b)} />
          <Choose label="To" value={b} onChange={(next) => go(a, next)} />
          <button type="button" className="button" onClick={() => go(b, a)}>
            Swap
          </button>
        </div>
      </div>
      <label className="row small">
        <input type="checkbox" role="switch" checked={all === null} onChange={(event) => setAll(event.target.checked ? null : "1")} />
        Only differences
      </label>
      <Loaded query={query} what="the comparison" bars={10}>
        {(data) => <Parts of={data} all={all !== null} a={a} b={b} />}
      </Loaded>
    </>
  );
}

const name = ({ model, version }: VersionRef) => `${model} v${version}`;

/** The answer in a line: how much differs, and whether the metrics may be compared at all. */
function Answer({ of }: { of: VersionComparison }) {
  const parts = [of.params, of.metrics, of.data, of.signature, of.packages, of.files, of.origin];
  const different = parts.reduce((sum, part) => sum + part.filter((change) => !isSame(change)).length, 0);
  return (
    <div className="meta">
      <span>{different === 0 ? "nothing that is known differs" : `${plural(different, "difference")}`}</span>
      <span>{of.same_content === null ? "whether the files are the same is not known" : of.same_content ? "the files are the same" : "the files differ"}</span>
      <span>
        {of.same_evaluation === null
          ? "whether metrics were computed on the same data is not known"
          : of.same_evaluation
            ? "metrics were computed on the same data"
            : "metrics were computed on different data: they do not compare"}
      </span>
    </div>
  );
}

/** Any version of any model. */
function Choose({ label, value, onChange }: { label: string; value: VersionRef; onChange: (value: VersionRef) => void }) {
  const known = useInfiniteQuery(modelsQuery()).data?.pages.flatMap((page) => page.items) ?? [];
  const listed = known.some((model) => model.name === value.model);
  return (
    <label className="row small text-3">
      {label}
      <select className="button" value={`${value.model}/${value.version}`} onChange={(event) => onChange(reference(event.target.value) ?? value)}>
        {!listed && <option value={`${value.model}/${value.version}`}>{name(value)}</option>}
        {known.map((model) => (
          <optgroup key={model.name} label={model.name}>
            {model.versions.map(({ version }) => (
              <option key={version} value={`${model.name}/${version}`}>
                {name({ model: model.name, version })}
              </option>
            ))}
          </optgroup>
        ))}
      </select>
    </label>
  );
}

function Parts({ of, all, a, b }: { of: VersionComparison; all: boolean; a: VersionRef; b: VersionRef }) {
  const heads = {
    a: <Link href={links.version(a.model, a.version)}>{a.model === b.model ? `v${a.version}` : name(a)}</Link>,
    b: <Link href={links.version(b.model, b.version)}>{a.model === b.model ? `v${b.version}` : name(b)}</Link>,
  };
  const metricsCompare = of.same_evaluation !== false;
  return (
    <>
      <div className="columns two">
        <ValueTable title="Params" changes={of.params} all={all} heads={heads} />
        <ValueTable title="Metrics" kind={metricsCompare ? "metric" : "apart"} changes={of.metrics} all={all} heads={heads} />
      </div>
      <DataTable changes={of.data} all={all} heads={heads} />
      <div className="columns two">
        <ValueTable title="Files" kind="size" changes={of.files} all={all} heads={heads} />
        <ValueTable title="Signature" changes={of.signature} all={all} heads={heads} />
      </div>
      <div className="columns two">
        <ValueTable title="Packages" changes={of.packages} all={all} heads={heads} />
        <ValueTable title="Made from" kind="origin" changes={of.origin} all={all} heads={heads} />
      </div>
      {of.unknown.length > 0 && <NotKnown unknown={of.unknown} a={name(a)} b={name(b)} />}
    </>
  );
}

/** The server says `a: data`; what is missing on both sides for the same reason is said once. */
function NotKnown({ unknown, a, b }: { unknown: Unknown[]; a: string; b: string }) {
  const reasons = new Map<string, { what: string; why: string; of: string[] }>();
  for (const { what: said, why } of unknown) {
    const what = word(said.slice(3));
    const entry = reasons.get(`${what} ${why}`) ?? { what, why, of: [] };
    entry.of.push(said.startsWith("a: ") ? a : b);
    reasons.set(`${what} ${why}`, entry);
  }
  return (
    <Panel title="Not known, so not compared" right={reasons.size}>
      <dl className="pairs pad not-known">
        {[...reasons.values()].map(({ what, why, of }) => [
          <dt key={`${what} ${why} term`}>{what}</dt>,
          <dd key={`${what} ${why}`}>
            {of.length === 2 && a !== b ? "of both" : `of ${of[0] ?? ""}`}
            <span className="text-3">{why}</span>
          </dd>,
        ])}
      </dl>
    </Panel>
  );
}
