const WORDS: Record<string, string> = {
  run: "tracked run",
  pipeline_run: "pipeline run",
  params: "parameters",
  evaluation_hash: "evaluation data",
  sha256: "digests of files",
};

/** A field of the facts as people say it. */
export function word(field: string): string {
  return WORDS[field] ?? field;
}
