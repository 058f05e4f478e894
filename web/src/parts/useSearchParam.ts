import { useCallback } from "react";
import { useLocation, useSearch } from "wouter";

/** A piece of the view's state that lives in the URL. Refining replaces the history entry. */
export function useSearchParam(name: string): [string | null, (value: string | null) => void] {
  const search = useSearch();
  const [location, navigate] = useLocation();
  const set = useCallback(
    (value: string | null) => {
      // Read at the time of the change, so that two changes in one tick do not undo each other.
      const params = new URLSearchParams(window.location.search);
      if (value === null || value === "") params.delete(name);
      else params.set(name, value);
      const text = params.toString();
      navigate(text ? `${location}?${text}` : location, { replace: true });
    },
    [location, name, navigate],
  );
  return [new URLSearchParams(search).get(name), set];
}
