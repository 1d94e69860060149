//! What bodies say that are streams of messages. In: the bytes of one direction of an exchange, in order, and its holes. Out:
//! [`Messages`]: counts of all, and those that are told. Where the framing can't be followed it says so and guesses nothing;
//! it keeps no more than the limits of bodies allow.
//!
//! `grpc` counts in the bytes that the body keeps, and tells slices of them; `websocket` takes the bytes, with `frame` for the
//! heads of its frames, `under_way` for its messages and `deflate` for permessage-deflate; `upgrade` says what is a WebSocket connection.

mod deflate;
mod frame;
mod grpc;
mod kept;
mod under_way;
mod upgrade;
mod websocket;

pub(super) use self::grpc::Grpc;
pub(super) use self::upgrade::websockets;
pub(super) use self::websocket::WebSocket;

use super::body::Budget;
use super::{Settings, Sink};
use crate::model::messages::Message;
#[cfg(doc)]
use crate::model::messages::Messages;
use crate::model::time::KernelTime;

/// Messages kept of one direction of an exchange, or of a part of it.
const KEPT: usize = 4096;
/// What a message that is kept costs beside its bytes.
const MESSAGE_COST: usize = size_of::<Message>();

/// What a body is read with.
pub(super) struct Env<'a> {
    /// When the bytes came.
    pub(super) time: KernelTime,
    pub(super) settings: &'a Settings,
    /// False: only the sizes of bodies are kept.
    pub(super) keep: bool,
    pub(super) budget: &'a mut Budget,
    pub(super) sink: &'a mut Sink,
}

/// Reads the messages of one direction.
#[derive(Debug)]
pub(super) enum Reader {
    Grpc(Box<Grpc>),
    WebSocket(Box<WebSocket>),
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests;
