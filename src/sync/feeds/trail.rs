//! Trails: what each walk has passed. They reveal a walk that goes in circles.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::sync::result::Halt;

/// No walk has more contacts than this. A walk that seems to goes in circles.
const MAX_CONTACTS: usize = 200_000_000;

/// Times that a walk begins again because Keap refuses its token. After that, tokens expire too
/// soon for the walk to end.
const MAX_RESTARTS: usize = 3;

/// What the walks of one feed have passed, by their run.
#[derive(Default)]
pub(super) struct Trails(HashMap<Option<Uuid>, Trail>);

#[derive(Default)]
struct Trail {
    pages: usize,
    tokens: HashSet<String>,
    /// The newest of them. A page that is read again brings it again.
    last_token: Option<String>,
    restarts: usize,
}

fn endless(how: &str) -> Halt {
    Halt::Feed(format!(
        "a walk over Keap's contacts {how}; it stops, and its cursor stays where it is"
    ))
}

impl Trails {
    /// Counts a page. Fails if the walk has more pages than it can have contacts.
    pub(super) fn pass(&mut self, run: Option<Uuid>, page_size: usize) -> Result<(), Halt> {
        let trail = self.0.entry(run).or_default();
        trail.pages += 1;
        if trail.pages > MAX_CONTACTS / page_size {
            return Err(endless("has more pages than it can have contacts"));
        }
        Ok(())
    }

    /// Stores the token of the next page. Fails if the walk has passed it before.
    pub(super) fn follow(&mut self, run: Option<Uuid>, token: &str) -> Result<(), Halt> {
        let trail = self.0.entry(run).or_default();
        let is_new = trail.tokens.insert(token.to_owned());
        let was_last = trail.last_token.as_deref() == Some(token);
        trail.last_token = Some(token.to_owned());
        if is_new || was_last { Ok(()) } else { Err(self.circle(run)) }
    }

    /// The error of a walk that got a token twice.
    pub(super) fn circle(&mut self, run: Option<Uuid>) -> Halt {
        self.end(run);
        endless("got the same page token twice")
    }

    /// Counts a walk's new beginning. Fails if there are too many.
    pub(super) fn restart(&mut self, run: Option<Uuid>) -> Result<(), Halt> {
        let trail = self.0.entry(run).or_default();
        trail.restarts += 1;
        trail.tokens.clear();
        if trail.restarts > MAX_RESTARTS {
            // A later look counts from the beginning.
            self.end(run);
            return Err(endless("is refused its page tokens again and again"));
        }
        Ok(())
    }

    /// Forgets a walk.
    pub(super) fn end(&mut self, run: Option<Uuid>) {
        self.0.remove(&run);
    }
}
