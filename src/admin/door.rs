//! Accepts connections, few at a time and none for long, so that whoever is slow or many exhausts nothing and keeps nobody out: where no
//! place is free, the connection on which nothing has happened for the longest time makes room.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Connections at a time.
const CONNECTIONS: usize = 64;
/// Within this time the head of a request must have come; also how long a connection may lie idle.
const HEAD: Duration = Duration::from_secs(10);
/// A connection that is older gets no further request. A browser or Prometheus makes another one.
const AGE: Duration = Duration::from_secs(60);
/// How long the answer that is under way then may still take.
const FAREWELL: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of what is read ahead.
const BUFFER: usize = 16 << 10;
/// After the system could not accept (no file descriptor is left).
const PAUSE: Duration = Duration::from_millis(100);

/// The same on a connection that makes room: what was answered is on its way already, if whoever asked reads it.
const WAY_OUT: Duration = Duration::from_millis(50);

/// Serves whoever connects, for ever.
pub(super) async fn keep(listener: TcpListener, router: Router) {
    let hall = Arc::<Hall>::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let place = Hall::enter(&hall).await;
                tokio::spawn(serve(stream, router.clone(), place));
            }
            Err(error) => {
                tracing::warn!("admin: cannot accept: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router, place: Place) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        place.stir();
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // How it ended is of no interest: whoever asked knows it.
    let farewell = tokio::select! {
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(AGE) => FAREWELL,
        () = place.leave.notified() => Duration::ZERO,
    };
    connection.as_mut().graceful_shutdown();
    let end = async {
        // Somebody may need the place meanwhile.
        let _ = tokio::time::timeout(farewell, place.leave.notified()).await;
        tokio::time::sleep(WAY_OUT).await;
    };
    tokio::select! {
        _ = connection => {}
        () = end => {}
    }
}

/// The connections that there are, the one on which nothing has happened for the longest time in front.
#[derive(Default)]
struct Hall {
    places: Mutex<VecDeque<Arc<Notify>>>,
    left: Notify,
}

/// The place of a connection, free again when this is dropped.
struct Place {
    hall: Arc<Hall>,
    /// It shall make room.
    leave: Arc<Notify>,
}

impl Hall {
    /// A place, when there is one.
    async fn enter(hall: &Arc<Self>) -> Place {
        loop {
            {
                let mut places = hall.lock();
                if places.len() < CONNECTIONS {
                    let leave = Arc::<Notify>::default();
                    places.push_back(Arc::clone(&leave));
                    return Place { hall: Arc::clone(hall), leave };
                }
                places.iter().take(1).for_each(|longest| longest.notify_one());
            }
            hall.left.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Something happens here.
    fn stir(&self) {
        let mut places = self.hall.lock();
        places.retain(|place| !Arc::ptr_eq(place, &self.leave));
        places.push_back(Arc::clone(&self.leave));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hall.lock().retain(|place| !Arc::ptr_eq(place, &self.leave));
        self.hall.left.notify_one();
    }
}
