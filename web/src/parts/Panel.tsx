import type { ReactNode } from "react";

/** One border, inside only rules. `title` is its heading, `right` stands at the end of the head. */
export function Panel({
  title,
  beside,
  right,
  label,
  compact,
  className = "",
  children,
}: {
  title: ReactNode;
  beside?: ReactNode;
  right?: ReactNode;
  label?: string;
  compact?: boolean;
  className?: string;
  children: ReactNode;
}) {
  return (
    <section className={`panel ${compact ? "compact " : ""}${className}`} aria-label={label ?? (typeof title === "string" ? title : undefined)}>
      <header>
        <h2 className={compact ? "small strong" : undefined}>{title}</h2>
        {beside}
        {right !== undefined && <div className="right">{right}</div>}
      </header>
      {children}
    </section>
  );
}
