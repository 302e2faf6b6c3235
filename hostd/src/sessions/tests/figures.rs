//! What is counted of sessions as they live.

use prometheus_client::{encoding::prometheus_text, registry::Registry};

use super::world::{World, sam, until_is, until_live};
use crate::sessions::Fleet;

/// The lines of what sessions count that are about something.
fn counted(fleet: &Fleet) -> Vec<String> {
    let (mut registry, meter) = (Registry::default(), fleet.meter());
    for (name, of) in ["start", "suspend", "resume", "adoption"].into_iter().zip(meter.durations()) {
        registry.register(name, name, of.clone());
    }
    registry.register("crash", "crash", meter.crashes().clone());
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).unwrap();
    let shown = |line: &&str| !line.ends_with(" 0") && (line.contains("_count{") || line.contains("_total{"));
    text.lines().filter(shown).map(Into::into).collect()
}

#[tokio::test]
async fn a_life_is_counted_and_shown() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let figures = fleet.figures();
    assert_eq!((figures.states["running"], figures.states["suspended"], figures.vms[0].1), (1, 0, 1));
    assert_eq!(figures.turns.values().sum::<u64>(), 1);
    fleet.by(sam()).suspend("fix").await.unwrap();
    until_is(&fleet, "fix", "suspended").await;
    let figures = fleet.figures();
    assert_eq!((figures.states["running"], figures.states["suspended"], figures.vms[0].1), (0, 1, 0));
    fleet.by(sam()).resume("fix").await.unwrap();
    until_is(&fleet, "fix", "running").await;
    let ok = |name: &str| format!("{name}_count{{result=\"ok\"}} 1");
    assert_eq!(counted(&fleet), [ok("start"), ok("suspend"), ok("resume")]);
    fleet.stop().await;
}

#[tokio::test]
async fn a_vm_that_is_taken_over_is_counted() {
    let world = World::new();
    world.session("fix").await;
    let doomed = world.doomed().await;
    until_is(&doomed.fleet, "fix", "running").await;
    doomed.kill().await;
    let fleet = world.fleet().await;
    until_live(&fleet, "fix").await;
    assert_eq!(counted(&fleet), ["adoption_count{result=\"ok\"} 1"]);
    fleet.stop().await;
}
