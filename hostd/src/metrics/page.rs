use std::fmt::Debug;

use prometheus_client::{
    encoding::EncodeMetric,
    metrics::{family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

/// What is shown at one moment. Names are given without their prefix; a counter's `_total` is added.
pub(super) struct Page(Registry);

impl Default for Page {
    fn default() -> Self {
        Self(Registry::with_prefix("pilothouse"))
    }
}

impl Page {
    /// Shows what somebody counts.
    pub(super) fn shown<M: EncodeMetric + Clone + Debug + Send + Sync + 'static>(
        &mut self,
        name: &str,
        help: &str,
        of: &M,
    ) {
        self.0.register(name, help, of.clone());
    }

    /// Shows one number.
    pub(super) fn one(&mut self, name: &str, help: &str, value: u64) {
        let gauge = Gauge::<i64>::default();
        gauge.set(whole(value));
        self.0.register(name, help, gauge);
    }

    /// Shows numbers by a label.
    pub(super) fn gauge<L: Into<String>>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) {
        let family = Family::<[(&'static str, String); 1], Gauge>::default();
        for (of, value) in values {
            family.get_or_create(&[(label, of.into())]).set(whole(value));
        }
        self.0.register(name, help, family);
    }

    /// Shows words, as labels of a number that is 1.
    pub(super) fn info<const N: usize>(&mut self, name: &str, help: &str, labels: [(&'static str, String); N]) {
        self.0.register(name, help, Info::new(labels));
    }

    pub(super) fn into_registry(self) -> Registry {
        self.0
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
