export function ExperimentList() { return null; }
