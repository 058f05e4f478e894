export function ModelDetail() { return null; }
