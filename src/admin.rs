//! stub
use crate::app::App;
use std::sync::Arc;
pub async fn bind(_: &crate::config::Admin) -> Result<Option<tokio::net::TcpListener>, String> { Ok(None) }
pub async fn serve(_: tokio::net::TcpListener, _: Arc<App>) {}
