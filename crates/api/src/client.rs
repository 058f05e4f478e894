//! A typed client of `/api/v1`.
