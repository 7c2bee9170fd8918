//! The two macros that declare settings, so that each one is written once.

/// Declares an enum whose variants have the names that stand in a settings file.
macro_rules! choice {
    (
        $(#[$about:meta])*
        $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl Named for $name {
            const NAMES: &'static [&'static str] = &[$($text),+];

            fn named(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

/// Declares the settings. Each line is `field: Kind = "ENVIRONMENT_NAME", needed as Name;`.
///
/// - The key is `section.field`, with the unit of its kind: `ttl: Seconds<…>` in `lease` is
///   `lease.ttl_seconds`.
/// - The environment name can be left out: it is then `SECTION__KEY`.
/// - `needed as` makes a variant of `Needed`, for commands that cannot do without the setting.
macro_rules! settings {
    (
        $(#[$top_doc:meta])*
        $top:ident: $top_kind:ty = $top_env:literal;
        $(
            $(#[$about:meta])*
            $section:ident: $Section:ident {
                $(
                    $(#[$doc:meta])*
                    $field:ident: $kind:ty $(= $env:literal)? $(, needed as $needed:ident)?;
                )+
            }
        )+
    ) => {
        /// Every setting, checked. Its `Debug` text holds no secret.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $(#[$top_doc])*
            pub $top: <$top_kind as Setting>::Value,
            $($(#[$about])* pub $section: $Section,)+
            /// What the caller logs as soon as logging works; never a secret.
            pub warnings: Vec<String>,
            /// The fields of the operator's mapping; without any, the built-in ones are synced.
            pub fields: Vec<FieldTable>,
            /// The tags of the operator's mapping.
            pub tags: Vec<TagTable>,
            /// Every value by its key, to find out what a reload changes.
            pub(super) values: Values,
            /// Where each value comes from; a key that is missing has its default.
            pub(super) origins: BTreeMap<&'static str, Origin>,
        }

        $(
            $(#[$about])*
            #[derive(Debug, Clone)]
            pub struct $Section { $($(#[$doc])* pub $field: <$kind as Setting>::Value,)+ }
        )+

        /// A setting without a default that a command may need.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Needed { $($($($needed,)?)+)+ }

        impl Needed {
            /// Its place in a settings file, `section.key`.
            pub fn path(self) -> &'static str {
                match self {
                    $($($(
                        Self::$needed => concat!(stringify!($section), ".", stringify!($field)),
                    )?)+)+
                }
            }
        }

        impl Settings {
            /// Every key, in the order of the declaration.
            pub(super) fn keys() -> Vec<Key> {
                vec![
                    Key::of::<$top_kind>(None, stringify!($top), Some($top_env)),
                    $($(
                        Key::of::<$kind>(
                            Some(stringify!($section)),
                            stringify!($field),
                            None $(.or(Some($env)))?,
                        ),
                    )+)+
                ]
            }

            /// `Err` is the path of a key without a value.
            pub(super) fn read(
                values: Values,
                (fields, tags): (Vec<FieldTable>, Vec<TagTable>),
                warnings: Vec<String>,
            ) -> Result<Self, String> {
                Ok(Self {
                    $top: read::<$top_kind>(&values, None, stringify!($top))?,
                    $(
                        $section: $Section {
                            $(
                                $field: read::<$kind>(
                                    &values,
                                    Some(stringify!($section)),
                                    stringify!($field),
                                )?,
                            )+
                        },
                    )+
                    warnings,
                    fields,
                    tags,
                    values,
                    origins: BTreeMap::new(),
                })
            }
        }
    };
}

pub(super) use {choice, settings};
