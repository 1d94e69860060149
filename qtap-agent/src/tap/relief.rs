//! Memory relief when all streams together hold too much: those that hold most release it.

use std::cmp::Reverse;

use super::Tap;
use crate::model::conn::Channel;
use crate::model::observation::Observation;
use crate::model::time::KernelTime;

impl Tap {
    /// Makes the largest holders release their memory, until there is room for a while. Ties are broken by channel, so that
    /// a replay does the same.
    #[cold]
    pub(super) fn relieve(&mut self, now: KernelTime, out: &mut Vec<Observation>) {
        let conns = self.conns.values().map(|conn| (Reverse(conn.held()), conn.key));
        let sessions = self.sessions.values().map(|session| (Reverse(session.held()), Channel::Session(session.id)));
        let mut holders: Vec<_> = conns.chain(sessions).filter(|(held, _)| held.0 > 0).collect();
        holders.sort_unstable();
        for (_, channel) in holders {
            if self.common.memory.is_relieved() {
                break;
            }
            self.shed(channel, now, out);
        }
    }

    fn shed(&mut self, channel: Channel, now: KernelTime, out: &mut Vec<Observation>) {
        match channel {
            Channel::Socket(_) => {
                if let Some(conn) = self.conns.get_mut(&channel) {
                    conn.shed(now, &mut self.common, out);
                }
            }
            Channel::Session(id) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.shed(now, &mut self.common);
                    self.deliver(id, now, out);
                    self.on_unbound(id, now, out);
                    self.sessions.get_mut(&id).into_iter().for_each(|session| session.leave());
                }
            }
        }
    }
}
