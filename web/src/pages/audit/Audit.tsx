import { useInfiniteQuery, useQuery } from "@tanstack/react-query";

import { ledger, verified } from "../../api/queries";
import { count } from "../../format/number";
import { Hash } from "../../parts/Hash";
import { Icon } from "../../parts/Icon";
import { LedgerTable } from "../../parts/LedgerTable";
import { Failed, LoadedList } from "../../parts/Loaded";
import { Panel } from "../../parts/Panel";
import { StatusShape } from "../../parts/Status";
import { Time } from "../../parts/Time";
import { useSearchParam } from "../../parts/useSearchParam";
import { usePage } from "../../shell/page";

/** Is it whole, and who did what? */
export function Audit() {
  usePage([{ text: "Audit" }]);
  const [about, setAbout] = useSearchParam("about");
  const [kind, setKind] = useSearchParam("kind");
  const query = useInfiniteQuery(ledger({ about: about ?? undefined, kind: kind ?? undefined }));
  return (
    <>
      <div className="head">
        <h1>Audit</h1>
      </div>
      <Chain />
      <div className="row wrap">
        <label className="field grow">
          <Icon name="find" />
          <span className="visually-hidden">About</span>
          <input data-filter type="search" placeholder="About: release/12, run/digits/4, model/digits/3" defaultValue={about ?? ""} onKeyDown={(event) => event.key === "Enter" && setAbout(event.currentTarget.value.trim())} />
        </label>
        <label className="field">
          <span className="visually-hidden">Kind</span>
          <input type="search" placeholder="Kind: release.approved" defaultValue={kind ?? ""} onKeyDown={(event) => event.key === "Enter" && setKind(event.currentTarget.value.trim())} />
        </label>
      </div>
      <Panel title="Ledger" right={query.data && count(query.data.pages[0]?.total)}>
        <LoadedList query={query} what="the ledger" empty={<p>{about || kind ? "No entry matches." : "Nothing has happened yet: every run, vote and decision will be written here once."}</p>}>
          {(items) => <LedgerTable entries={items} />}
        </LoadedList>
      </Panel>
    </>
  );
}

/** Recomputes the chain of hashes from the first entry to the newest. */
function Chain() {
  const query = useQuery(verified());
  const data = query.data;
  return (
    <Panel
      title="Chain"
      right={
        <button type="button" className="button" onClick={() => void query.refetch()}>
          {query.isFetching ? "Verifying" : "Verify"}
        </button>
      }
    >
      {query.error && !data ? (
        <Failed what="the verification" error={query.error} />
      ) : (
        <p className="pad row wrap" role="status">
          {data && (
            <>
              <StatusShape shape={data.intact ? "success" : "danger"} coloured />
              <span className={data.intact ? undefined : "bad"}>
                {data.intact ? `All ${count(data.entries)} entries fit together` : `Entry ${count(data.broken_at)} does not fit: ${data.detail ?? "its hash differs"}`}
              </span>
              <span className="text-3">
                recomputed <Time at={data.at} />
              </span>
              <span className="text-3">
                head <Hash hash={data.head} />
              </span>
            </>
          )}
        </p>
      )}
    </Panel>
  );
}
