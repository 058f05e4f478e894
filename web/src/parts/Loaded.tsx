/** The states of a part of a page: loading, failed, empty. A part fails, never the page. */
import type { ReactNode } from "react";
import type { UseInfiniteQueryResult, UseQueryResult, InfiniteData } from "@tanstack/react-query";

import { ApiError } from "../api/client";
import type { Page } from "../api/types";
import { count } from "../format/number";

type Query<T> = Pick<UseQueryResult<T>, "data" | "error" | "refetch" | "dataUpdatedAt">;

/** Shows `children` with the data; grey bars before, the error instead when there is none. */
export function Loaded<T>({ query, what, bars = 4, children }: { query: Query<T>; what: string; bars?: number; children: (data: T) => ReactNode }) {
  if (query.data !== undefined) return children(query.data);
  if (query.error) return <Failed what={what} error={query.error} retry={() => void query.refetch()} />;
  return <Bars count={bars} what={what} />;
}

export function Bars({ count: bars, what }: { count: number; what: string }) {
  return (
    <div className="waiting-bars" role="status" aria-label={`Loading ${what}`}>
      {Array.from({ length: bars }, (_, index) => (
        <i key={index} />
      ))}
    </div>
  );
}

export function Failed({ what, error, retry }: { what: string; error: Error; retry?: () => void }) {
  const api = error instanceof ApiError ? error : null;
  return (
    <div className="failed" role="alert">
      <p>
        <b className="bad">Cannot show {what}.</b> {error.message}
      </p>
      {api?.problem.hints?.map((hint) => (
        <p key={hint} className="text-2">
          {hint}
        </p>
      ))}
      {api?.requestId && <p className="text-3 mono">request {api.requestId}</p>}
      {retry && (
        <button type="button" className="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return <div className="empty">{children}</div>;
}

type Pages<T> = UseInfiniteQueryResult<InfiniteData<Page<T>>>;

/** A list that grows page by page, with its total. */
export function LoadedList<T>({ query, what, empty, children }: { query: Pages<T>; what: string; empty: ReactNode; children: (items: T[], total: number) => ReactNode }) {
  return (
    <Loaded query={query} what={what} bars={6}>
      {({ pages }) => {
        const items = pages.flatMap((page) => page.items);
        const total = pages[0]?.total ?? items.length;
        if (items.length === 0) return <Empty>{empty}</Empty>;
        return (
          <>
            {children(items, total)}
            <MoreRows query={query} shown={items.length} total={total} />
          </>
        );
      }}
    </Loaded>
  );
}

export function MoreRows<T>({ query, shown, total }: { query: Pages<T>; shown: number; total: number }) {
  if (!query.hasNextPage) return null;
  return (
    <div className="row pad small text-3">
      <span>
        {count(shown)} of {count(total)}
      </span>
      <button type="button" className="button" onClick={() => void query.fetchNextPage()}>
        {query.isFetchingNextPage ? "Loading" : "Show more"}
      </button>
    </div>
  );
}
