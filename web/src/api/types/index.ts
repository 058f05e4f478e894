/**
 * The wire types of `/api/v1`, written from the serde types of `crates/api`. Field names and enum
 * values are exactly what the server sends.
 */
export type * from "./common";
export type * from "./people";
export type * from "./ledger";
export type * from "./runs";
export type * from "./tracking";
export type * from "./models";
export type * from "./releases";
export type * from "./rollouts";
export type * from "./overview";
export type * from "./judge";
