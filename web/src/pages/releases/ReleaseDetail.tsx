export function ReleaseDetail() { return null; }
