//! Paths of fields in a request. A path costs nothing until a fault is written out.

use std::fmt;

/// The path of a field in a request.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// A field of the request itself.
    Top(&'static str),
    /// A field of the message at the parent path.
    Field(&'a Path<'a>, &'static str),
    /// An element of the list at the parent path, counted from 0.
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The path of a field of this message.
    pub fn field(&'a self, name: &'static str) -> Path<'a> {
        Path::Field(self, name)
    }

    /// The path of an element of this list.
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Top(name) => f.write_str(name),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
