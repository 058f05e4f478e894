import { createContext, useContext, useLayoutEffect } from "react";

export interface Crumb {
  text: string;
  href?: string;
}

export interface PageHead {
  crumbs: Crumb[];
  /** The project that the page belongs to, for the switch. */
  project?: string;
}

export const PageHeadContext = createContext<(head: PageHead) => void>(() => undefined);

/** Names the page: breadcrumb (last one is the page itself), document title, project. */
export function usePage(crumbs: Crumb[], project?: string): void {
  const setHead = useContext(PageHeadContext);
  const key = JSON.stringify([crumbs, project]);
  useLayoutEffect(() => {
    setHead({ crumbs, project });
    document.title = `${[...crumbs].reverse().map((crumb) => crumb.text).join(" · ")} · Towpath`;
    // `key` stands for the values of `crumbs` and `project`.
  }, [key, setHead]);
}
