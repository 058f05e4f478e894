import { Link } from "wouter";

import type { LedgerEntry } from "../api/types";
import { inPast, rounded, sentence } from "../format/text";
import { useNow, Time } from "./Time";
import { Hash } from "./Hash";
import { ledgerSubject, links } from "./links";

const DAY_MS = 86_400_000;

/**
 * Entries of the ledger, newest first: when, who, what, about what, why, hash. `short` leaves out
 * the why and the heads; `of` is the subject of all of them, which then need not be named.
 */
export function LedgerTable({ entries, short, of }: { entries: LedgerEntry[]; short?: boolean; of?: string }) {
  const now = useNow();
  return (
    <div className="scroll">
      <table className="ledger dense">
        <thead className={short || of ? "visually-hidden" : undefined}>
          <tr>
            <th>Time</th>
            <th className="not-narrow">By</th>
            <th>What</th>
            {!of && <th>About</th>}
            {!short && <th className="not-narrow">Why</th>}
            <th className="not-narrow">Hash</th>
          </tr>
        </thead>
        <tbody>
          {entries.map((entry) => {
            const why = reason(entry);
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
                {!of && (
                  <td>
                    <Subject about={entry.about[0]} />
                  </td>
                )}
                {!short && (
                  <td className="text-2 cut rest not-narrow" title={why}>
                    {why}
                  </td>
                )}
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

function Subject({ about }: { about: string | undefined }) {
  if (about === undefined) return null;
  const { text, href } = ledgerSubject(about);
  return href ? <Link href={href}>{text}</Link> : <span className="text-2">{text}</span>;
}

/** What the entry itself says of its cause. */
function reason({ evidence }: LedgerEntry): string | undefined {
  if (evidence === null || typeof evidence !== "object" || Array.isArray(evidence)) return undefined;
  const said = [evidence.reason, evidence.text, evidence.error].find((each) => typeof each === "string" && each !== "");
  return typeof said === "string" ? sentence(inPast(rounded(said))) : undefined;
}

/** `release.rolled_back` reads "release rolled back". */
export function words(kind: string): string {
  return kind.replace(/[._]/g, " ");
}
