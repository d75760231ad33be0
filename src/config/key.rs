//! What a key is: its name, what it takes, what holds without it. All of them stand in `keys`.

/// A key of a section.
pub(super) struct SettingKey {
    pub(super) name: &'static str,
    pub(super) kind: ValueKind,
    pub(super) preset: DefaultValue,
    pub(super) doc: &'static str,
}

impl SettingKey {
    /// Whether its value is never shown, and may be given by a file under `name_file`.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, ValueKind::Secret | ValueKind::Secrets)
    }
}

/// What its value may be; a test holds the readers (`load`) to it.
#[derive(Clone, Copy)]
pub(super) enum ValueKind {
    /// Text, to which the documentation may set rules.
    Text,
    /// Any number of them.
    Texts,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A whole number from 1, and what it counts.
    Count(&'static str),
    /// 0 to 1.
    Share,
    /// May be zero.
    Duration,
    /// A duration that is not zero.
    Span,
    /// Any number of them.
    Spans,
    /// A moment: RFC 3339 with its offset, as text or as a TOML date.
    Time,
    /// IP address and port.
    Address,
    /// Of http or https.
    Url,
    /// The path of a file that is read again when it changes.
    File,
    /// Text that is never shown.
    Secret,
    /// One or more of them.
    Secrets,
}

/// What holds when a key is not set.
#[derive(Clone, Copy)]
pub(super) enum DefaultValue {
    /// This value, as TOML.
    Is(&'static str),
    /// No value; the text is an example, as TOML.
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
