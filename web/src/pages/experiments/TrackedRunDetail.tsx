export function TrackedRunDetail() { return null; }
