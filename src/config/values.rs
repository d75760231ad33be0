//! Parses a value from a node of the settings tree. Errors state the required form, and never repeat the value, which
//! may be a secret.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::fault::SettingSource;
use super::sections::GrpcListen;
use super::tree::{RawValue, SettingNode};
use crate::domain::timestamp::Timestamp;

pub(super) type Parsed<T> = Result<T, String>;

/// Longest duration. Longer values are mistakes, and sums with points in time stay far from overflow.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Units of durations in milliseconds, largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

pub(super) fn text(node: &SettingNode) -> Parsed<String> {
    match &node.raw {
        RawValue::Text(text) | RawValue::Words(text) => Ok(text.clone()),
        other => Err(format!("must be text in quotes, is {}", other.kind())),
    }
}

/// Parses text allowed in a header.
pub(super) fn word(node: &SettingNode) -> Parsed<String> {
    let word = text(node)?;
    if word.is_empty() {
        return Err("must not be empty".into());
    }
    let visible = word.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && word.trim() == word;
    if visible { Ok(word) } else { Err("must be visible ASCII characters, without spaces at its ends".into()) }
}

pub(super) fn path(node: &SettingNode) -> Parsed<PathBuf> {
    let path = text(node)?;
    if path.is_empty() { Err("must not be empty".into()) } else { Ok(path.into()) }
}

pub(super) fn flag(node: &SettingNode) -> Parsed<bool> {
    match &node.raw {
        RawValue::Flag(flag) => Ok(*flag),
        RawValue::Words(words) if words == "true" => Ok(true),
        RawValue::Words(words) if words == "false" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

pub(super) fn count(node: &SettingNode) -> Parsed<NonZeroU32> {
    let number = match &node.raw {
        RawValue::Integer(number) => *number,
        RawValue::Words(words) => words.parse().map_err(|_| "must be a whole number")?,
        other => return Err(format!("must be a whole number, is {}", other.kind())),
    };
    if number < 1 {
        return Err("must be at least 1".into());
    }
    u32::try_from(number).ok().and_then(NonZeroU32::new).ok_or_else(|| format!("must be at most {}", u32::MAX))
}

/// Parses a number from 0 to 1.
pub(super) fn ratio(node: &SettingNode) -> Parsed<f64> {
    let number = match &node.raw {
        RawValue::Float(number) => *number,
        RawValue::Integer(number) => *number as f64,
        RawValue::Words(words) => words.parse().map_err(|_| "must be a number from 0 to 1")?,
        other => return Err(format!("must be a number from 0 to 1, is {}", other.kind())),
    };
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("must be from 0 to 1".into()) }
}

/// Parses a choice of fixed words.
pub(super) fn choice<T: Copy>(node: &SettingNode, choices: &[(&str, T)]) -> Parsed<T> {
    let given = text(node).ok();
    let found = choices.iter().find(|(name, _)| Some(*name) == given.as_deref()).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        format!("must be one of {}", names.join(", "))
    })
}

/// Parses a duration, possibly zero.
pub(super) fn duration(node: &SettingNode) -> Parsed<Duration> {
    let form = r#"must be a whole number with a unit (ms, s, m, h, d), such as "250ms" or "30s""#;
    let text = text(node).map_err(|_| form)?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(form)?;
    if number.is_empty() {
        return Err(form.into());
    }
    let whole = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*millis)).map(Duration::from_millis);
    whole.filter(|d| *d <= LONGEST).ok_or_else(|| "must be at most 3650d".into())
}

/// Parses a duration above zero.
pub(super) fn span(node: &SettingNode) -> Parsed<Duration> {
    let span = duration(node)?;
    if span.is_zero() { Err("must be more than zero".into()) } else { Ok(span) }
}

/// Writes a duration for [`duration`], in the largest unit without a remainder.
pub(super) fn write_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".into();
    }
    let fits = UNITS.iter().find(|(_, unit)| millis.is_multiple_of(u128::from(*unit)));
    fits.map_or_else(|| format!("{millis}ms"), |(name, unit)| format!("{}{name}", millis / u128::from(*unit)))
}

/// Parses a point in time: RFC 3339 with offset, as text or as a TOML date.
pub(super) fn time(node: &SettingNode) -> Parsed<Timestamp> {
    let form = r#"must be a time with its offset from UTC, such as "2026-11-30T18:00:00Z""#;
    let text = match &node.raw {
        RawValue::Text(text) | RawValue::Words(text) | RawValue::Date(text) => text,
        _ => return Err(form.into()),
    };
    let time: jiff::Timestamp = text.parse().map_err(|_| form)?;
    u64::try_from(time.as_millisecond()).map(Timestamp).map_err(|_| "must not be before 1970".into())
}

/// Writes a point in time for [`time`].
pub(super) fn write_time(time: Timestamp) -> String {
    let time = i64::try_from(time.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    time.unwrap_or(jiff::Timestamp::MAX).to_string()
}

pub(super) fn address(node: &SettingNode) -> Parsed<SocketAddr> {
    listen_address(&text(node)?)
}

/// Parses an address and a port to listen on. `localhost` is 127.0.0.1; other names are not looked up.
///
/// # Errors
/// The message states the required form.
pub fn listen_address(text: &str) -> Parsed<SocketAddr> {
    let form = r#"must be an address and a port, such as "127.0.0.1:8080", "localhost:8080" or "[::]:8080""#;
    match text.rsplit_once(':') {
        Some((host, port)) if host.eq_ignore_ascii_case("localhost") => {
            // A sign would be taken by `parse`.
            let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            let port = digits.then(|| port.parse().ok()).flatten().ok_or(form)?;
            Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        }
        _ => text.parse().map_err(|_| form.into()),
    }
}

/// Parses the address of the gRPC listener, which may be the path of a Unix socket after `unix:`.
pub(super) fn grpc_listen(node: &SettingNode) -> Parsed<GrpcListen> {
    let text = text(node)?;
    match text.strip_prefix("unix:") {
        Some(path) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() { Err("must name a file after unix:".into()) } else { Ok(GrpcListen::Unix(path.into())) }
        }
        None => listen_address(&text).map(GrpcListen::Tcp).map_err(|form| format!("{form}, or unix:PATH")),
    }
}

/// Parses an http or https URL without credentials, query and fragment.
pub(super) fn web_address(node: &SettingNode) -> Parsed<Url> {
    let url = Url::parse(&text(node)?).map_err(|error| format!("must be an address such as https://host ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain credentials".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not contain a query or a fragment".into());
    }
    Ok(url)
}

/// Parses the path of a URL, without a slash at its end.
pub(super) fn url_path(node: &SettingNode) -> Parsed<String> {
    let path = text(node)?;
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    match path.strip_prefix('/') {
        Some(parts) if parts.split('/').all(word) => Ok(path),
        _ => Err("must be a path such as /v3/orders, of letters, digits, - . _ ~ and single slashes".into()),
    }
}

/// Parses a list; in a variable, items are separated by commas. Not for secrets, which may contain commas.
pub(super) fn list<T>(node: &SettingNode, item: impl Fn(&SettingNode) -> Parsed<T>) -> Parsed<Vec<T>> {
    match &node.raw {
        RawValue::List(items) => items.iter().map(item).collect(),
        RawValue::Words(words) if words.trim().is_empty() => Ok(Vec::new()),
        RawValue::Words(words) => words
            .split(',')
            .map(|word| item(&SettingNode { at: SettingSource::Nowhere, raw: RawValue::Words(word.trim().to_owned()) }))
            .collect(),
        other => Err(format!("must be a list, is {}", other.kind())),
    }
}

/// Parses a list, or a single item as a list. The list must not be empty.
pub(super) fn one_or_more<T>(node: &SettingNode, item: impl Fn(&SettingNode) -> Parsed<T>) -> Parsed<Vec<T>> {
    let items = match &node.raw {
        RawValue::List(_) | RawValue::Words(_) => list(node, item)?,
        _ => vec![item(node)?],
    };
    if items.is_empty() { Err("must not be empty".into()) } else { Ok(items) }
}
