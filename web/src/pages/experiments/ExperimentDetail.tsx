export function ExperimentDetail() { return null; }
