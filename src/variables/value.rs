//! What variables hold, as it is shown.

/// Why there is no value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Absent {
    /// The compiler keeps it nowhere at this instruction.
    OptimizedOut,
    /// It was in a register that the function called since is free to use.
    NotSaved,
    /// It lies in memory or in a register that the snapshot does not have.
    NotCaptured,
    /// The debug information of it cannot be used, or what is to be followed is no address.
    Unreadable,
    /// The array ends before it.
    PastEnd,
}

impl Absent {
    /// Why, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::OptimizedOut => "optimized out",
            Self::NotSaved => "not saved",
            Self::NotCaptured => "not captured",
            Self::Unreadable => "unreadable",
            Self::PastEnd => "past the end of the array",
        }
    }
}

/// What a variable, or a part of one, holds.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing can be said.
    Absent(Absent),
    /// A signed integer.
    Signed(i128),
    /// An unsigned integer.
    Unsigned(u128),
    /// A floating point number, as its type writes it.
    Float(String),
    /// A truth value.
    Bool(bool),
    /// A character of Unicode: its code.
    Character(u32),
    /// A character of one byte, signed as its type is.
    Byte(i16),
    /// One of the named values of an enumeration.
    Named(String),
    /// The value of an enumeration that has no name for it.
    Unnamed(i128),
    /// Text, and whether more of it follows.
    Text(Vec<u8>, bool),
    /// An address, and what lies there if that is shown. None for a pointer that exists in the
    /// source only.
    Pointer(Option<u64>, Option<Box<Value>>),
    /// The name of a type or variant, and its parts.
    Record(String, Vec<(String, Value)>),
    /// The name of what holds them, how many there are, and the first of them; all of it may lie
    /// where it is not known.
    List(String, u64, Vec<Value>),
    /// A type that is not shown.
    Opaque(String),
}

/// A variable in scope at a frame.
#[derive(Clone, PartialEq, Debug)]
pub struct Variable {
    /// What the source calls it, or the path that was asked for.
    pub name: String,
    /// The name of its type.
    pub type_name: String,
    /// Whether it is an argument of its function.
    pub is_argument: bool,
    /// What it holds.
    pub value: Value,
}

/// The variables of one function: that of a frame, or one that was inlined there.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Scope {
    /// In the order of the source; of two of the same name the inner one comes later.
    pub variables: Vec<Variable>,
}
