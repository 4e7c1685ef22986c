//! Odd, but no reason to be treated differently: halves, strangers, any bytes as a key, a thousand visitors.

use larder_integration_tests::client::{Client, encode};
use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use crate::assert_others_are_served;

#[test]
fn half_a_command_waits_for_its_other_half_and_holds_up_nobody() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let mut bystander = larder.connect();
    let bytes = [encode(&["SET", "half", "value"]), encode(&["GET", "half"])].concat();
    let mut halves: Vec<(Client, usize)> = (1..bytes.len()).map(|cut| (larder.connect(), cut)).collect();
    for (client, cut) in &mut halves {
        client.send_raw(&bytes[..*cut]).expect("sent");
    }
    assert_others_are_served(&mut bystander);
    for (client, cut) in &mut halves {
        client.send_raw(&bytes[*cut..]).expect("still open");
        assert_eq!((client.read(), client.read()), (Reply::ok(), Reply::bulk("value")), "cut at {cut}");
    }
}

/// Redis waits for ever after a zero byte outside of an array; any bounded answer will do here.
#[test]
fn bytes_of_other_protocols_hurt_nobody_else() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let mut bystander = larder.connect();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n";
    let ssh = b"SSH-2.0-OpenSSH_9.2\r\n\0\0\x04\x14\x08\x14";
    let memcached = b"set a 0 0 1\r\nb\r\nget a\r\n\x80\x01\0\0";
    let mut strangers: Vec<Client> = Vec::new();
    for bytes in [&tls[..], ssh, memcached, b"\0\0\0\r\n", &[0; 100_000], &[0xff; 100_000]] {
        let mut stranger = larder.connect();
        let _ = stranger.send_raw(bytes);
        assert_others_are_served(&mut bystander);
        strangers.push(stranger);
    }
    drop(strangers);
    assert_others_are_served(&mut bystander);
}

#[test]
fn any_bytes_are_a_key() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let (mut client, mut direct) = (larder.connect(), redis.connect());
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut keys: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    keys.extend([every_byte, Vec::new(), b"\r\n".to_vec(), b"$-1\r\n".to_vec(), b"a\0b".to_vec(), vec![b'*'; 70_000]]);
    for key in &keys {
        let value = [key.as_slice(), b"\r\n", key].concat();
        assert_eq!(client.call(&[b"SET", key.as_slice(), &value]), Reply::ok());
        for _ in 0..2 {
            assert_eq!(client.call(&[b"GET", key.as_slice()]), Reply::Bulk(value.clone()));
        }
        assert_eq!(direct.call(&[b"SET", key.as_slice(), b"changed"]), Reply::ok());
        wait::until("a push names a key of any bytes", || {
            client.call(&[b"GET", key.as_slice()]) == Reply::bulk("changed")
        });
    }
    assert_eq!(client.say("DBSIZE"), Reply::Integer(i64::try_from(keys.len()).expect("a few hundred")));
}

/// A thousand clients that come, say nonsense or nothing, and go leave nothing behind.
#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let redis = Redis::start();
    let larder = Larder::start(redis.address());
    let mut bystander = larder.connect();
    for number in 0..1000 {
        let mut client = larder.connect();
        let _ = match number % 5 {
            0 => client.send_raw(b"*2\r\n$3\r\nGET\r\n$100\r\nabc"),
            1 => client.send_raw(&encode(&["GET", "k"]).repeat(20)),
            2 => client.send_raw(b"*x\r\n"),
            3 => client.send_raw(&encode(&["SET", "k", "v"])),
            _ => Ok(()),
        };
    }
    assert_others_are_served(&mut bystander);
    wait::until("only the bystander is left", || {
        let list = bystander.say("CLIENT LIST").text().expect("CLIENT LIST is text");
        list.lines().count() == 1
    });
}
