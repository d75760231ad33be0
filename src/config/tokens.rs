//! Tokens of callers. Tokens are hashed when read, so that the process keeps nothing usable as a token.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, str};

use arc_swap::ArcSwap;
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::files;
use super::secrets::{LONGEST, SecretError};

/// Maximum number of tokens in a file; every call is compared with all tokens.
const MOST: usize = 16;

/// The SHA-256 of a token.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a token as sent after `Bearer `.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Compares in constant time.
    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The tokens of a caller: inline (a single token) or from a file (a token per line). All are accepted, so that
/// callers can switch over gradually. Clones share the tokens, so all clones see a changed file.
#[derive(Clone)]
pub struct ClientTokens(Arc<TokenStore>);

struct TokenStore {
    key: String,
    file: Option<PathBuf>,
    hashes: ArcSwap<Vec<TokenHash>>,
}

impl ClientTokens {
    /// Creates a token which never changes.
    pub fn inline(token: &str) -> Self {
        Self::with(String::new(), None, vec![TokenHash::of(token.as_bytes())])
    }

    /// Creates a token from the value of the setting `key`.
    pub(super) fn checked(key: String, token: String) -> Result<Self, SecretError> {
        let token = Zeroizing::new(token);
        Ok(Self::with(key, None, vec![hash(&token)?]))
    }

    /// Reads the tokens of a file.
    pub(super) fn from_file(key: String, file: PathBuf) -> Result<Self, SecretError> {
        let hashes = hashes(&files::read(&file, LONGEST).map_err(SecretError::Unreadable)?)?;
        Ok(Self::with(key, Some(file), hashes))
    }

    fn with(key: String, file: Option<PathBuf>, hashes: Vec<TokenHash>) -> Self {
        Self(Arc::new(TokenStore { key, file, hashes: ArcSwap::from_pointee(hashes) }))
    }

    /// Whether `sent` is currently valid. Takes the same time for any token.
    pub fn accept(&self, sent: &TokenHash) -> bool {
        self.0.hashes.load().iter().fold(false, |found, good| good.is(sent) | found)
    }

    /// The file of the tokens, if not inline.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Path of the key, such as `clients.oms.token_file`.
    pub(super) fn key(&self) -> &str {
        &self.0.key
    }

    /// Takes over new file content. Fails if any token belongs to `others`. Returns whether the tokens changed.
    pub(super) fn take(&self, content: &[u8], others: &[ClientTokens]) -> Result<bool, SecretError> {
        let new = hashes(content)?;
        if new.iter().any(|hash| others.iter().any(|other| other.accept(hash))) {
            return Err(SecretError::Unfit("contains a token of another client"));
        }
        let old = self.0.hashes.load();
        let same = is_same(&old, &new);
        if !same {
            self.0.hashes.store(Arc::new(new));
        }
        Ok(!same)
    }

    /// Whether the lists have a token in common.
    pub(super) fn overlap(&self, other: &ClientTokens) -> bool {
        self.0.hashes.load().iter().any(|hash| other.accept(hash))
    }
}

impl PartialEq for ClientTokens {
    /// Whether source and current tokens are the same.
    fn eq(&self, other: &Self) -> bool {
        self.file() == other.file() && is_same(&self.0.hashes.load(), &other.0.hashes.load())
    }
}

impl fmt::Debug for ClientTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn is_same(one: &[TokenHash], other: &[TokenHash]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is(other))
}

/// Hashes the tokens of a file, skipping blank lines.
fn hashes(content: &[u8]) -> Result<Vec<TokenHash>, SecretError> {
    if content.len() > LONGEST {
        return Err(SecretError::TOO_LONG);
    }
    let text = str::from_utf8(content).map_err(|_| SecretError::NOT_TEXT)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let hashes = lines.map(hash).collect::<Result<Vec<_>, _>>()?;
    match hashes.len() {
        0 => Err(SecretError::EMPTY),
        1..=MOST => Ok(hashes),
        _ => Err(SecretError::Unfit("must contain at most 16 tokens")),
    }
}

/// Hashes a token without surrounding spaces. Fails for text which cannot follow `Bearer`.
fn hash(text: &str) -> Result<TokenHash, SecretError> {
    let token = text.trim();
    if token.is_empty() {
        return Err(SecretError::EMPTY);
    }
    let visible = token.bytes().all(|b| b.is_ascii_graphic());
    let hash = || TokenHash::of(token.as_bytes());
    visible.then(hash).ok_or(SecretError::Unfit("must be visible ASCII characters without spaces"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(token: &str) -> TokenHash {
        TokenHash::of(token.as_bytes())
    }

    fn from_file(content: &[u8]) -> Result<ClientTokens, SecretError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, content).unwrap();
        ClientTokens::from_file("clients.oms.token_file".into(), file)
    }

    #[test]
    fn every_line_is_a_token() {
        let tokens = from_file(b" old\r\n\n \nnew\t").unwrap();
        for good in ["old", "new"] {
            assert!(tokens.accept(&sent(good)), "{good}");
        }
        for bad in ["", "old\r", "ol", "oldnew", "old\nnew"] {
            assert!(!tokens.accept(&sent(bad)), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_tokens_is_refused() {
        let refused = |content: &[u8]| from_file(content).unwrap_err().to_string();
        assert_eq!(refused(b""), "must not be empty");
        assert_eq!(refused(b"\r\n\n"), "must not be empty");
        assert_eq!(refused(b"a b"), "must be visible ASCII characters without spaces");
        assert_eq!(refused(b"good\nb\tad\n"), "must be visible ASCII characters without spaces");
        assert_eq!(refused(b"\xff"), "must be UTF-8 text");
        assert_eq!(refused(&[b'a'; LONGEST + 1]), "must be at most 64 KiB");
        assert!(from_file("t\n".repeat(MOST).as_bytes()).is_ok());
        assert_eq!(refused("t\n".repeat(MOST + 1).as_bytes()), "must contain at most 16 tokens");
    }

    #[test]
    fn others_tokens_are_not_taken_over() {
        let (tokens, other) = (from_file(b"mine").unwrap(), ClientTokens::inline("theirs"));
        let others = [other.clone()];
        assert!(tokens.take(b"new\ntheirs", &others).is_err());
        assert!(tokens.accept(&sent("mine")) && !tokens.accept(&sent("new")));
        assert!(!tokens.overlap(&other));
        assert!(!tokens.take(b"mine\n", &others).unwrap(), "the same");
        assert!(tokens.take(b"new", &others).unwrap());
        assert!(tokens.accept(&sent("new")) && !tokens.accept(&sent("mine")));
        assert!(tokens.overlap(&ClientTokens::inline("new")));
    }

    #[test]
    fn no_token_shows_in_debug() {
        let token = ClientTokens::inline("canary");
        assert_eq!(format!("{token:?} {:?}", sent("canary")), "[redacted] [redacted]");
    }
}
