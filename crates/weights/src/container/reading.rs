//! A walk through the bytes of a header that may lie about its lengths.

/// What is left of a header.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The end of the file came before that of the header.
pub const CUT_SHORT: &str = "it ends within its header; it was cut short, fetch it again";

impl<'a> Reading<'a> {
    /// From this byte of a file on.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// How far it has come.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes of the file are left.
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: u64) -> Result<&'a [u8], String> {
        let end = usize::try_from(count)
            .ok()
            .and_then(|count| self.at.checked_add(count));
        let part = end.and_then(|end| self.bytes.get(self.at..end));
        let part = part.ok_or(CUT_SHORT)?;
        self.at += part.len();
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.bytes(N as u64)?;
        Ok(bytes
            .try_into()
            .expect("as many as were asked for; this is a bug"))
    }

    pub fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string: its length, then its bytes.
    pub fn string(&mut self) -> Result<&'a [u8], String> {
        let length = self.u64()?;
        self.bytes(length)
    }

    /// The name of a key or a tensor.
    pub fn name(&mut self) -> Result<&'a str, String> {
        /// ggml's own limit for keys.
        const MAX_NAME_BYTES: u64 = 65_535;
        let length = self.u64()?;
        if length > MAX_NAME_BYTES {
            return Err(format!(
                "a name of {length} bytes is longer than any can be"
            ));
        }
        let bytes = self.bytes(length)?;
        std::str::from_utf8(bytes).map_err(|_| "a name in it is not UTF-8".to_owned())
    }
}
