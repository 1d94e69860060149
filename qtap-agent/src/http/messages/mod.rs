//! Bodies that are streams of messages. In: the bytes of one direction of an exchange, in order, and its holes. Out: [`Messages`]: counts
//! of all messages, and those that are kept. If the framing cannot be followed, that is reported and nothing is guessed;
//! no more is kept than the limits of bodies allow.
//!
//! `grpc` finds messages in the bytes that the body keeps, and returns slices of them; `websocket` takes the bytes itself, with `frame` for
//! frame heads, `under_way` for its messages and `deflate` for permessage-deflate; `upgrade` recognises WebSocket connections.

mod deflate;
mod frame;
mod grpc;
mod kept;
mod under_way;
mod upgrade;
mod websocket;

pub(super) use self::grpc::Grpc;
pub(super) use self::upgrade::{websockets, websockets_answered};
pub(super) use self::websocket::WebSocket;

use super::body::Budget;
use super::{Settings, Sink};
use crate::model::messages::Message;
#[cfg(doc)]
use crate::model::messages::Messages;
use crate::model::time::KernelTime;

/// Maximum number of messages kept of one direction of an exchange, or of a part of it.
const KEPT: usize = 4096;
/// Memory cost of a kept message besides its bytes.
const MESSAGE_COST: usize = size_of::<Message>();

/// The context for reading a body.
pub(super) struct Env<'a> {
    /// When the bytes arrived.
    pub(super) time: KernelTime,
    pub(super) settings: &'a Settings,
    /// False: only the sizes of bodies are kept.
    pub(super) keep: bool,
    pub(super) budget: &'a mut Budget,
    pub(super) sink: &'a mut Sink,
}

/// Parser of the messages of one direction.
#[derive(Debug)]
pub(super) enum Reader {
    Grpc(Box<Grpc>),
    WebSocket(Box<WebSocket>),
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests;
