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
    /// The kind of an object, with at least one of these fields
    AnyOf(&'static Kind, &'static [&'static str]),
    /// `true` or `false`
    Boolean,
    /// A duration in Go's notation, longer than 0
    Duration,
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
    /// One of these strings, in upper or lower case, or empty
    OneOfInAnyCase(&'static [&'static str]),
    /// A string that matches this regular expression (ECMA 262), which has no anchors
    Pattern(&'static str),
    /// A list of at least one element
    RequiredList(&'static Kind),
    /// A string
    Text,
    /// Any value: the field is known only to be refused with a reason
    Unsupported,
}

/// A pattern of DNS labels (RFC 1123), as a part of other patterns.
macro_rules! label {
    () => {
        "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
    };
}

impl Kind {
    /// The largest unsigned number of 32 bits.
    pub const MAX_U32: i64 = u32::MAX as i64;
    /// A whole number of 32 bits that is not negative
    pub const COUNT: Self = Self::Integer(0, Self::MAX_U32);
    /// A percentage in whole numbers
    pub const PERCENT: Self = Self::Integer(0, 100);
    /// A host without a wildcard
    pub const HOST: Self = Self::Pattern(concat!(label!(), r"(\.", label!(), r")*\.?"));
    /// A host, which may start with a wildcard
    pub const WILDCARD_HOST: Self =
        Self::Pattern(concat!(r"(\*|(\*-?)?", label!(), r")(\.", label!(), r")*\.?"));
    /// A host of requests: a host, a prefix before `*`, or an IP address
    pub const REQUEST_HOST: Self = Self::Pattern(concat!(
        r"(\*|(\*-?)?",
        label!(),
        r")(\.",
        label!(),
        r")*\.?|[-.A-Za-z0-9]+\*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"
    ));
    /// A host to send requests to, which is not `*` alone
    pub const DESTINATION_HOST: Self =
        Self::Pattern(concat!(r"(?!\*$)(\*|(\*-?)?", label!(), r")(\.", label!(), r")*\.?"));
    /// A server name, which is not an IP address, or a pattern of server names
    pub const SERVER_NAME: Self =
        Self::Pattern(concat!(r"\*|(\*\.)?(?![0-9]+\.?$)", label!(), r"(\.", label!(), ")*"));
    /// A DNS label, such as the name of a namespace
    pub const LABEL: Self = Self::Pattern(label!());
    /// A DNS label, or empty, which is the same as absent
    pub const OPTIONAL_LABEL: Self = Self::Pattern(concat!("(", label!(), ")?"));
    /// Names of gateways, with or without a namespace
    pub const GATEWAYS: Self =
        Self::List(&Self::Pattern(concat!(label!(), r"((\.", label!(), r")*\.?|/", label!(), ")")));
    /// Labels of Kubernetes, by their names
    pub const LABELS: Self =
        Self::Map(&Self::Pattern("([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?"));
    /// The name of a header or a cookie
    pub const TOKEN: Self = Self::Pattern(r":?[-!#$%&'*+.^_`|~0-9A-Za-z]+");
    /// Names of headers
    pub const TOKENS: Self = Self::List(&Self::TOKEN);
    /// Methods in upper case, at least one
    pub const METHODS: Self = Self::RequiredList(&Self::Pattern(r"[-!#$%&'*+.^_`|~0-9A-Z]+"));
    /// IP addresses and ranges
    pub const ADDRESSES: Self = Self::List(&Self::Pattern(
        r"([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(/[0-9]{1,3})?",
    ));
    /// A path without spaces
    pub const PATH: Self = Self::Pattern(r"[^\u0000-\u0020\u007f]*");
    /// An authority
    pub const AUTHORITY: Self = Self::Pattern("[!-~]*");
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
