import { Link } from "wouter";

import type { LedgerEntry } from "../api/types";
import { useNow, Time } from "./Time";
import { Hash } from "./Hash";
import { ledgerSubject, links } from "./links";

const DAY_MS = 86_400_000;

/** Entries of the ledger, newest first: when, who, what, about what, hash. */
export function LedgerTable({ entries, short }: { entries: LedgerEntry[]; short?: boolean }) {
  const now = useNow();
  return (
    <div className="scroll">
      <table className="ledger dense">
        <thead className={short ? "visually-hidden" : undefined}>
          <tr>
            <th>Time</th>
            <th className="not-narrow">By</th>
            <th>What</th>
            <th>About</th>
            <th className="not-narrow">Hash</th>
          </tr>
        </thead>
        <tbody>
          {entries.map((entry) => {
            const subject = entry.about[0] === undefined ? null : ledgerSubject(entry.about[0]);
            return (
              <tr key={entry.seq}>
                <td className="mono text-3">
                  <Time at={entry.at} as={now - entry.at < DAY_MS ? "seconds" : "relative"} />
                </td>
                <td className="text-2 not-narrow">{entry.actor.replace(/^towpath:/, "")}</td>
                <td>
                  <Link data-row={short ? undefined : true} className="plain" href={links.ledgerEntry(entry.seq)}>
                    {words(entry.kind)}
                  </Link>
                </td>
                <td>{subject && (subject.href ? <Link href={subject.href}>{subject.text}</Link> : <span className="text-2">{subject.text}</span>)}</td>
                <td className="not-narrow">
                  <Hash hash={entry.hash} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

/** `release.rolled_back` reads "release rolled back". */
export function words(kind: string): string {
  return kind.replace(/[._]/g, " ");
}
