import { useEffect, useSyncExternalStore } from "react";
import { useLocation } from "wouter";

const PLACES: Record<string, string> = {
  o: "/",
  p: "/p",
  e: "/experiments",
  m: "/models",
  r: "/releases",
  y: "/deployments",
  l: "/audit",
};

/** What the keys do, for the list behind `?`. */
export const KEYS: [string, string][] = [
  ["Ctrl K", "search or go to"],
  ["g o  p  e  m  r  y  l", "overview, pipelines, experiments, models, releases, deployments, audit"],
  ["/", "filter"],
  ["j  k", "next, previous row"],
  ["enter", "open the row"],
  ["x  space", "select or chart the row"],
  ["c", "compare the selected"],
  ["[  ]", "neighbour: the run or release before, after"],
  ["f", "follow the log"],
  ["?", "this list"],
];

const OFF = "towpath.keys";
const listeners = new Set<() => void>();
const areOn = () => localStorage.getItem(OFF) !== "off";

export function setKeysOn(on: boolean): void {
  if (on) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "off");
  for (const listener of listeners) listener();
}

export function useKeysOn(): boolean {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, areOn);
}

/** How long after `g` the second key still counts. */
const CHORD_MS = 1_200;

/**
 * Keys of the whole page. A view takes part by marking elements: `data-row` is the link of a row,
 * `data-key="c"` is clicked by that key, `data-filter` is the input that `/` focuses.
 */
export function useKeys({ onPalette, onList }: { onPalette: () => void; onList: () => void }): void {
  const [, navigate] = useLocation();
  useEffect(() => {
    let chordUntil = 0;
    const onKeyDown = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        onPalette();
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || !areOn() || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      const chord = Date.now() < chordUntil;
      chordUntil = 0;
      if (chord && PLACES[event.key]) {
        event.preventDefault();
        navigate(PLACES[event.key] ?? "/");
      } else if (event.key === "g") {
        chordUntil = Date.now() + CHORD_MS;
      } else if (event.key === "?") {
        onList();
      } else if (event.key === "/") {
        focusFilter(event);
      } else if (event.key === "j" || event.key === "k") {
        moveRow(event.key === "j" ? 1 : -1);
      } else if (event.key === "x" || (event.key === " " && isRow(event.target))) {
        selectRow(event);
      } else {
        const target = document.querySelector<HTMLElement>(`[data-key="${CSS.escape(event.key)}"]`);
        if (target) {
          event.preventDefault();
          target.click();
        }
      }
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [navigate, onList, onPalette]);
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input:not([type=checkbox]), textarea, select"));
}

const isRow = (target: EventTarget | null) => target instanceof HTMLElement && target.matches("[data-row]");

function focusFilter(event: KeyboardEvent) {
  const filter = document.querySelector<HTMLInputElement>("[data-filter]");
  if (!filter) return;
  event.preventDefault();
  filter.focus();
  filter.select();
}

function moveRow(step: number) {
  const rows = [...document.querySelectorAll<HTMLElement>("main [data-row]")];
  const now = rows.findIndex((row) => row === document.activeElement);
  rows[now < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, now + step))]?.focus();
}

function selectRow(event: KeyboardEvent) {
  const box = document.activeElement?.closest("tr")?.querySelector<HTMLInputElement>("input[type=checkbox]");
  if (!box) return;
  event.preventDefault();
  box.click();
}
