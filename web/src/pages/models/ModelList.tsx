export function ModelList() { return null; }
