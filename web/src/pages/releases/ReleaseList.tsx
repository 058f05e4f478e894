export function ReleaseList() { return null; }
