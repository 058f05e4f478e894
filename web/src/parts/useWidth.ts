import { useEffect, useRef, useState } from "react";

/** The width of an element in CSS pixels, for drawings that are laid out anew when it changes. */
export function useWidth<E extends HTMLElement>(initial: number) {
  const element = useRef<E>(null);
  const [width, setWidth] = useState(initial);
  useEffect(() => {
    if (!element.current) return;
    const observer = new ResizeObserver(([entry]) => entry && setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return [element, width] as const;
}
