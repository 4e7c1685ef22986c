use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::{Address, Heartbeat};
use crate::resp::Proto;

struct Nobody;

impl Receiver for Nobody {
    fn replies(&mut self, _: &[u8], _: u32, _: Micros) {}
    fn lost(&mut self, _: u32, _: &str) {}
    fn closed(&mut self, _: u32) {}
    fn takes(&self, _: (u64, u64)) -> bool {
        false
    }
}

#[test]
fn a_lane_that_is_closed_while_it_is_connected_leaves_no_task_behind() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Arc::new(Endpoint {
            upstream: "main".into(),
            address: Address::Tcp { host: "127.0.0.1".into(), port: server.local_addr().unwrap().port() },
            duty: super::super::endpoint::Duty::Any,
            tls: None,
            credentials: None,
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5),
            heartbeat: Heartbeat { interval: Duration::from_secs(1), timeout: Duration::from_secs(1) },
            dialing: Arc::new(tokio::sync::Semaphore::new(1)),
            speaks: crate::upstream::endpoint::Speaks::Redis,
        });
        let identity = Identity { database: 0, proto: Proto::Resp2, credentials: None };
        let breaker = Arc::new(Breaker::new(crate::config::Breaker::default(), Arc::default()));
        let scratch = Rc::new(RefCell::new(vec![0; 1024].into_boxed_slice()));
        let lane = Lane::start(endpoint, breaker, identity, scratch, false);
        lane.send(b"*1\r\n$4\r\nPING\r\n", (0, 0), Micros::now(), || Nobody);
        let (mut peer, _) = server.accept().await.unwrap();
        // CLIENT SETNAME, then PING.
        let mut bytes = [0; 1024];
        for answer in ["+OK\r\n", "+PONG\r\n"] {
            let _ = peer.read(&mut bytes).await.unwrap();
            peer.write_all(answer.as_bytes()).await.unwrap();
        }
        while lane.unused_for(Micros::now()).is_none() {
            tokio::task::yield_now().await;
        }
        lane.close();
        while peer.read(&mut bytes).await.unwrap() > 0 {}
        let ended = async {
            while Rc::strong_count(&lane) > 1 {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(5), ended).await.is_ok(), "the lane's task goes on");
    });
}
