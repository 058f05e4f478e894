export function AuditEntry() { return null; }
