import { useEffect, useRef } from "react";

/** Tints an element for a moment when `value` changes under it; nothing moves. */
export function useFresh<E extends HTMLElement>(value: unknown) {
  const element = useRef<E>(null);
  const last = useRef(value);
  useEffect(() => {
    if (Object.is(last.current, value)) return;
    last.current = value;
    const target = element.current;
    if (!target) return;
    target.classList.remove("fresh");
    void target.offsetWidth; // restarts the animation when values come faster than it ends
    target.classList.add("fresh");
  }, [value]);
  return element;
}
