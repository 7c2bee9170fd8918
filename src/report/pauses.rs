//! What came of a pause and of its end, in words.

use crate::pause::{Pause, PauseScope, Pauses};

/// What a person can do about a pause.
pub const END_OF_PAUSE: &str = "nothing is lost: what waits is synced after `keap-intercom-sync resume`, or after the button Resume on the page";

/// What came of a pause. `is_new`: it was not paused before.
pub fn paused(is_new: bool, pauses: &Pauses, scope: PauseScope) -> String {
    let subject = capital(&scope.in_words());
    match pauses.0.iter().find(|pause| pause.scope == scope) {
        Some(pause) if is_new => format!("{}.", capital(&pause.in_words())),
        Some(pause) => format!("Already so: {}.", pause.in_words()),
        // Somebody has ended it in the same moment.
        None => format!("{subject} is not paused any more."),
    }
}

/// What came of a resume. `left`: what is still paused.
pub fn resumed(ended: &[Pause], left: &Pauses) -> String {
    let ended: Vec<String> = ended.iter().map(|pause| pause.scope.in_words()).collect();
    let first = match ended.as_slice() {
        [] => "Nothing of that kind was paused.".to_owned(),
        ended => format!("Resumed: {}.", ended.join(", ")),
    };
    let left: Vec<String> = left.0.iter().map(Pause::in_words).collect();
    match left.as_slice() {
        [] => first,
        left => format!("{first} Still paused: {}.", left.join("; ")),
    }
}

/// A sentence with a capital letter.
pub fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}
