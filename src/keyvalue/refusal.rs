//! The error replies of key-value upstreams, in Redis's own words.

use std::borrow::Cow;

/// Why a command was not run; nothing has been changed.
#[derive(Debug)]
pub struct Refusal(Cow<'static, str>);

impl Refusal {
    /// A database that there is not.
    pub const DATABASE: Self = Self::new("ERR DB index is out of range");
    /// DECRBY by the smallest integer.
    pub const DECREMENT_OVERFLOW: Self = Self::new("ERR decrement would overflow");
    /// Conditions that exclude each other.
    pub const EXPIRE_GT_LT: Self = Self::new("ERR GT and LT options at the same time are not compatible");
    /// Conditions that exclude each other.
    pub const EXPIRE_NX: Self = Self::new("ERR NX and XX, GT or LT options at the same time are not compatible");
    /// INCRBYFLOAT of or by what is no number.
    pub const FLOAT: Self = Self::new("ERR value is not a valid float");
    /// INCRBYFLOAT out of the numbers.
    pub const FLOAT_OVERFLOW: Self = Self::new("ERR increment would produce NaN or Infinity");
    /// An argument or value that is no integer.
    pub const INTEGER: Self = Self::new("ERR value is not an integer or out of range");
    /// There is no room.
    pub const OUT_OF_MEMORY: Self = Self::new("OOM command not allowed when used memory > 'maxmemory'.");
    /// INCR and its kin out of the integers.
    pub const OVERFLOW: Self = Self::new("ERR increment or decrement would overflow");
    /// Options that are none.
    pub const SYNTAX: Self = Self::new("ERR syntax error");
    /// A string longer than Redis's longest.
    pub const TOO_LONG: Self = Self::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

    /// Redis's own words, the code in front.
    pub const fn new(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// A number of arguments that the command does not take.
    pub fn arity(name: &str) -> Self {
        Self(format!("ERR wrong number of arguments for '{name}' command").into())
    }

    /// A time that is not positive or too large.
    pub fn expire_time(name: &str) -> Self {
        Self(format!("ERR invalid expire time in '{name}' command").into())
    }

    /// Redis prints the option as a C string in one line: up to a NUL, line ends as spaces.
    pub fn unsupported_option(option: &[u8]) -> Self {
        let end = option.iter().position(|&byte| byte == 0).unwrap_or(option.len());
        let option = String::from_utf8_lossy(&option[..end]).replace(['\r', '\n'], " ");
        Self(format!("ERR Unsupported option {option}").into())
    }

    /// In words of the upstream's own.
    pub fn of(text: String) -> Self {
        Self(text.into())
    }

    /// The error, its code in front.
    pub fn text(&self) -> &str {
        &self.0
    }
}
