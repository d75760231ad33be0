//! The `OTEL_*` variables. By the specification a value that means nothing is warned about and ignored, as if the
//! variable were not set; so is an empty one.
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::cell::RefCell;
use std::time::Duration;

use percent_encoding::percent_decode_str;

/// Reads variables, and collects the warnings.
pub(super) struct OtelVariables<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    warnings: RefCell<Vec<String>>,
}

impl<'a> OtelVariables<'a> {
    pub(super) fn new(read: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { read, warnings: RefCell::default() }
    }

    /// The warnings so far, a line each. They never repeat a value, which may be a secret.
    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings.into_inner()
    }

    /// Warns about a variable whose value, or a part of it, is ignored.
    pub(super) fn warn(&self, name: &str, why: &str) {
        let line = format!("{name}: ignored, {why}");
        let mut warnings = self.warnings.borrow_mut();
        // Two signals may read the same variable.
        if !warnings.contains(&line) {
            warnings.push(line);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.read)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        let Some(value) = self.get(name) else { return false };
        let is_true = value.eq_ignore_ascii_case("true");
        if !is_true && !value.eq_ignore_ascii_case("false") {
            self.warn(name, "must be true or false");
        }
        is_true
    }

    pub(super) fn millis(&self, name: &str) -> Option<Duration> {
        match self.get(name)?.parse::<u64>() {
            Ok(millis @ 1..) => Some(Duration::from_millis(millis)),
            _ => {
                self.warn(name, "must be milliseconds, at least 1");
                None
            }
        }
    }

    pub(super) fn count(&self, name: &str) -> Option<usize> {
        match self.get(name)?.parse::<usize>() {
            Ok(count @ 1..=1_000_000) => Some(count),
            _ => {
                self.warn(name, "must be 1 to 1000000");
                None
            }
        }
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.get(name)?;
        let found = choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.warn(name, &format!("must be {}", words.join(" or ")));
        }
        found
    }

    /// The words of a list among `known`, each once. Others are warned about; `None` when no word is left.
    pub(super) fn words<'k>(&self, name: &str, known: &[&'k str], expected: &str) -> Option<Vec<&'k str>> {
        let value = self.get(name)?;
        let mut words = Vec::new();
        for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match known.iter().find(|known| **known == word) {
                Some(word) if !words.contains(word) => words.push(*word),
                Some(_) => {}
                None => self.warn(name, expected),
            }
        }
        (!words.is_empty()).then_some(words)
    }

    /// A list of `name=value`, percent-encoded. The whole of it is ignored when any part cannot be read.
    pub(super) fn pairs(&self, name: &str) -> Option<Vec<(String, String)>> {
        let value = self.get(name)?;
        let pairs = value.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(|text| text.into_owned());
            let name = decoded(name).filter(|name| !name.is_empty())?;
            Some((name, decoded(value)?))
        });
        let pairs = pairs.collect::<Option<Vec<_>>>();
        if pairs.is_none() {
            self.warn(name, "must be name=value, separated by commas, percent-encoded");
        }
        pairs
    }
}
