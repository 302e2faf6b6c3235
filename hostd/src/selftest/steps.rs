//! How the circle went, step by step.

use std::time::Duration;

use serde::Serialize;

use crate::vm::qemu::Confinement;

/// Results of one way around the circle.
#[derive(Clone, Debug, Serialize)]
pub struct Circle {
    /// The circle's steps in order.
    pub steps: Vec<Step>,
    /// Confinement that the clone's QEMU was in.
    pub confinement: Confinement,
}

/// A step of the circle.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Name of the step: cold boot, template, clone, suspend or resume.
    pub name: &'static str,
    /// Time that the step took; microseconds where it is serialized.
    #[serde(rename = "micros", serialize_with = "micros")]
    pub took: Duration,
    /// Bytes that the step put on disk, for those that put something there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Where the circle broke.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{step}: {why}")]
pub struct Failure {
    /// Name of the step that failed.
    pub step: &'static str,
    /// Why the step failed, with what the guest said last, where it came so far.
    pub why: String,
}

fn micros<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
