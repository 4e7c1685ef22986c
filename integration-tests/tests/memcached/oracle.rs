//! Beside another client library of the meta and text protocols, async-memcached: each reads what the other wrote.

use async_memcached::{AsciiProtocol as _, Client};
use larder_integration_tests::dice::Dice;

use super::uncached;

#[test]
fn another_client_library_and_larder_read_each_other() {
    let (node, larder) = uncached();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut theirs = Client::new(&format!("tcp://{}", node.address())).await.expect("it connects");
        let mut ours = larder.connect();
        let mut dice = Dice::new(3);
        for round in 0..300 {
            let key = format!("key:{}", dice.below(20));
            let value: String = (0..dice.below(200)).map(|_| char::from(b'a' + dice.below(26) as u8)).collect();
            if round % 2 == 0 {
                ours.call(&["SET", &key, &value]);
            } else {
                theirs.set(key.as_bytes(), value.as_bytes(), None, None).await.expect("it is stored");
            }
            let read = theirs.get(key.as_bytes()).await.expect("an answer").expect("a value");
            assert_eq!(read.data.unwrap_or_default(), value.as_bytes());
            assert_eq!(read.flags, Some(0));
            assert_eq!(ours.call(&["GET", &key]).text(), Some(value));
        }
        ours.say("SET count 41");
        assert_eq!(theirs.increment("count", 1).await.expect("a number"), 42);
        assert_eq!(ours.say("INCR count").integer(), Some(43));
        theirs.delete("count").await.expect("deleted");
        assert_eq!(ours.say("EXISTS count").integer(), Some(0));
    });
}
