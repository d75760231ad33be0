//! Finds texts as whole words, in any case of any script.
//!
//! A word is a run of letters, digits and their marks. Two words are equal when their compatibility decompositions are
//! equal after full case folding. Han, Hiragana and the scripts of South-East Asia are written without spaces; in these
//! scripts every character is a word.

use std::collections::{BTreeSet, HashMap};

use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;

use super::Span;

/// Longest gap between two words of one text, in characters: `12 Oak Ave` matches `12, OAK AVE`.
const LONGEST_GAP: usize = 3;

/// Texts to find, by their first word.
pub(super) struct PhraseFinder(HashMap<String, Vec<Phrase>>);

/// A text without its first word, which is the key.
struct Phrase {
    rest: Vec<String>,
    /// The characters before the first word and after the last, which are also replaced where Walmart repeats them.
    lead: String,
    tail: String,
}

/// A word of a text, with its position.
struct FoldedWord {
    start: usize,
    end: usize,
    folded: String,
}

impl PhraseFinder {
    pub(super) fn new(texts: &BTreeSet<String>) -> Self {
        let mut phrases = HashMap::<String, Vec<Phrase>>::new();
        for text in texts {
            let mut words = words(text).into_iter();
            let Some(first) = words.next() else { continue };
            let lead = text[..first.start].trim_start().to_owned();
            let rest: Vec<FoldedWord> = words.collect();
            let end = rest.last().map_or(first.end, |last| last.end);
            let tail = text[end..].trim_end().to_owned();
            let rest = rest.into_iter().map(|word| word.folded).collect();
            phrases.entry(first.folded).or_default().push(Phrase { rest, lead, tail });
        }
        Self(phrases)
    }

    pub(super) fn find(&self, text: &str) -> Vec<Span> {
        let words = words(text);
        let mut spans = Vec::new();
        for (at, word) in words.iter().enumerate() {
            for phrase in self.0.get(&word.folded).into_iter().flatten() {
                let Some(end) = phrase.end(text, &words[at..]) else { continue };
                let start = word.start - if text[..word.start].ends_with(&phrase.lead) { phrase.lead.len() } else { 0 };
                let end = end + if text[end..].starts_with(&phrase.tail) { phrase.tail.len() } else { 0 };
                spans.push((start, end));
            }
        }
        spans
    }
}

impl Phrase {
    /// The end of the phrase if the phrase starts at the first of `words`.
    fn end(&self, text: &str, words: &[FoldedWord]) -> Option<usize> {
        let [first, others @ ..] = words else { return None };
        let mut end = first.end;
        if others.len() < self.rest.len() {
            return None;
        }
        for (wanted, word) in self.rest.iter().zip(others) {
            if word.folded != *wanted || text[end..word.start].chars().count() > LONGEST_GAP {
                return None;
            }
            end = word.end;
        }
        Some(end)
    }
}

/// How the characters of a script form words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ScriptSpacing {
    /// Neighbours of the same kind form one word.
    Spaced,
    /// As `Spaced`, except that a neighbour of a different kind starts a word, because Japanese mixes scripts without
    /// spaces.
    Katakana,
    /// Every character is a word.
    Unspaced,
}

fn words(text: &str) -> Vec<FoldedWord> {
    let marks = CanonicalCombiningClassMapBorrowed::new();
    let mut words: Vec<FoldedWord> = Vec::new();
    let mut open = None;
    for (at, c) in text.char_indices() {
        let after = at + c.len_utf8();
        let is_mark = marks.get_u8(c) != 0;
        let spacing = (is_mark || c.is_alphanumeric()).then(|| spacing(c));
        match (spacing, words.last_mut()) {
            (Some(spacing), Some(word))
                if open.is_some() && (is_mark || (open == Some(spacing) && spacing != ScriptSpacing::Unspaced)) =>
            {
                word.end = after;
            }
            (Some(spacing), _) => {
                words.push(FoldedWord { start: at, end: after, folded: String::new() });
                open = Some(spacing);
            }
            (None, _) => open = None,
        }
    }
    for word in &mut words {
        word.folded = fold(&text[word.start..word.end]);
    }
    words
}

fn spacing(c: char) -> ScriptSpacing {
    match u32::from(c) {
        0x30A0..=0x30FF | 0x31F0..=0x31FF | 0xFF66..=0xFF9F => ScriptSpacing::Katakana,
        // Thai and Lao; Myanmar; Khmer; Hiragana; Han.
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x309F | 0x3400..=0x4DBF | 0x4E00..=0x9FFF => {
            ScriptSpacing::Unspaced
        }
        0xF900..=0xFAFF | 0x20000..=0x3FFFF => ScriptSpacing::Unspaced,
        _ => ScriptSpacing::Spaced,
    }
}

/// Folds a word for comparison. Lower case of upper case of lower case is full case folding for every character (`ẞ` to
/// `ß` to `SS` to `ss`), and maps the dotless `ı` to `i`. The combining dot above an `i`, which Turkish keeps in upper
/// case, is dropped.
fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for c in DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(word.chars()) {
        for c in c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase) {
            if c != '\u{307}' || !folded.ends_with('i') {
                folded.push(c);
            }
        }
    }
    folded
}
