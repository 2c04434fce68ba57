//! What a file says of itself: key by key, read when it is asked for.

use std::{collections::BTreeMap, ops::Range};

use super::reading::Reading;

/// A file's own account of itself.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) entries: &'a Entries,
}

/// Where the values lie.
#[derive(Debug)]
pub(crate) enum Entries {
    /// safetensors' `__metadata__`.
    Texts(BTreeMap<String, String>),
    /// GGUF's: the type of each and its bytes in the file, which were walked through once.
    Typed(BTreeMap<String, (ValueType, Range<usize>)>),
}

/// One value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// A whole number without a sign, of any width.
    Unsigned(u64),
    /// A whole number with one.
    Signed(i64),
    /// Of single or double precision.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// UTF-8.
    Text(&'a str),
    /// What should be a text and is not UTF-8.
    Bytes(&'a [u8]),
    /// Many of one type.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// A whole number that is not negative.
    pub fn as_unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            Self::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// Any number.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Unsigned(value) => Some(*value as f64),
            Self::Signed(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// A text.
    pub fn as_text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Many values.
    pub fn as_array(&self) -> Option<&Array<'a>> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }
}

/// Values of one type, decoded one by one as they are looked at: a tokenizer's words are many.
#[derive(Clone, Debug)]
pub struct Array<'a> {
    element: ValueType,
    length: usize,
    reading: Reading<'a>,
}

impl<'a> Array<'a> {
    /// How many there are. The file has at least so many bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All of them in their order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (element, mut reading) = (self.element, self.reading.clone());
        (0..self.length).map(move |_| element.read(&mut reading).expect(WALKED))
    }

    /// All of them as texts; `None` if one is none.
    pub fn texts(&self) -> Option<Vec<&'a str>> {
        self.iter().map(|value| value.as_text()).collect()
    }
}

/// Values are read a second time here.
const WALKED: &str = "the values were walked through before; this is a bug";

/// Arrays within arrays at most: no writer makes any, and a file of nothing else must not end the stack.
const MAX_NESTING: usize = 4;

/// The types of GGUF's values, by their numbers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    pub fn read_type(reading: &mut Reading<'_>) -> Result<Self, String> {
        let number = reading.u32()?;
        let known = usize::try_from(number).ok().and_then(|n| Self::ALL.get(n));
        known
            .copied()
            .ok_or_else(|| format!("a value in it is of type {number}, which GGUF does not have"))
    }

    /// How many bytes a value takes; of texts and arrays, at least.
    fn size_bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::String => 8,
            Self::Array => 12,
        }
    }

    /// Walks over one value, `nesting` arrays deep.
    pub fn skip(self, reading: &mut Reading<'_>, nesting: usize) -> Result<(), String> {
        match self {
            Self::String => reading.string().map(drop),
            Self::Array => {
                let (element, length) = array_head(reading)?;
                match element {
                    Self::String => (0..length).try_for_each(|_| reading.string().map(drop)),
                    Self::Array if nesting == MAX_NESTING => {
                        Err("it has arrays within arrays without end".to_owned())
                    }
                    Self::Array => {
                        (0..length).try_for_each(|_| Self::Array.skip(reading, nesting + 1))
                    }
                    // At most eight times a length that is not above that of the file.
                    fixed => reading.bytes(length * fixed.size_bytes()).map(drop),
                }
            }
            fixed => reading.bytes(fixed.size_bytes()).map(drop),
        }
    }

    /// Reads one value.
    pub fn read<'a>(self, reading: &mut Reading<'a>) -> Result<Value<'a>, String> {
        if let Self::String = self {
            let bytes = reading.string()?;
            return Ok(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text));
        }
        if let Self::Array = self {
            let start = reading.clone();
            self.skip(reading, 0)?;
            return array(start);
        }
        let bytes = reading.bytes(self.size_bytes())?;
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(wide);
        // How far the sign is from the top.
        let shift = 64 - 8 * bytes.len() as u32;
        Ok(match self {
            Self::I8 | Self::I16 | Self::I32 | Self::I64 => {
                Value::Signed((bits << shift).cast_signed() >> shift)
            }
            Self::F32 => Value::Float(f64::from(f32::from_bits(bits as u32))),
            Self::F64 => Value::Float(f64::from_bits(bits)),
            Self::Bool => Value::Bool(bits != 0),
            _ => Value::Unsigned(bits),
        })
    }
}

fn array(mut reading: Reading<'_>) -> Result<Value<'_>, String> {
    let (element, length) = array_head(&mut reading)?;
    Ok(Value::Array(Array {
        element,
        length: usize::try_from(length).map_err(|error| error.to_string())?,
        reading,
    }))
}

/// The type of an array's elements and their number, which the rest of the file has room for.
fn array_head(reading: &mut Reading<'_>) -> Result<(ValueType, u64), String> {
    let element = ValueType::read_type(reading)?;
    let length = reading.u64()?;
    match length.checked_mul(element.size_bytes()) {
        Some(least) if least <= reading.left() as u64 => Ok((element, length)),
        _ => Err(format!(
            "an array of {length} values in it is longer than the file"
        )),
    }
}

impl<'a> Metadata<'a> {
    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (texts, typed) = match self.entries {
            Entries::Texts(texts) => (Some(texts.keys()), None),
            Entries::Typed(typed) => (None, Some(typed.keys())),
        };
        let texts = texts.into_iter().flatten();
        texts.chain(typed.into_iter().flatten()).map(String::as_str)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        match self.entries {
            Entries::Texts(texts) => texts.get(key).map(|text| Value::Text(text)),
            Entries::Typed(typed) => {
                let (kind, range) = typed.get(key)?;
                let mut reading = Reading::new(&self.bytes[..range.end], range.start);
                Some(kind.read(&mut reading).expect(WALKED))
            }
        }
    }

    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_text()
    }

    /// The whole number of a key.
    pub fn unsigned(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_unsigned()
    }

    /// The number of a key.
    pub fn float(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_float()
    }

    /// The array of a key.
    pub fn array(&self, key: &str) -> Option<Array<'a>> {
        self.get(key)?.as_array().cloned()
    }
}
