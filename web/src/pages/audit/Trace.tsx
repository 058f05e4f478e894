import { useState, type FormEvent } from "react";
import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { trace as traceQuery } from "../../api/queries";
import type { TraceLink } from "../../api/types";
import { Hash } from "../../parts/Hash";
import { Icon } from "../../parts/Icon";
import { Empty, Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { links } from "../../parts/links";
import { useSearchParam } from "../../parts/useSearchParam";
import { usePage } from "../../shell/page";
import "./trace.css";

/** From what, to what? */
export function Trace() {
  usePage([{ text: "Audit", href: "/audit" }, { text: "Trace" }]);
  const [of, setOf] = useSearchParam("of");
  const [text, setText] = useState(of ?? "");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setOf(text.trim());
  };
  return (
    <>
      <h1>Trace</h1>
      <form className="row" onSubmit={submit}>
        <label className="field grow">
          <Icon name="find" />
          <span className="visually-hidden">Trace of</span>
          <input data-filter type="search" placeholder="A prediction id, digits@production, digits/3, a data path or hash" value={text} onChange={(event) => setText(event.target.value)} />
        </label>
        <button type="submit" className="button primary tall">
          Trace
        </button>
      </form>
      {of ? (
        <Chain of={of} />
      ) : (
        <Panel title="Chain">
          <Empty>One prediction id leads down to its files, commit and approvers; one data file leads up to what it touched.</Empty>
        </Panel>
      )}
    </>
  );
}

function Chain({ of }: { of: string }) {
  const query = useQuery(traceQuery(of));
  return (
    <Panel title={query.data ? query.data.of : of} label="Chain">
      <Loaded query={query} what={`where ${of} comes from`}>
        {(trace) =>
          trace.links.length === 0 ? (
            <Empty>Nothing leads to or from it.</Empty>
          ) : (
            <ol className="trace">
              {trace.links.map((link, index) => (
                <TraceLine key={index} link={link} />
              ))}
            </ol>
          )
        }
      </Loaded>
    </Panel>
  );
}

const DEEPEST = 8;

function TraceLine({ link }: { link: TraceLink }) {
  return (
    <li className={`depth-${Math.min(link.depth, DEEPEST)}`}>
      <span className="text-3 trace-kind">{link.kind.replaceAll("_", " ")}</span>
      <b>{link.name}</b>
      {link.hash && <Hash hash={link.hash} />}
      {link.facts.map(([name, value]) => (
        <span key={name}>
          <span className="text-3">{name}</span> {value}
        </span>
      ))}
      {link.ledger_seq !== null && <Link href={links.ledgerEntry(link.ledger_seq)}>entry {link.ledger_seq}</Link>}
    </li>
  );
}
