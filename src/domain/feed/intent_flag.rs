//! The flag by which an order, a line or a status entry says that the customer wants to cancel.

/// The value of an intent flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IntentFlag {
    /// The flag is absent, or says no.
    Unset,
    /// The flag says neither yes nor no.
    Unreadable,
    /// The customer wants to cancel.
    Set,
}

impl IntentFlag {
    /// Reads the text of a flag, in any case. Walmart documents no values; "TRUE" was seen.
    pub fn of_text(said: &str) -> Self {
        let said = said.trim();
        let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(said));
        if is(&["true", "yes", "y", "1"]) {
            Self::Set
        } else if is(&["", "false", "no", "n", "0"]) {
            Self::Unset
        } else {
            Self::Unreadable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_read_in_any_case() {
        for said in ["true", "TRUE", "True", " yes ", "Y", "1"] {
            assert_eq!(IntentFlag::of_text(said), IntentFlag::Set, "{said}");
        }
        for said in ["", "  ", "false", "FALSE", "no", "N", "0"] {
            assert_eq!(IntentFlag::of_text(said), IntentFlag::Unset, "{said}");
        }
        for said in ["maybe", "2", "truee", "pending", "null"] {
            assert_eq!(IntentFlag::of_text(said), IntentFlag::Unreadable, "{said}");
        }
        assert!(IntentFlag::Unset < IntentFlag::Unreadable && IntentFlag::Unreadable < IntentFlag::Set);
    }
}
