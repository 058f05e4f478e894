//! Front ends: each reads one foreign pipeline format into a [`Pipeline`](crate::pipeline::Pipeline).

pub mod dvc_yaml;
pub mod kfp;
pub mod mlproject;
