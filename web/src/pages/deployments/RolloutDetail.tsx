export function RolloutDetail() { return null; }
