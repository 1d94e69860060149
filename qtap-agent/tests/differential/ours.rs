//! qtap's reading of a conversation. In: what both ends say. Out: the requests and the responses, in exchange order.

use std::sync::Arc;

use bytes::Bytes;
use qtap_agent::http::{Http, Settings, Sink};
use qtap_agent::model::conn::Direction;
use qtap_agent::model::message::Fields;
use qtap_agent::model::segment::Segment;
use qtap_agent::model::time::KernelTime;

use super::{Conversation, Read};

fn pairs(fields: &Fields) -> Vec<(String, String)> {
    let latin1 =
        |bytes: Option<&Bytes>| bytes.map_or("?".to_owned(), |bytes| bytes.iter().map(|b| char::from(*b)).collect());
    fields
        .0
        .iter()
        .map(|field| (latin1(field.name.bytes()).to_ascii_lowercase(), latin1(field.value.bytes())))
        .collect()
}

/// Returns the requests and the responses.
pub(crate) fn hear(said: &Conversation) -> (Vec<Read>, Vec<Read>) {
    let mut http = Http::new(&Arc::new(Settings::default()), false);
    let (mut sink, mut now, mut given) = (Sink::default(), 0, 0);
    for (up, down) in &said.turns {
        for (direction, bytes) in [(Direction::Sent, up), (Direction::Received, down)] {
            now += 1;
            given += bytes.len() as u64;
            let payload = Bytes::copy_from_slice(bytes);
            http.on_segment(Segment { direction, offset: 0, time: KernelTime(now), pid: 1, payload }, &mut sink);
        }
    }
    http.on_close(KernelTime(now), false, &mut sink);
    assert_eq!(sink.captured + sink.losses.total_bytes(), given);
    sink.exchanges.sort_by_key(|exchange| exchange.ordinal);
    let request = |exchange: &qtap_agent::model::exchange::HttpExchange| {
        exchange.request.as_ref().map(|request| Read {
            method: request.method.clone(),
            target: request.target.clone(),
            fields: pairs(&request.fields),
            body: request.body.to_bytes().to_vec(),
            trailers: pairs(&request.trailers),
            ended: request.ended.is_some(),
            ..Read::default()
        })
    };
    let response = |exchange: &qtap_agent::model::exchange::HttpExchange| {
        exchange.response.as_ref().map(|response| Read {
            status: response.status,
            informational: response.informational.clone(),
            fields: pairs(&response.fields),
            body: response.body.to_bytes().to_vec(),
            trailers: pairs(&response.trailers),
            ended: response.ended.is_some(),
            ..Read::default()
        })
    };
    (sink.exchanges.iter().filter_map(request).collect(), sink.exchanges.iter().filter_map(response).collect())
}
