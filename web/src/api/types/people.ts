/** Who signs in, with what. */
import type { Timestamp } from "./common";

export interface Me {
  user: string;
  roles: string[];
  admin: boolean;
  /** The server has no accounts: everybody is `local`. */
  open: boolean;
  server_version: string;
}

export interface User {
  name: string;
  emails: string[];
  admin: boolean;
  roles: string[];
  created_at: Timestamp;
}

export interface Token {
  id: string;
  user: string;
  roles: string[];
  created_at: Timestamp;
  expires_at: Timestamp | null;
}
