//! Several nodes: each key lies on one of them, and commands of many keys are split and joined.

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;

use super::NO_CACHE;

#[test]
fn commands_of_many_keys_reach_every_node_and_are_joined_in_order() {
    let nodes = [Memcached::start(), Memcached::start(), Memcached::start()];
    let addresses: Vec<_> = nodes.iter().map(Memcached::address).collect();
    let count = |name: &str| nodes.iter().map(|node| node.connect().stat(name)).collect::<Vec<_>>();
    for section in [NO_CACHE, ""] {
        let larder = Larder::start_with(&Settings::memcached(&addresses).section(section));
        let mut client = larder.connect();
        let keys: Vec<String> = (0..60).map(|number| format!("key:{number}")).collect();
        let mut mset = vec!["MSET".to_owned()];
        keys.iter().for_each(|key| mset.extend([key.clone(), format!("value of {key}")]));
        assert_eq!(client.call(&mset).text().as_deref(), Some("OK"));
        let items = count("curr_items");
        assert_eq!(items.iter().sum::<u64>(), 60);
        assert!(items.iter().all(|items| *items > 0), "{items:?}");
        let all = |verb: &str| std::iter::once(verb.to_owned()).chain(keys.iter().cloned()).collect::<Vec<_>>();
        let values = client.call(&all("MGET"));
        let texts: Vec<_> = values.items().expect("values").iter().map(|item| item.text()).collect();
        assert_eq!(texts, keys.iter().map(|key| Some(format!("value of {key}"))).collect::<Vec<_>>());
        assert_eq!(client.call(&all("EXISTS")).integer(), Some(60));
        assert_eq!(client.call(&all("DEL")).integer(), Some(60));
        assert_eq!(client.call(&all("EXISTS")).integer(), Some(0));
        client.call(&mset);
        assert_eq!(client.say("FLUSHALL").text().as_deref(), Some("OK"));
        assert_eq!(client.call(&all("EXISTS")).integer(), Some(0));
    }
}
