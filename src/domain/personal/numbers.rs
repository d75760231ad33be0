//! Finds telephone numbers and other long numbers in any grouping of digits: `555-111-2222` matches `+1 (555) 111
//! 2222`.

use std::collections::BTreeSet;

use super::Span;

/// Digits of the shortest number that is searched for. Shorter numbers are found as words.
const SHORTEST: usize = 7;
/// Digits of the longest number: international numbers have at most 15, plus a prefix for calls abroad.
const LONGEST: usize = 20;
/// Longest gap between two groups of digits, in characters: `) - `.
const LONGEST_GAP: usize = 4;
/// Characters that separate groups of digits.
const SEPARATORS: &str = " \u{a0}\u{202f}\u{2009}-‐‑‒–—−.·()[]/\\+";
/// The zeros of the scripts with decimal digits of their own; the nine digits after zero follow.
const ZEROS: [u32; 17] = [
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50, 0xED0, 0x1040,
    0xFF10,
];

/// Numbers to find, as ASCII digits.
pub(super) struct NumberFinder(Vec<String>);

/// A run of digits without separators.
struct DigitGroup {
    start: usize,
    end: usize,
    digits: String,
    /// Whether only separators stand between this group and the previous group.
    is_joined: bool,
    /// Whether a letter touches the group, which makes the group a part of a word.
    is_in_word: bool,
}

impl NumberFinder {
    /// Takes the digits of every text up to its first letter: `555-111-2222 ext 7`.
    pub(super) fn new(texts: &BTreeSet<String>) -> Self {
        let digits = |text: &String| -> String {
            text.chars().take_while(|c| !c.is_alphabetic()).filter_map(digit).take(LONGEST).collect()
        };
        Self(texts.iter().map(digits).filter(|digits| digits.len() >= SHORTEST).collect())
    }

    pub(super) fn find(&self, text: &str) -> Vec<Span> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let groups = groups(text);
        let mut spans = Vec::new();
        for (first, from) in groups.iter().enumerate() {
            let mut digits = String::new();
            for (nth, group) in groups[first..].iter().enumerate() {
                digits.push_str(&group.digits);
                if group.is_in_word || (nth > 0 && !group.is_joined) || digits.len() > LONGEST {
                    break;
                }
                if self.0.iter().any(|number| is_same(number, &digits, from, &text[..from.start])) {
                    spans.push((begin(text, from.start, group.end), group.end));
                }
            }
        }
        spans
    }
}

/// Whether `digits`, starting at the group `from`, are `number`: with an additional country code, or without the area
/// code.
fn is_same(number: &str, digits: &str, from: &DigitGroup, before: &str) -> bool {
    if digits.len() >= SHORTEST && number.ends_with(digits) {
        return true;
    }
    let Some(code) = digits.strip_suffix(number) else { return false };
    // A separate number in front, such as an order number, is no country code.
    let is_attached = from.digits.len() > code.len();
    let is_code = is_attached || before.ends_with('+') || matches!(code, "0" | "1") || code.starts_with("00");
    is_code && code.len() <= if code.starts_with('0') { 5 } else { 3 }
}

/// The start of a number, including a sign and an opening bracket that belong to the number.
fn begin(text: &str, start: usize, end: usize) -> usize {
    let mut begin = start;
    for (sign, closed_by) in [('+', None), ('(', Some(')')), ('[', Some(']')), ('+', None)] {
        let belongs = closed_by.is_none_or(|closed_by| text[begin..end].contains(closed_by));
        if belongs && text[..begin].ends_with(sign) {
            begin -= sign.len_utf8();
        }
    }
    begin
}

fn groups(text: &str) -> Vec<DigitGroup> {
    let mut groups: Vec<DigitGroup> = Vec::new();
    let mut before: Option<char> = None;
    for (at, c) in text.char_indices() {
        let after = at + c.len_utf8();
        match (digit(c), groups.last_mut()) {
            (Some(digit), Some(group)) if group.end == at => {
                group.digits.push(digit);
                group.end = after;
            }
            (Some(digit), last) => {
                let is_joined = last.is_some_and(|last| {
                    let gap = &text[last.end..at];
                    gap.chars().count() <= LONGEST_GAP && gap.chars().all(|c| SEPARATORS.contains(c))
                });
                let is_in_word = before.is_some_and(char::is_alphabetic);
                groups.push(DigitGroup { start: at, end: after, digits: digit.into(), is_joined, is_in_word });
            }
            (None, Some(group)) if group.end == at => group.is_in_word |= c.is_alphabetic(),
            (None, _) => {}
        }
        before = Some(c);
    }
    groups
}

/// The ASCII form of a decimal digit of any script.
fn digit(c: char) -> Option<char> {
    let c = u32::from(c);
    let value = ZEROS.iter().find_map(|zero| c.checked_sub(*zero).filter(|value| *value < 10))?;
    char::from_digit(value, 10)
}
