import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "wouter";

import { ledgerEntry } from "../../api/queries";
import type { LedgerEntry } from "../../api/types";
import { count } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { words } from "../../parts/LedgerTable";
import { Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { Time } from "../../parts/Time";
import { ledgerSubject, links } from "../../parts/links";
import { usePage } from "../../shell/page";

export function AuditEntry() {
  const { seq = "" } = useParams<{ seq: string }>();
  usePage([{ text: "Audit", href: "/audit" }, { text: `Entry ${count(Number(seq))}` }]);
  const query = useQuery(ledgerEntry(Number(seq)));
  return (
    <Loaded query={query} what={`entry ${seq} of the ledger`} bars={6}>
      {(entry) => <Contents entry={entry} />}
    </Loaded>
  );
}

function Contents({ entry }: { entry: LedgerEntry }) {
  return (
    <>
      <div className="head">
        <div>
          <h1>{words(entry.kind)}</h1>
          <div className="meta">
            <span>by {entry.actor}</span>
            <span>
              <Time at={entry.at} /> at <Time at={entry.at} as="seconds" />
            </span>
          </div>
        </div>
        <div className="actions">
          {entry.seq > 1 && (
            <Link className="button" data-key="[" href={links.ledgerEntry(entry.seq - 1)}>
              Entry {count(entry.seq - 1)} <kbd>[</kbd>
            </Link>
          )}
          <Link className="button" data-key="]" href={links.ledgerEntry(entry.seq + 1)}>
            Entry {count(entry.seq + 1)} <kbd>]</kbd>
          </Link>
        </div>
      </div>
      <Panel title="Entry">
        <dl className="pairs pad">
          <dt>About</dt>
          <dd>
            {entry.about.map((about) => {
              const subject = ledgerSubject(about);
              return subject.href ? (
                <Link key={about} href={subject.href}>
                  {subject.text}
                </Link>
              ) : (
                <span key={about}>{subject.text}</span>
              );
            })}
          </dd>
          <dt>Hash</dt>
          <dd>
            <Hash hash={entry.hash} /> after <Hash hash={entry.previous} />
          </dd>
        </dl>
        <pre className="code" tabIndex={0} aria-label="Evidence">
          {JSON.stringify(entry.evidence, null, 2)}
        </pre>
      </Panel>
    </>
  );
}
