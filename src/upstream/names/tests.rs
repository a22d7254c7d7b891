//! What a name remembers, and how addresses take turns; the servers themselves are asked by the outside tests.

use super::super::Origin;
use super::super::ways::Ways;
use super::*;

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn error(text: &'static str) -> io::Result<Vec<IpAddr>> {
    Err(io::Error::other(text))
}

#[test]
fn a_look_that_fails_keeps_the_last_good_addresses() {
    let names = Names::default();
    let name = names.name("users");
    name.found(error("no server"));
    assert_eq!(name.edition(), 0);
    name.found(Ok(ips(&["10.0.0.2", "10.0.0.1", "10.0.0.2"])));
    let first = name.edition();
    name.found(Ok(ips(&["10.0.0.1", "10.0.0.2"])));
    assert_eq!(name.edition(), first, "the same in another order is no change");
    for nothing in [error("no server"), Ok(Vec::new())] {
        name.found(nothing);
    }
    let known = names.resolved("users").unwrap();
    assert_eq!((&*known.addresses, known.failures), (&ips(&["10.0.0.1", "10.0.0.2"])[..], 3));
    assert_eq!(known.failing.as_deref(), Some("it has no address"));
    name.found(Ok(ips(&["10.0.0.3"])));
    assert_ne!(name.edition(), first);
    assert_eq!(names.resolved("users").unwrap().failing, None);
    drop(name);
    assert!(names.resolved("users").is_none(), "nobody uses it");
}

#[test]
fn addresses_take_turns_and_those_that_failed_wait() {
    let names = Names::default();
    let origin = Origin::new("users", 80).unwrap().among(&names);
    names.name("users").found(Ok(ips(&["10.0.0.1", "10.0.0.2", "10.0.0.3"])));
    let (mut ways, now) = (Ways::default(), Instant::now());
    ways.follow(&origin);
    let turns = |ways: &mut Ways, count: usize, now: Instant| {
        let turn = |_| {
            let turn = ways.turn(now).unwrap();
            ways.took(turn);
            turn.ip().to_string().split_off(7)
        };
        (0..count).map(turn).collect::<String>()
    };
    assert_eq!(turns(&mut ways, 4, now), "1231");
    ways.failed("10.0.0.3:80".parse().unwrap(), now);
    assert_eq!(turns(&mut ways, 4, now), "2121");
    assert_eq!(turns(&mut ways, 3, now + Duration::from_secs(10)), "231");
    names.name("users").found(Ok(ips(&["10.0.0.9"])));
    ways.follow(&origin);
    assert_eq!(turns(&mut ways, 2, now), "99");
    assert!(!ways.lead_to("10.0.0.1:80".parse().unwrap()));
}

#[tokio::test]
async fn the_first_request_waits_and_later_ones_are_told_what_came_of_it() {
    let name = Name::alone("localhost");
    name.ready().await.unwrap();
    assert!(name.addresses().1.contains(&"127.0.0.1".parse().unwrap()));
    let nowhere = Name::alone("nowhere.invalid");
    nowhere.found(error("no such name"));
    assert_eq!(nowhere.ready().await.unwrap_err().to_string(), "no such name");
}
