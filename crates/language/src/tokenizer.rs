//! Text to ids and back: byte-level BPE out of a `tokenizer.json`, as Qwen's models have it.
//!
//! Encoding knows no special words at all: `<|im_end|>` in a text becomes the letters that it consists
//! of. The marks of a chat are put between texts by id (`chat`).

use std::collections::HashMap;

use tokenizers::{DecoderWrapper, ModelWrapper};

use crate::Error;

/// A vocabulary, its merges, and the words that mean more than their letters.
pub struct Tokenizer {
    /// What messages name.
    file: String,
    /// Without added words.
    inner: tokenizers::Tokenizer,
    /// The added words by id.
    added: HashMap<u32, Added>,
    ids: usize,
}

struct Added {
    content: String,
    /// Whether it is left out of texts.
    special: bool,
}

impl Tokenizer {
    /// Out of a `tokenizer.json`; `file` is its name for messages.
    ///
    /// # Errors
    /// It is damaged, or no byte-level BPE.
    pub fn from_json(file: &str, json: &[u8]) -> Result<Self, Error> {
        let broken = |reason: String| Error::Tokenizer {
            file: file.to_owned(),
            reason,
        };
        let full =
            tokenizers::Tokenizer::from_bytes(json).map_err(|error| broken(error.to_string()))?;
        let byte_level = matches!(full.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        if !byte_level || !matches!(full.get_model(), ModelWrapper::BPE(_)) {
            return Err(broken(
                "it is no byte-level BPE, which is the one kind that is supported".to_owned(),
            ));
        }
        let mut inner = tokenizers::Tokenizer::new(full.get_model().clone());
        inner
            .with_normalizer(full.get_normalizer().cloned())
            .map_err(|error| broken(error.to_string()))?;
        inner.with_pre_tokenizer(full.get_pre_tokenizer().cloned());
        let added = full.get_added_tokens_decoder().into_iter();
        let added: HashMap<u32, Added> = added
            .map(|(id, token)| {
                let (content, special) = (token.content, token.special);
                (id, Added { content, special })
            })
            .collect();
        let last = inner
            .get_vocab(false)
            .into_values()
            .chain(added.keys().copied())
            .max();
        Ok(Self {
            file: file.to_owned(),
            inner,
            added,
            ids: last.map_or(0, |id| id as usize + 1),
        })
    }

    /// All ids are below this.
    pub fn ids(&self) -> usize {
        self.ids
    }

    /// The id of an added word.
    ///
    /// # Errors
    /// There is no such word.
    pub fn mark(&self, word: &str) -> Result<u32, Error> {
        let found = self.added.iter().find(|(_, added)| added.content == word);
        found.map(|(&id, _)| id).ok_or_else(|| Error::Tokenizer {
            file: self.file.clone(),
            reason: format!(
                "it lacks the word {word}; expected the tokenizer of a chat model of Qwen's"
            ),
        })
    }

    /// The ids of a text, whatever it says.
    ///
    /// # Errors
    /// The vocabulary lacks a byte.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|error| Error::Tokenizer {
            file: self.file.clone(),
            reason: format!("it cannot spell a text: {error}"),
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of some ids; special words and unknown ids are left out, bytes that are no UTF-8
    /// become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut stream = TextStream::default();
        let mut text: String = ids.iter().map(|&id| stream.push(self, id)).collect();
        text.push_str(&stream.finish());
        text
    }

    /// Adds the bytes that an id stands for.
    fn spell(&self, id: u32, bytes: &mut Vec<u8>) {
        if let Some(added) = self.added.get(&id) {
            if !added.special {
                bytes.extend_from_slice(added.content.as_bytes());
            }
        } else if let Some(token) = self.inner.id_to_token(id) {
            bytes.extend(token.chars().filter_map(byte_of));
        }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({}, {} ids)", self.file, self.ids)
    }
}

/// The byte that a letter of a byte-level vocabulary stands for (GPT-2, encoder.py,
/// `bytes_to_unicode`): printable bytes of Latin-1 are themselves, the others follow from U+0100 on.
fn byte_of(letter: char) -> Option<u8> {
    let printable = |code: u32| matches!(code, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(letter);
    if printable(code) {
        return u8::try_from(code).ok();
    }
    let index = usize::try_from(code.checked_sub(0x100)?).ok()?;
    let mut others = (0..=u8::MAX).filter(|&byte| !printable(u32::from(byte)));
    others.nth(index)
}

/// Ids to text one by one: a letter comes out once all of its bytes are there.
#[derive(Debug, Default)]
pub struct TextStream {
    /// The beginning of a letter.
    pending: Vec<u8>,
}

impl TextStream {
    /// The text that is complete with this id.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        tokenizer.spell(id, &mut self.pending);
        let (text, used) = complete(&self.pending);
        self.pending.drain(..used);
        text
    }

    /// What is left when nothing follows: U+FFFD for an unfinished letter.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

/// The text of all bytes but those that begin a letter at the end, and how many bytes it is made of.
fn complete(bytes: &[u8]) -> (String, usize) {
    let chunks = bytes.utf8_chunks();
    let unfinished = chunks.last().map_or(0, |chunk| {
        let end = chunk.invalid();
        match std::str::from_utf8(end) {
            // Wrong, whatever follows, or whole.
            Err(error) if error.error_len().is_none() => end.len(),
            _ => 0,
        }
    });
    let used = bytes.len() - unfinished;
    (String::from_utf8_lossy(&bytes[..used]).into_owned(), used)
}

#[cfg(test)]
mod tests {
    use super::{byte_of, complete};

    #[test]
    fn every_byte_has_one_letter() {
        let letters = (0..=0x1ff).filter_map(char::from_u32);
        let mut bytes: Vec<u8> = letters.filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=u8::MAX).collect::<Vec<_>>());
        // As GPT-2's vocabulary writes a space and a new line.
        assert_eq!(
            (byte_of('Ġ'), byte_of('Ċ'), byte_of('漢')),
            (Some(b' '), Some(b'\n'), None)
        );
    }

    #[test]
    fn letters_wait_for_their_last_byte() {
        let letter = "🙂".as_bytes();
        for cut in 1..letter.len() {
            assert_eq!(complete(&letter[..cut]), (String::new(), 0));
            let behind = [b"a", &letter[..cut]].concat();
            assert_eq!(complete(&behind), ("a".to_owned(), 1));
        }
        assert_eq!(complete(letter), ("🙂".to_owned(), 4));
        // No letter begins like this: it does not wait.
        assert_eq!(complete(b"\xffa\x80"), ("\u{fffd}a\u{fffd}".to_owned(), 3));
    }
}
