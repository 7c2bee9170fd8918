//! The walk: pages through a frozen window of Keap contacts by id, so that edits during the walk skip nothing.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::poison;
use crate::contact::KeapId;
use crate::keap::{KeapClient, Page, PageQuery, Place, Row, Show};
use crate::remote::{Failure, Lane};
use crate::store::Walk;
use crate::sync::outcome::Halt;
use uuid::Uuid;

/// No walk has more contacts than this; one that seems to is going round in circles.
const MOST_CONTACTS: usize = 200_000_000;

/// Reads pages of walks and remembers what Keap refuses.
pub struct Walker {
    keap: Arc<KeapClient>,
    page_size: usize,
    show: Show,
    /// Smaller than `page_size` while Keap fails on whole pages.
    size_now: AtomicUsize,
    /// Keap refuses `contact_id>` (or ignores it): pages are asked for by token instead.
    by_token: AtomicBool,
    /// What each walk has passed, by its run.
    trails: Mutex<HashMap<Option<Uuid>, Trail>>,
}

/// What tells a walk that goes round in circles.
#[derive(Default)]
struct Trail {
    pages: usize,
    tokens: HashSet<String>,
    /// The latest of them: a page that is taken again brings it again.
    last_token: Option<String>,
    restarts: usize,
}

/// A walk whose token is refused begins again so often; then tokens live too short for it to end.
const MOST_RESTARTS: usize = 3;

fn endless(how: &str) -> Halt {
    Halt::Feed(format!(
        "a walk over Keap's contacts {how}; it stops, and its cursor stays where it is"
    ))
}

/// One page of a walk.
pub struct Step {
    pub rows: Vec<Row>,
    /// Where the walk goes on; `None` when it has ended.
    pub next: Option<Walk>,
}

/// A token that stands for the first page, where the place is a token.
const FIRST: &str = "";

impl Walker {
    pub fn new(keap: Arc<KeapClient>, page_size: usize, show: Show) -> Self {
        Self {
            keap,
            page_size,
            show,
            size_now: AtomicUsize::new(page_size),
            by_token: AtomicBool::new(false),
            trails: Mutex::default(),
        }
    }

    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// Reads the page after the walk's place.
    pub async fn step(&self, lane: Lane, walk: &Walk) -> Result<Step, Halt> {
        let pages = {
            let mut trails = self.trails();
            let trail = trails.entry(walk.run_id).or_default();
            trail.pages += 1;
            trail.pages
        };
        if pages > MOST_CONTACTS / self.page_size {
            return Err(endless("has more pages than it can have contacts"));
        }
        let step = self.step_somehow(lane, walk).await?;
        if step.next.is_none() {
            self.trails().remove(&walk.run_id);
        }
        Ok(step)
    }

    fn trails(&self) -> MutexGuard<'_, HashMap<Option<Uuid>, Trail>> {
        // A trail is a bound, not a place: half an entry is one page more or less.
        self.trails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn step_somehow(&self, lane: Lane, walk: &Walk) -> Result<Step, Halt> {
        if walk.page_token.is_none() && !self.by_token.load(Ordering::Relaxed) {
            match self.step_by_id(lane, walk).await? {
                Some(step) => return Ok(step),
                None => {
                    self.by_token.store(true, Ordering::Relaxed);
                    tracing::warn!(
                        "Keap does not page by contact id here; from now on its page tokens are used."
                    );
                }
            }
        }
        self.step_by_token(lane, walk).await
    }

    /// `None` when Keap refuses to be asked so.
    async fn step_by_id(&self, lane: Lane, walk: &Walk) -> Result<Option<Step>, Halt> {
        let mut rows = Vec::new();
        let mut last = walk.last_id;
        loop {
            let Some(page) = self.read(lane, walk, last).await? else {
                return Ok(None);
            };
            let Some(ids) = growing(&page.rows, last) else {
                return Ok(None);
            };
            let short = page.rows.len() < self.size_now.load(Ordering::Relaxed).min(self.page_size);
            let empty = page.rows.is_empty();
            // The end is believed when an empty page follows a short one, or another empty one: a page may be short,
            // or empty once, for reasons of Keap's own.
            let ended = empty
                && (!rows.is_empty()
                    || self
                        .read(lane, walk, last)
                        .await?
                        .is_some_and(|again| again.rows.is_empty()));
            last = ids.or(last);
            rows.extend(page.rows);
            if ended {
                return Ok(Some(Step { rows, next: None }));
            }
            if !short || rows.len() >= self.page_size {
                self.grow();
                return Ok(Some(Step {
                    rows,
                    next: Some(Walk {
                        last_id: last,
                        ..walk.clone()
                    }),
                }));
            }
        }
    }

    /// Reads one page after `last`; on a page that Keap cannot show, ever smaller ones, down to the contact that is in the way.
    async fn read(
        &self,
        lane: Lane,
        walk: &Walk,
        last: Option<KeapId>,
    ) -> Result<Option<Page>, Halt> {
        let mut found_nobody = 0;
        loop {
            let size = self
                .size_now
                .load(Ordering::Relaxed)
                .clamp(1, self.page_size);
            let query = self.query(walk, last.map_or(Place::Start, Place::After), size);
            match self.keap.page(lane, &query).await {
                Ok(page) => return Ok(Some(page)),
                Err(Failure::Never { .. }) => return Ok(None),
                Err(Failure::Again { why, .. }) if self.keap_answers(lane).await => {
                    if size > 1 {
                        tracing::debug!(why, size, "Keap failed on a page; trying a smaller one.");
                        self.size_now.store(size / 2, Ordering::Relaxed);
                        continue;
                    }
                    let query = |up_to| PageQuery {
                        up_to: Some(up_to),
                        ..query.clone()
                    };
                    let id = poison::find(&self.keap, lane, last, query)
                        .await
                        .map_err(Halt::of_reading)?;
                    let Some(id) = id else {
                        found_nobody += 1;
                        if found_nobody > 2 {
                            return Err(Halt::of_reading(Failure::again(why)));
                        }
                        continue;
                    };
                    tracing::warn!(
                        keap.contact_id = id.get(),
                        "Keap cannot list this contact; it is set aside and the walk goes on behind it."
                    );
                    let row = Row::Unreadable {
                        id: Some(id),
                        updated_at: None,
                        why: "Keap fails on every page that holds this contact".into(),
                    };
                    return Ok(Some(Page {
                        rows: vec![row],
                        next_token: None,
                        date: None,
                    }));
                }
                Err(failure) => return Err(Halt::of_reading(failure)),
            }
        }
    }

    /// The query of a walk's page. Whether Keap's end bound includes its own instant is unknown, so it is sent one second higher.
    fn query(&self, walk: &Walk, place: Place, page_size: usize) -> PageQuery {
        PageQuery {
            from: walk.start,
            until: walk.end.map(|end| end + TimeDelta::seconds(1)),
            place,
            up_to: None,
            page_size,
            show: self.show,
        }
    }

    /// Tells a page that fails from a Keap that fails.
    pub async fn keap_answers(&self, lane: Lane) -> bool {
        self.ask_for_nobody(lane).await.is_ok()
    }

    /// A page that holds no contact, whatever is wrong with some of them.
    pub async fn ask_for_nobody(&self, lane: Lane) -> Result<Page, Failure> {
        let place = KeapId::new(i64::MAX).map_or(Place::Start, Place::After);
        self.keap
            .page(
                lane,
                &PageQuery {
                    from: None,
                    until: None,
                    place,
                    up_to: None,
                    page_size: 1,
                    show: Show::Stamp,
                },
            )
            .await
    }

    fn grow(&self) {
        let size = self.size_now.load(Ordering::Relaxed);
        self.size_now
            .store((size.max(1) * 2).min(self.page_size), Ordering::Relaxed);
    }

    async fn step_by_token(&self, lane: Lane, walk: &Walk) -> Result<Step, Halt> {
        let token = walk.page_token.clone().unwrap_or_default();
        let place = if token == FIRST {
            Place::Start
        } else {
            Place::Token(token.clone())
        };
        // Without an upper bound: a contact that is edited during the walk stays in the list, so no other one shifts.
        let asked = PageQuery {
            until: None,
            ..self.query(walk, place, self.page_size)
        };
        let page = match self.keap.page(lane, &asked).await {
            Ok(page) => page,
            Err(Failure::Never { why }) if token != FIRST => {
                tracing::warn!(
                    why,
                    "Keap no longer takes this page token; the window is walked again from its beginning."
                );
                let restarts = {
                    let mut trails = self.trails();
                    let trail = trails.entry(walk.run_id).or_default();
                    trail.restarts += 1;
                    trail.tokens.clear();
                    trail.restarts
                };
                if restarts > MOST_RESTARTS {
                    // A later look begins to count anew.
                    self.trails().remove(&walk.run_id);
                    return Err(endless("is refused its page tokens again and again"));
                }
                return Ok(Step {
                    rows: Vec::new(),
                    next: Some(Walk {
                        page_token: Some(FIRST.into()),
                        last_id: None,
                        ..walk.clone()
                    }),
                });
            }
            Err(failure) => return Err(Halt::of_reading(failure)),
        };
        let known = |token: &String| {
            let mut trails = self.trails();
            let trail = trails.entry(walk.run_id).or_default();
            let known =
                !trail.tokens.insert(token.clone()) && trail.last_token.as_ref() != Some(token);
            trail.last_token = Some(token.clone());
            known
        };
        let next = match page.next_token {
            Some(next) if next == token || known(&next) => {
                self.trails().remove(&walk.run_id);
                return Err(endless("got the same page token twice"));
            }
            Some(next) => Some(Walk {
                page_token: Some(next),
                last_id: None,
                ..walk.clone()
            }),
            None => None,
        };
        Ok(Step {
            rows: page.rows,
            next,
        })
    }
}

/// The last id of rows whose ids grow beyond `after`; `None` when they do not. An empty page has no last id.
#[expect(
    clippy::option_option,
    reason = "refused, or in order with perhaps no row"
)]
fn growing(rows: &[Row], after: Option<KeapId>) -> Option<Option<KeapId>> {
    let mut last = after;
    let mut newest = None;
    for id in rows.iter().filter_map(Row::id) {
        if last.is_some_and(|last| id <= last) {
            return None;
        }
        last = Some(id);
        newest = Some(id);
    }
    Some(newest)
}

/// The newest update stamp of some rows.
pub fn newest_stamp(rows: &[Row]) -> Option<DateTime<Utc>> {
    rows.iter().filter_map(Row::updated_at).max()
}
