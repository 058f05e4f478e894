import { Suspense, useEffect, useRef, useState, type ReactNode } from "react";
import { useQueryClient } from "@tanstack/react-query";
import { useLocation } from "wouter";

import { follow } from "../live";
import { Bars } from "../parts/Loaded";
import { Navigation } from "./Navigation";
import { Palette } from "./Palette";
import { PageHeadContext, type PageHead } from "./page";
import { KeyList } from "./KeyList";
import { useKeys } from "./useKeys";
import { TopBar } from "./TopBar";

/** The frame around every page: navigation, top bar, palette, keys, live updates. */
export function Shell({ children }: { children: ReactNode }) {
  const [head, setHead] = useState<PageHead>({ crumbs: [] });
  const [floating, setFloating] = useState<"palette" | "keys" | null>(null);
  const [menuOpen, setMenuOpen] = useState(false);
  const [location] = useLocation();
  const main = useRef<HTMLElement>(null);
  const client = useQueryClient();

  useEffect(() => {
    const stop = new AbortController();
    void follow(client, stop.signal);
    return () => stop.abort();
  }, [client]);

  // A new page begins at its top, for the eye and for a screen reader.
  const shown = useRef(location);
  useEffect(() => {
    if (shown.current === location) return;
    shown.current = location;
    setMenuOpen(false);
    window.scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [location]);

  useEffect(() => {
    if (!menuOpen) return;
    const onKeyDown = (event: KeyboardEvent) => event.key === "Escape" && setMenuOpen(false);
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [menuOpen]);

  useKeys({ onPalette: () => setFloating("palette"), onList: () => setFloating("keys") });

  return (
    <PageHeadContext value={setHead}>
      <a className="button primary skip" href="#main">
        Skip to content
      </a>
      <div className="app">
        <Navigation project={head.project} open={menuOpen} />
        {menuOpen && <button type="button" className="nav-behind" aria-label="Close the menu" onClick={() => setMenuOpen(false)} />}
        <div>
          <TopBar crumbs={head.crumbs} onMenu={() => setMenuOpen(!menuOpen)} onFind={() => setFloating("palette")} />
          <main id="main" ref={main} tabIndex={-1}>
            <Suspense fallback={<Bars count={6} what="page" />}>{children}</Suspense>
          </main>
        </div>
      </div>
      {floating === "palette" && <Palette onClose={() => setFloating(null)} />}
      {floating === "keys" && <KeyList onClose={() => setFloating(null)} />}
    </PageHeadContext>
  );
}
