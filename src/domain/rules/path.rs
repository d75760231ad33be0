//! Paths of fields in a request. A path costs nothing until a fault is written out.

use std::fmt;

/// The path of a field in a request.
#[derive(Clone, Copy, Debug)]
pub enum FieldPath<'a> {
    /// A field of the request itself.
    Top(&'static str),
    /// A field of the message at the parent path.
    Field(&'a FieldPath<'a>, &'static str),
    /// An element of the list at the parent path, counted from 0.
    Index(&'a FieldPath<'a>, usize),
}

impl<'a> FieldPath<'a> {
    /// The path of a field of this message.
    pub fn field(&'a self, name: &'static str) -> FieldPath<'a> {
        FieldPath::Field(self, name)
    }

    /// The path of an element of this list.
    pub fn index(&'a self, index: usize) -> FieldPath<'a> {
        FieldPath::Index(self, index)
    }
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldPath::Top(name) => f.write_str(name),
            FieldPath::Field(parent, name) => write!(f, "{parent}.{name}"),
            FieldPath::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
