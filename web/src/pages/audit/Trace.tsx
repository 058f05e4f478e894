export function Trace() { return null; }
