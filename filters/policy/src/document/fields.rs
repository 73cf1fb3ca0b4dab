//! The fields that an object of the document may have.
//!
//! One declaration serves three purposes: the reader of the object asks for its fields by these
//! names, every other name is reported as unknown, and `sluice schema` writes a JSON Schema from
//! the kinds and descriptions. The filters use the names alone, so that the rest takes no room in
//! the modules.

/// A type that is read from an object of the document.
pub trait Fields {
    /// The names of the fields, in `camelCase`.
    const NAMES: &'static [&'static str];

    /// The fields for a schema.
    fn schema() -> &'static ObjectSchema;
}

/// An object for a schema.
#[derive(Debug)]
pub struct ObjectSchema {
    /// The name of the type, unique in the document
    pub name: &'static str,
    /// What the object is
    pub description: &'static str,
    /// Its fields
    pub fields: &'static [FieldSchema],
}

/// A field for a schema.
#[derive(Debug)]
pub struct FieldSchema {
    /// The name, in `camelCase`
    pub name: &'static str,
    /// What the field is for, with its unit and its default
    pub description: &'static str,
    /// What values it may have
    pub kind: Kind,
    /// Whether the object must have it
    pub is_required: bool,
}

/// What values are valid, as far as a schema can say it.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any JSON value
    Any,
    /// `true` or `false`
    Boolean,
    /// One of several kinds
    Either(&'static [Kind]),
    /// A whole number from the first to the second
    Integer(i64, i64),
    /// A list
    List(&'static Kind),
    /// An object whose keys the user chooses
    Map(&'static Kind),
    /// The kind, or `null`
    Nullable(&'static Kind),
    /// A number from 0 to 100, which may be written as a string
    Percentage,
    /// An object with these fields
    Object(fn() -> &'static ObjectSchema),
    /// One of these numbers
    OneOfIntegers(&'static [i64]),
    /// One of these strings
    OneOf(&'static [&'static str]),
    /// A list of at least one element
    RequiredList(&'static Kind),
    /// A string
    Text,
    /// Any value: the field is known only to be refused with a reason
    Unsupported,
}

impl Kind {
    /// The largest unsigned number of 32 bits.
    pub const MAX_U32: i64 = u32::MAX as i64;
    /// A whole number of 32 bits that is not negative
    pub const COUNT: Self = Self::Integer(0, Self::MAX_U32);
    /// A percentage in whole numbers
    pub const PERCENT: Self = Self::Integer(0, 100);
    /// The number of a port
    pub const PORT: Self = Self::Integer(1, 65535);
    /// A list of strings
    pub const TEXTS: Self = Self::List(&Self::Text);
    /// Strings by names that the user chooses
    pub const TEXT_MAP: Self = Self::Map(&Self::Text);
}

/// Declares the fields of a type: `fields!(TYPE, DESCRIPTION, { NAME: KIND => DESCRIPTION; ... })`.
/// `NAME required: KIND` marks a field that the object must have. `TYPE as NAME` gives the type
/// another name in the schema.
macro_rules! fields {
    ($type:ident, $description:literal, $fields:tt) => {
        $crate::document::fields::fields!($type as stringify!($type), $description, $fields);
    };
    ($type:ident as $schema:expr, $description:literal, {
        $($name:literal $($required:ident)? : $kind:expr => $text:literal;)*
    }) => {
        impl $crate::document::fields::Fields for $type {
            const NAMES: &'static [&'static str] = &[$($name),*];

            fn schema() -> &'static $crate::document::fields::ObjectSchema {
                use $crate::document::fields::{FieldSchema, ObjectSchema};
                #[allow(unused_imports, reason = "most objects have fields of a kind")]
                use $crate::document::fields::Kind;
                static SCHEMA: ObjectSchema = ObjectSchema {
                    name: $schema,
                    description: $description,
                    fields: &[$(FieldSchema {
                        name: $name,
                        description: $text,
                        kind: $kind,
                        is_required: !stringify!($($required)?).is_empty(),
                    }),*],
                };
                &SCHEMA
            }
        }
    };
}

pub(crate) use fields;
