//! Where in a request a fault is. Costs nothing until it is written out.

use std::fmt;

/// A place in a request.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// A field of the request itself.
    Top(&'static str),
    /// A field of the message at another place.
    Field(&'a Path<'a>, &'static str),
    /// An element of the list at another place, from 0.
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// A field of the message here.
    pub fn field(&'a self, name: &'static str) -> Path<'a> {
        Path::Field(self, name)
    }

    /// An element of the list here.
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
