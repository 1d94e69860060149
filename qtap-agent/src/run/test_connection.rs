//! `qtap test-connection`: sends one sample record or object to each store.

use super::{Failure, VERSION, runtime};
use crate::cli::exit;
use crate::config::Settings;
use crate::export::stdout::Output;
use crate::export::store;

/// Sends the samples, only to the store with this id if one is given, and prints the result of each. Returns the exit code.
///
/// # Errors
/// [`Failure`] if there is no such store.
pub fn test_connection(settings: &Settings, id: Option<&str>, say: &mut dyn FnMut(&str)) -> Result<u8, Failure> {
    let runtime = runtime()?;
    let (mut asked, mut refused) = (0, 0);
    for store in settings.stores.iter().filter(|store| id.is_none_or(|id| id == store.id)) {
        asked += 1;
        match runtime.block_on(store::test_connection(store, VERSION, &Output::stdout())) {
            Ok(()) => say(&format!("{}: accepted", store.id)),
            Err(why) => {
                refused += 1;
                say(&format!("{}: {why}", store.id));
            }
        }
    }
    if asked == 0 {
        let ids: Vec<&str> = settings.stores.iter().map(|store| store.id.as_str()).collect();
        let there =
            if ids.is_empty() { "the config has none".to_owned() } else { format!("there are: {}", ids.join(", ")) };
        return Err(anyhow::anyhow!("no store to test: {there}").into());
    }
    Ok(if refused == 0 { exit::OK } else { exit::FAILED })
}
