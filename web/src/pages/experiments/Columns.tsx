import { useEffect, useRef } from "react";

import { Icon } from "../../parts/Icon";
import type { Column } from "./columns";

/** Which metrics and parameters the table shows. */
export function Columns({ all, chosen, onChange }: { all: Column[]; chosen: Column[]; onChange: (columns: string) => void }) {
  const menu = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      const inside = menu.current?.contains(event.target as Node);
      if (menu.current && (!inside || (event instanceof KeyboardEvent && event.key === "Escape"))) menu.current.open = false;
    };
    document.addEventListener("pointerdown", close);
    document.addEventListener("keydown", close);
    return () => {
      document.removeEventListener("pointerdown", close);
      document.removeEventListener("keydown", close);
    };
  }, []);
  const ids = new Set(chosen.map((column) => column.id));
  const toggle = (id: string) => {
    const next = all.filter((column) => (column.id === id ? !ids.has(id) : ids.has(column.id)));
    onChange(next.map((column) => column.id).join(",") || "none");
  };
  return (
    <details className="menu" ref={menu}>
      <summary className="button tall">
        <Icon name="columns" />
        Columns{" "}
        <span className="text-3">
          {chosen.length} of {all.length}
        </span>
      </summary>
      <fieldset className="menu-list">
        <legend className="visually-hidden">Columns</legend>
        {all.map((column) => (
          <label key={column.id} className="row">
            <input type="checkbox" checked={ids.has(column.id)} onChange={() => toggle(column.id)} />
            <span className="cut">{column.name}</span>
            <span className="text-3 tiny">{column.kind}</span>
          </label>
        ))}
      </fieldset>
    </details>
  );
}
