//! Describes a key: name, type, default and documentation. `keys` lists all keys.

/// A key of a section.
pub(super) struct SettingKey {
    pub(super) name: &'static str,
    pub(super) kind: ValueKind,
    pub(super) preset: DefaultValue,
    pub(super) doc: &'static str,
}

impl SettingKey {
    /// Whether the value is never shown, and can be given in a file under `name_file`.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, ValueKind::Secret | ValueKind::Secrets)
    }
}

/// The type of a key's value. A test compares the readers in `load` with the types.
#[derive(Clone, Copy)]
pub(super) enum ValueKind {
    /// Text; the documentation may restrict the form.
    Text,
    /// A list of texts.
    Texts,
    /// A choice of fixed words.
    Choice(&'static [&'static str]),
    /// A flag: true or false.
    Flag,
    /// A whole number from 1. The text names the counted unit.
    Count(&'static str),
    /// A number from 0 to 1.
    Share,
    /// A duration, possibly zero.
    Duration,
    /// A duration above zero.
    Span,
    /// A list of durations above zero.
    Spans,
    /// A point in time: RFC 3339 with offset, as text or as a TOML date.
    Time,
    /// IP address and port.
    Address,
    /// An http or https URL.
    Url,
    /// The path of a file, read again when changed.
    File,
    /// Text which is never shown.
    Secret,
    /// A secret, or a list of secrets.
    Secrets,
}

/// The value of a key which is not set.
#[derive(Clone, Copy)]
pub(super) enum DefaultValue {
    /// A default value, as TOML.
    Is(&'static str),
    /// A default value with Postgres, as TOML. Without Postgres the key is refused.
    WithPostgres(&'static str),
    /// No default; the text is an example, as TOML.
    Example(&'static str),
}

pub(super) const fn text(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Text, preset, doc }
}

pub(super) const fn texts(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Texts, preset, doc }
}

pub(super) const fn flag(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Flag, preset, doc }
}

pub(super) const fn share(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Share, preset, doc }
}

pub(super) const fn duration(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Duration, preset, doc }
}

pub(super) const fn span(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Span, preset, doc }
}

pub(super) const fn spans(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Spans, preset, doc }
}

pub(super) const fn time(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Time, preset, doc }
}

pub(super) const fn address(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Address, preset, doc }
}

pub(super) const fn url(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Url, preset, doc }
}

pub(super) const fn file(name: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::File, preset, doc }
}

pub(super) const fn choice(
    name: &'static str,
    words: &'static [&'static str],
    preset: DefaultValue,
    doc: &'static str,
) -> SettingKey {
    SettingKey { name, kind: ValueKind::Choice(words), preset, doc }
}

pub(super) const fn count(name: &'static str, of: &'static str, preset: DefaultValue, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Count(of), preset, doc }
}

pub(super) const fn secret(name: &'static str, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Secret, preset: DefaultValue::Example(r#""…""#), doc }
}

pub(super) const fn secrets(name: &'static str, doc: &'static str) -> SettingKey {
    SettingKey { name, kind: ValueKind::Secrets, preset: DefaultValue::Example(r#""…""#), doc }
}
