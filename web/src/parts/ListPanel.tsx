import type { ReactNode } from "react";
import type { InfiniteData, UseInfiniteQueryResult } from "@tanstack/react-query";

import type { Page } from "../api/types";
import { count } from "../format/number";
import { LoadedList } from "./Loaded";
import { Panel } from "./Panel";

export interface Column<T> {
  head: string;
  /** Of the head and of every cell: `num`, `not-narrow`... */
  className?: string;
  cell: (item: T) => ReactNode;
}

/** Rows of one kind. `titleOf` is what a row says when the pointer rests on it. */
export function Table<T>({
  items,
  keyOf,
  columns,
  dense,
  titleOf,
}: {
  items: T[];
  keyOf: (item: T) => string | number;
  columns: Column<T>[];
  dense?: boolean;
  titleOf?: (item: T) => string | undefined;
}) {
  return (
    <div className="scroll">
      <table className={dense ? "dense" : undefined}>
        <thead>
          <tr>
            {columns.map(({ head, className }) => (
              <th key={head} className={className}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {items.map((item) => (
            <tr key={keyOf(item)} title={titleOf?.(item)}>
              {columns.map(({ head, className, cell }) => (
                <td key={head} className={className}>
                  {cell(item)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A panel with a list that grows page by page, its total at the end of the head. */
export function ListPanel<T>({
  title,
  query,
  what,
  empty,
  ...table
}: {
  title: string;
  query: UseInfiniteQueryResult<InfiniteData<Page<T>>>;
  what: string;
  empty: ReactNode;
  keyOf: (item: T) => string | number;
  columns: Column<T>[];
  dense?: boolean;
  titleOf?: (item: T) => string | undefined;
}) {
  return (
    <Panel title={title} right={query.data && count(query.data.pages[0]?.total)}>
      <LoadedList query={query} what={what} empty={empty}>
        {(items) => <Table items={items} {...table} />}
      </LoadedList>
    </Panel>
  );
}
