//! The stores of both lists, their ids, and the URLs of objects. A store that appears in both lists with the same
//! keys is a single store for both.

use super::{Around, otlp, s3};
use crate::config::fields::At;
use crate::config::file::File;
use crate::config::file::services::{Resource, Store, StoreKind as Typed};
use crate::config::wording::brief;
use crate::export::settings::{QueueSettings, ResourceSettings, StoreKind, StoreSettings};
use crate::model::record::Severity;
use crate::pipeline::settings::Locator;

/// The URL given for an object on standard output.
pub(crate) const STDOUT_URL: &str = "stdout://{{DIGEST}}";

/// A store's settings, before it has a name.
struct Unnamed<'f> {
    id: Option<&'f At<String>>,
    events: bool,
    objects: bool,
    kind: StoreKind,
    queue: Option<QueueSettings>,
}

/// All stores that are not disabled, and the locators of those that take objects, in the order of the file.
pub(crate) fn settle(file: &File, around: &Around<'_>) -> (Vec<StoreSettings>, Vec<Locator>) {
    let mut all: Vec<Unnamed<'_>> = Vec::new();
    // For each object store: its index in `all`, its URL, and the typed form it came from.
    let mut located: Vec<(usize, String, &Store)> = Vec::new();
    for (store, objects) in
        file.event_stores.iter().map(|s| (s, false)).chain(file.object_stores.iter().map(|s| (s, true)))
    {
        let Some((kind, url)) = kind(store, around) else { continue };
        let queue = queue(store, &kind, around);
        let index = place(&mut all, store, objects, (kind, queue), around);
        if objects {
            located.push((index, url, store));
        }
    }
    let stores = named(all);
    let mut locators: Vec<Locator> = Vec::new();
    for (index, url, store) in &located {
        let Some(settings) = stores.get(*index) else { continue };
        let min_bytes = store.min_bytes.as_ref().map_or(0, |at| at.value);
        if locators.iter().any(|earlier| earlier.min_bytes <= min_bytes) {
            let message = "no object comes to this store: one above it takes all of its size";
            around.out.note(store.span, message, "give the one above a larger `min_bytes`");
        }
        locators.push(Locator { store: settings.id.clone(), url: url.clone(), min_bytes });
    }
    let least = locators.iter().map(|locator| locator.min_bytes).min().filter(|least| *least > 0);
    if let (Some(least), Some((_, _, last))) = (least, located.last()) {
        let at = last.min_bytes.as_ref().map_or(last.span, |at| at.span);
        let message = format!("objects below {least} bytes are stored nowhere");
        around.out.note(at, message, "add a store without `min_bytes` at the end");
    }
    (stores, locators)
}

/// The index of the store in `all`: a new entry, or that of an equal store in the other list.
fn place<'f>(
    all: &mut Vec<Unnamed<'f>>,
    store: &'f Store,
    objects: bool,
    (kind, queue): (StoreKind, Option<QueueSettings>),
    around: &Around<'_>,
) -> usize {
    let id = store.id.as_ref();
    if let Some(id) = id.filter(|id| id.value.is_empty()) {
        around.out.fault(id.span, "an empty `id`", "leave it out, or write a name");
    }
    let same_id = |known: &Unnamed<'_>| matches!((known.id, id), (Some(a), Some(b)) if a.value == b.value);
    let may_be_one = |known: &Unnamed<'_>| {
        let taken = if objects { known.objects } else { known.events };
        !taken && known.kind == kind && known.queue == queue && (same_id(known) || known.id.is_none() || id.is_none())
    };
    if let Some(index) =
        all.iter().position(|known| same_id(known) && may_be_one(known)).or_else(|| all.iter().position(may_be_one))
    {
        if let Some(known) = all.get_mut(index) {
            known.events |= !objects;
            known.objects |= objects;
            known.id = known.id.or(id);
        }
        return index;
    }
    if let (Some(known), Some(id)) = (all.iter().find(|known| same_id(known)).and_then(|known| known.id), id) {
        let message = format!("the id `{}` is that of the store in line {} too", brief(&id.value), known.span.line);
        around.out.fault(id.span, message, "give each store an id of its own");
    }
    all.push(Unnamed { id, events: !objects, objects, kind, queue });
    all.len() - 1
}

/// Names every store: by its id, or by its kind, with a number where that name is taken.
fn named(all: Vec<Unnamed<'_>>) -> Vec<StoreSettings> {
    let mut taken: Vec<String> = all.iter().filter_map(|store| store.id.map(|id| id.value.clone())).collect();
    let mut name = |kind: &StoreKind| {
        let base = match kind {
            StoreKind::Stdout(..) => "stdout",
            StoreKind::Otlp(_) => "otel",
            StoreKind::S3(_) => "s3",
        };
        let mut id = base.to_owned();
        let mut count = 2;
        while taken.contains(&id) {
            id = format!("{base}-{count}");
            count += 1;
        }
        taken.push(id.clone());
        id
    };
    let settings = |store: Unnamed<'_>| StoreSettings {
        id: store.id.map_or_else(|| name(&store.kind), |id| id.value.clone()),
        events: store.events,
        objects: store.objects,
        kind: store.kind,
        queue: store.queue,
    };
    all.into_iter().map(settings).collect()
}

/// A store's settings, and the URL of an object in it; `None` for a disabled one.
fn kind(store: &Store, around: &Around<'_>) -> Option<(StoreKind, String)> {
    match &store.kind {
        Typed::Disabled => None,
        Typed::Stdout(typed) => Some((StoreKind::Stdout(resource(typed), Severity::Trace), STDOUT_URL.to_owned())),
        Typed::Otel(typed) => Some(otlp::settle(typed, store.span, around)),
        Typed::S3(typed) => {
            let (settings, url) = s3::settle(typed, around);
            Some((StoreKind::S3(Box::new(settings)), url))
        }
    }
}

/// The store's queue on disk; `None` for a store that is not reached over a network.
fn queue(store: &Store, kind: &StoreKind, around: &Around<'_>) -> Option<QueueSettings> {
    let typed = store.queue.as_ref();
    match kind {
        StoreKind::Stdout(..) => {
            if let Some(typed) = typed {
                let message = "this has no effect: standard output has no queue on disk";
                around.out.note(typed.span, message, "remove it, or choose another `protocol`");
            }
            return None;
        }
        StoreKind::Otlp(_) | StoreKind::S3(_) => {}
    }
    let default = QueueSettings::default();
    let whole = |at: Option<&At<u64>>, default| at.map_or(default, |at| at.value);
    Some(QueueSettings {
        max_bytes: whole(typed.and_then(|typed| typed.max_bytes.as_ref()), default.max_bytes),
        max_records: whole(typed.and_then(|typed| typed.max_records.as_ref()), default.max_records),
        when_full: typed.and_then(|typed| typed.when_full.as_ref()).map_or(default.when_full, |at| at.value),
        fsync: typed.and_then(|typed| typed.fsync.as_ref()).map_or(default.fsync, |at| at.value),
    })
}

/// The resource under which a store's records are exported.
pub(crate) fn resource(typed: &Resource) -> ResourceSettings {
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone()).filter(|text| !text.is_empty());
    ResourceSettings {
        service_name: text(&typed.service_name).unwrap_or_else(|| "qtap".to_owned()),
        environment: text(&typed.environment),
        attributes: typed.attributes.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect(),
    }
}
