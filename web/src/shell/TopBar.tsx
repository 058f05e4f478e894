import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";

import { me } from "../api/queries";
import { clock } from "../format/time";
import { useConnection } from "../live";
import { Icon } from "../parts/Icon";
import { setTheme, useIsDark } from "../theme";
import type { Crumb } from "./page";

export function TopBar({ crumbs, onMenu, onFind }: { crumbs: Crumb[]; onMenu: () => void; onFind: () => void }) {
  const dark = useIsDark();
  return (
    <header className="top">
      <button type="button" className="icon-button burger" aria-label="Menu" onClick={onMenu}>
        <Icon name="menu" />
      </button>
      <nav className="crumbs" aria-label="Breadcrumb">
        <ol>
          {crumbs.map((crumb, index) => (
            <li key={`${index}-${crumb.text}`}>
              {index === crumbs.length - 1 ? <b aria-current="page">{crumb.text}</b> : crumb.href ? <Link href={crumb.href}>{crumb.text}</Link> : <span>{crumb.text}</span>}
            </li>
          ))}
        </ol>
      </nav>
      <button type="button" className="find" aria-keyshortcuts="Control+K" onClick={onFind}>
        <Icon name="find" />
        <span>Search or go to</span>
        <kbd>Ctrl K</kbd>
      </button>
      <LiveState />
      <button type="button" className="icon-button" aria-label={dark ? "Use the light theme" : "Use the dark theme"} onClick={() => setTheme(dark ? "light" : "dark")}>
        <Icon name="theme" />
      </button>
      <Viewer />
    </header>
  );
}

function LiveState() {
  const connection = useConnection();
  const lost = !connection.live && connection.since !== null;
  return (
    <span className={lost ? "live lost" : "live"} role="status">
      {connection.live ? (
        <>
          <i />
          Live
        </>
      ) : lost ? (
        <>
          <i />
          Not connected since {clock(connection.since ?? 0)}, retrying
        </>
      ) : null}
    </span>
  );
}

function Viewer() {
  const { data } = useQuery(me());
  if (!data) return null;
  const words = data.user.split(/[-_. ]+/);
  const initials = (words.length > 1 ? `${words[0]?.[0] ?? ""}${words.at(-1)?.[0] ?? ""}` : data.user.slice(0, 2)).toUpperCase();
  return (
    <Link className="viewer plain" href="/settings" title="Settings">
      <i>{initials}</i>
      <b>{data.user}</b>
    </Link>
  );
}
