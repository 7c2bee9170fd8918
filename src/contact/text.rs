//! Text in its one spelling, so that a text that is typed in two ways has one fingerprint.

use std::borrow::Cow;

use icu_properties::props::{DefaultIgnorableCodePoint, Emoji, Ideographic, VariationSelector};
use icu_properties::{CodePointSetData, CodePointSetDataBorrowed};
use unicode_normalization::UnicodeNormalization;

/// Characters that show nothing: zero-width blanks, soft hyphens, byte-order and direction marks,
/// joiners, fillers, selectors, tags.
const IGNORABLE: CodePointSetDataBorrowed<'static> =
    CodePointSetData::new::<DefaultIgnorableCodePoint>();
const SELECTORS: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<VariationSelector>();
const EMOJI: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<Emoji>();
const IDEOGRAPHS: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<Ideographic>();

/// Removes invisible characters and the blanks around the text, and composes the rest (NFC).
/// `None`: nothing is left.
///
/// An invisible character stays where a script or an emoji needs it: a joiner between two visible
/// characters, a selector after the emoji or ideograph that it changes, the tags of a flag.
pub fn tidy(text: &str) -> Option<Cow<'_, str>> {
    // Most texts are ASCII, which has nothing to remove and nothing to compose.
    if text.is_ascii() {
        return filled(Cow::Borrowed(text));
    }
    composed(&without_ignorable(text, is_needed))
}

/// As [`tidy`], for texts that no script needs an invisible character in: addresses and numbers.
pub(super) fn tidy_plain(text: &str) -> Option<Cow<'_, str>> {
    if text.is_ascii() {
        return filled(Cow::Borrowed(text));
    }
    composed(&without_ignorable(text, |_, _, _| false))
}

fn composed(text: &str) -> Option<Cow<'static, str>> {
    filled(Cow::Owned(text.nfc().collect()))
}

fn filled(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let trimmed = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    (!trimmed.is_empty()).then_some(trimmed)
}

/// The text without ignorable characters, except those that `stays` keeps. `stays` sees the last
/// character that was kept, the ignorable one, and the rest of the text.
fn without_ignorable(text: &str, stays: impl Fn(char, char, &str) -> bool) -> Cow<'_, str> {
    if !text.chars().any(is_ignorable) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut last = None;
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        if !is_ignorable(c) || last.is_some_and(|last| stays(last, c, rest)) {
            kept.push(c);
            last = Some(c);
        }
    }
    Cow::Owned(kept)
}

fn is_ignorable(c: char) -> bool {
    // Annotation marks show nothing either, though Unicode does not give them the property.
    !c.is_ascii() && (IGNORABLE.contains(c) || matches!(c, '\u{fff9}'..='\u{fffb}'))
}

/// Whether a script or an emoji needs this ignorable character here.
fn is_needed(last: char, c: char, rest: &str) -> bool {
    let is_mongolian = |c: char| matches!(c, '\u{1800}'..='\u{18af}') && !is_ignorable(c);
    match c {
        // Zero-width non-joiner and joiner.
        '\u{200c}' | '\u{200d}' => {
            let next = rest.chars().find(|c| !is_ignorable(*c));
            let is_visible = |c: char| !c.is_whitespace() && !c.is_control();
            !matches!(last, '\u{200c}' | '\u{200d}')
                && is_visible(last)
                && next.is_some_and(is_visible)
        }
        // The Mongolian vowel separator.
        '\u{180e}' => is_mongolian(last) && rest.starts_with(is_mongolian),
        // Mongolian has selectors of its own.
        '\u{180b}'..='\u{180f}' => is_mongolian(last),
        // Text or emoji style. An ASCII character has such a style only inside a keycap.
        '\u{fe0e}' | '\u{fe0f}' => {
            EMOJI.contains(last) && (!last.is_ascii() || rest.starts_with('\u{20e3}'))
        }
        // Variants of Han characters: some names are written with one.
        c if SELECTORS.contains(c) => IDEOGRAPHS.contains(last),
        // The tags after a black flag say whose flag it is.
        '\u{e0020}'..='\u{e007f}' => matches!(last, '\u{1f3f4}' | '\u{e0020}'..='\u{e007e}'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One of each kind: blanks, marks, fillers, joiners, selectors, tags, annotations.
    const INVISIBLE: [char; 24] = [
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{17b4}',
        '\u{180b}',
        '\u{180e}',
        '\u{200b}',
        '\u{200c}',
        '\u{200d}',
        '\u{200e}',
        '\u{200f}',
        '\u{202a}',
        '\u{202e}',
        '\u{2060}',
        '\u{2063}',
        '\u{2069}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{fffa}',
        '\u{1d173}',
        '\u{e0061}',
    ];

    #[test]
    fn invisible_characters_are_removed_wherever_they_stand() {
        for c in INVISIBLE {
            let name = format!("{c}Ann {c} Lee{c}");
            assert_eq!(tidy(&name).as_deref(), Some("Ann  Lee"), "{c:?}");
            let address = format!("{c}a{c}n@b{c}.co{c}");
            assert_eq!(tidy_plain(&address).as_deref(), Some("an@b.co"), "{c:?}");
            assert_eq!((tidy(&c.to_string()), tidy_plain(&format!(" {c}"))), (None, None), "{c:?}");
            if !matches!(c, '\u{200c}' | '\u{200d}') {
                assert_eq!(tidy(&format!("A{c}nn")).as_deref(), Some("Ann"), "{c:?}");
            }
        }
        // Two spellings of one letter, with an invisible character between its parts.
        assert_eq!(tidy("Zoe\u{200b}\u{308}").as_deref(), Some("Zo\u{eb}"));
    }

    #[test]
    fn what_a_script_or_an_emoji_needs_stays() {
        for text in [
            // Persian, Bengali and Sinhala need joiners.
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}",
            "\u{9b0}\u{200d}\u{9cd}\u{9af}",
            "\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}",
            // A family, a heart on fire, a telephone, a keycap, the flag of Wales.
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "Ann \u{2764}\u{fe0f}\u{200d}\u{1f525}",
            "\u{260e}\u{fe0e}",
            "1\u{fe0f}\u{20e3}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
            // A variant of a Japanese family name's first character.
            "\u{845b}\u{e0100}\u{57ce}",
            // Mongolian.
            "\u{1820}\u{180b}\u{1828}\u{180e}\u{1820}",
        ] {
            assert_eq!(tidy(text).as_deref(), Some(text));
        }
        for (text, tidied) in [
            ("Ann\u{200d} Lee\u{200c}", "Ann Lee"),
            ("\u{200d}A\u{200b}\u{200d}\u{200d}B", "A\u{200d}B"),
            ("5\u{fe0f}5", "55"),
            ("e\u{fe0f}\u{301}", "\u{e9}"),
        ] {
            assert_eq!(tidy(text).as_deref(), Some(tidied), "{text:?}");
        }
    }

    /// Words and blanks of several scripts, with invisible characters among them.
    fn texts() -> impl Strategy<Value = String> {
        let visible = prop::sample::select(vec![
            'a',
            'Z',
            '1',
            ' ',
            '\t',
            '\u{a0}',
            '\u{2000}',
            'é',
            '\u{308}',
            '\u{301}',
            '\u{2764}',
            '\u{1f468}',
            '\u{845b}',
            '\u{645}',
            '\u{1820}',
            '\u{1f3f4}',
            '\u{20e3}',
            '\u{1100}',
            '\u{1161}',
            '\u{7}',
        ]);
        let any = prop_oneof![3 => visible, 2 => prop::sample::select(INVISIBLE.to_vec())];
        prop::collection::vec(any, 0..14).prop_map(|chars| chars.into_iter().collect())
    }

    fn tidied(text: &str) -> Option<String> {
        tidy(text).map(Cow::into_owned)
    }

    fn tidied_plain(text: &str) -> Option<String> {
        tidy_plain(text).map(Cow::into_owned)
    }

    /// Composed and trimmed.
    fn expected(text: impl Iterator<Item = char>) -> Option<String> {
        let composed: String = text.nfc().collect();
        Some(composed.trim().to_owned()).filter(|text| !text.is_empty())
    }

    proptest! {
        #[test]
        fn every_text_is_composed_and_trimmed(text in "[ a-zé\u{308}\u{2000}\u{a0}\t]{0,12}") {
            prop_assert_eq!(tidied(&text), expected(text.chars()));
            prop_assert_eq!(tidied_plain(&text), expected(text.chars()));
        }

        #[test]
        fn a_tidy_text_stays_as_it_is(text in texts()) {
            let once = tidied(&text);
            prop_assert_eq!(once.as_deref().and_then(tidied), once);
        }

        #[test]
        fn no_visible_character_is_lost(text in texts()) {
            let visible = expected(text.chars().filter(|c| !is_ignorable(*c)));
            prop_assert_eq!(tidied_plain(&text), visible.clone());
            let tidied = tidied(&text).unwrap_or_default();
            prop_assert_eq!(expected(tidied.chars().filter(|c| !is_ignorable(*c))), visible);
        }
    }
}
