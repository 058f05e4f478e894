export function VersionDetail() { return null; }
