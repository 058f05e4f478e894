import { useEffect, useId, useRef, type ReactNode } from "react";

/** A modal dialog (the browser's own: focus stays inside, Escape closes). */
export function Dialog({ title, onClose, className, children }: { title: string; onClose: () => void; className?: string; children: ReactNode }) {
  const element = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const dialog = element.current;
    if (!dialog?.open) dialog?.showModal();
    dialog?.querySelector<HTMLElement>("[data-autofocus]")?.focus();
  }, []);
  return (
    <dialog ref={element} className={className} aria-labelledby={heading} onClose={onClose} onClick={(event) => event.target === element.current && onClose()}>
      <header className={className === "palette" ? "visually-hidden" : undefined}>
        <h2 id={heading}>{title}</h2>
      </header>
      {children}
    </dialog>
  );
}
