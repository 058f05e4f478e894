/** The page that a link of the MLflow client means: it prints `<server>/#/experiments/1/runs/ab12`. */
export function pathOfMlflowLink(hash: string): string | null {
  return /^#(\/experiments\/[^/]+(?:\/runs\/[^/]+)?)$/.exec(hash)?.[1] ?? null;
}

/** Leads such a link to our page of the same run or experiment, before anything is drawn. */
export function followMlflowLink(): void {
  const path = pathOfMlflowLink(window.location.hash);
  if (path !== null) window.history.replaceState(null, "", import.meta.env.BASE_URL.replace(/\/$/, "") + path);
}
