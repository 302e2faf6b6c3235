//! What people allow sessions.

use super::world::{World, sam};

#[tokio::test]
async fn a_service_of_the_host_is_allowed_only_where_that_is_said() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    let allow = async |to: &str, private| {
        let egress = hostd_core::recipe::Egress::parse(to, private).unwrap();
        fleet.by(sam()).allow("fix", egress).await.map(|view| view.session.allowed.len())
    };
    for to in ["host.pilothouse.internal:1", "10.0.0.1:5432"] {
        let error = allow(to, false).await.unwrap_err().to_string();
        assert!(error.contains(&format!("pilothouse allow --private fix {to}")), "{error}");
    }
    assert_eq!(allow("host.pilothouse.internal:1", true).await.unwrap(), 1);
    assert_eq!(allow("a.example:443", false).await.unwrap(), 2);
    fleet.stop().await;
}
