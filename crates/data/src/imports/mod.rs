//! Data that comes from somewhere else and remembers where: `import`, `import-url`, `update`.

mod checksum;

pub use checksum::checksum;
