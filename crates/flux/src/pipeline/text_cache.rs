//! What the text encoders made of recent prompts: a repeated prompt, and the empty one of every run with
//! classifier-free guidance, is encoded once.
//!
//! What an encoder makes of a prompt depends on nothing but the prompt and its length in tokens, so
//! pictures are the same with and without the cache.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tintype_compute::Tensor;

/// Bytes of all that is kept: thirty prompts of FLUX.1's size (512 tokens of 4096 features in f32).
const TEXT_CACHE_BYTES: usize = 256 << 20;

/// Prompts that are kept at most, however small: they are looked through one by one.
const TEXT_CACHE_ENTRIES: usize = 512;

/// A prompt as the transformer is given it, for one sample.
pub(super) struct Encoded {
    /// `(1, tokens, features)` of T5.
    pub text: Tensor,
    /// `(1, features)` of CLIP.
    pub pooled: Tensor,
}

/// How a prompt is encoded, beside the prompt itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextKind {
    /// T5 tokens.
    pub tokens: usize,
    /// Which LoRAs change the text encoder, and how.
    pub loras: Vec<(u64, u32)>,
}

/// What the cache of a pipeline has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextCacheStatistics {
    /// Prompts that were found.
    pub hits: u64,
    /// Prompts that had to be encoded.
    pub misses: u64,
    /// Prompts that are kept.
    pub entries: usize,
    /// Bytes that they take.
    pub bytes: usize,
}

/// Recent prompts of one model.
pub(super) struct TextCache {
    kept: Mutex<Kept>,
    limit_bytes: usize,
}

#[derive(Default)]
struct Kept {
    /// The one that was asked for last stands last.
    entries: Vec<Entry>,
    statistics: TextCacheStatistics,
}

struct Entry {
    prompt: String,
    kind: TextKind,
    encoded: Encoded,
}

impl Entry {
    fn bytes(&self) -> usize {
        let values = self.encoded.text.data().len() + self.encoded.pooled.data().len();
        values * size_of::<f32>() + self.prompt.len() + size_of::<Self>()
    }
}

impl Default for TextCache {
    fn default() -> Self {
        Self::with_limit(TEXT_CACHE_BYTES)
    }
}

impl TextCache {
    /// Keeps at most this many bytes; 0 keeps nothing.
    pub fn with_limit(limit_bytes: usize) -> Self {
        Self {
            kept: Mutex::default(),
            limit_bytes,
        }
    }

    /// The prompts in their order, encoded as `kind` says. `encode` is given those that are not
    /// there, each once, and returns one for each.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn look_up<E>(
        &self,
        prompts: &[&str],
        kind: &TextKind,
        encode: impl FnOnce(&[&str]) -> Result<Vec<Encoded>, E>,
    ) -> Result<Encoded, E> {
        let mut missing = self.missing(prompts, kind);
        let new = match missing.is_empty() {
            true => Vec::new(),
            false => encode(&missing)?,
        };
        let mut kept = self.lock();
        let entries = missing.drain(..).zip(new).map(|(prompt, encoded)| Entry {
            prompt: prompt.to_owned(),
            kind: kind.clone(),
            encoded,
        });
        kept.entries.extend(entries);
        let joined = kept.joined(prompts, kind);
        kept.shrink(self.limit_bytes);
        Ok(joined)
    }

    pub fn statistics(&self) -> TextCacheStatistics {
        let kept = self.lock();
        TextCacheStatistics {
            entries: kept.entries.len(),
            bytes: kept.entries.iter().map(Entry::bytes).sum(),
            ..kept.statistics
        }
    }

    /// Those prompts, each once, that are not kept; those that are count as asked for just now.
    fn missing<'a>(&self, prompts: &[&'a str], kind: &TextKind) -> Vec<&'a str> {
        let mut kept = self.lock();
        let mut missing = Vec::new();
        for &prompt in prompts {
            match kept.position(prompt, kind) {
                Some(position) => {
                    kept.entries[position..].rotate_left(1);
                    kept.statistics.hits += 1;
                }
                None if missing.contains(&prompt) => {}
                None => {
                    missing.push(prompt);
                    kept.statistics.misses += 1;
                }
            }
        }
        missing
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn position(&self, prompt: &str, kind: &TextKind) -> Option<usize> {
        let is_it = |entry: &Entry| entry.kind == *kind && entry.prompt == prompt;
        self.entries.iter().rposition(is_it)
    }

    /// All prompts as one batch.
    fn joined(&self, prompts: &[&str], kind: &TextKind) -> Encoded {
        let found = |&prompt: &&str| {
            let position = self.position(prompt, kind);
            let position = position.expect("looked up or encoded just now; this is a bug");
            &self.entries[position].encoded
        };
        let batch = prompts.len();
        let join = |part: fn(&Encoded) -> &Tensor| {
            let samples: Vec<&Tensor> = prompts.iter().map(|p| part(found(p))).collect();
            let mut shape = samples[0].shape().to_vec();
            shape[0] = batch;
            let values = samples.iter().flat_map(|sample| sample.data());
            Tensor::from_vec(shape, values.copied().collect())
        };
        Encoded {
            text: join(|encoded| &encoded.text),
            pooled: join(|encoded| &encoded.pooled),
        }
    }

    /// Forgets what was not asked for longest until the rest is within the bounds.
    fn shrink(&mut self, limit_bytes: usize) {
        let mut bytes: usize = self.entries.iter().map(Entry::bytes).sum();
        let mut surplus = 0;
        for entry in &self.entries {
            let left = self.entries.len() - surplus;
            if bytes <= limit_bytes && left <= TEXT_CACHE_ENTRIES {
                break;
            }
            bytes -= entry.bytes();
            surplus += 1;
        }
        self.entries.drain(..surplus);
    }
}

impl fmt::Debug for TextCache {
    /// Numbers only: prompts belong in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.statistics().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tintype_compute::Tensor;

    use super::{Encoded, TextCache, TextKind};

    /// Prompts as their lengths.
    fn encode(prompts: &[&str]) -> Result<Vec<Encoded>, Infallible> {
        let encode = |prompt: &&str| Encoded {
            text: Tensor::from_vec([1, 2, 1], vec![prompt.len() as f32; 2]),
            pooled: Tensor::from_vec([1, 1], vec![prompt.len() as f32]),
        };
        Ok(prompts.iter().map(encode).collect())
    }

    fn tokens(tokens: usize) -> TextKind {
        TextKind {
            tokens,
            loras: Vec::new(),
        }
    }

    fn nothing(prompts: &[&str]) -> Result<Vec<Encoded>, Infallible> {
        panic!("{prompts:?} should be there");
    }

    #[test]
    fn prompts_are_encoded_once_and_keep_their_order() {
        let cache = TextCache::default();
        let prompts = ["aaa", "b", "aaa"];
        for encode in [encode, nothing] {
            let Ok(found) = cache.look_up(&prompts, &tokens(2), encode);
            assert_eq!(found.text.shape(), [3, 2, 1]);
            assert_eq!(found.text.data(), [3.0, 3.0, 1.0, 1.0, 3.0, 3.0]);
            assert_eq!(found.pooled.data(), [3.0, 1.0, 3.0]);
        }
        let Ok(_) = cache.look_up(&["b"], &tokens(1), encode);
        let statistics = cache.statistics();
        assert_eq!((statistics.hits, statistics.misses), (3, 3));
        assert_eq!(statistics.entries, 3, "another length is another entry");
        let adapted = TextKind {
            loras: vec![(1, 0)],
            ..tokens(2)
        };
        let Ok(_) = cache.look_up(&["b"], &adapted, encode);
        assert_eq!(cache.statistics().entries, 4, "so is another LoRA");
        assert!(!format!("{cache:?}").contains("aaa"));
    }

    #[test]
    fn the_one_not_asked_for_longest_goes_first() {
        let cache = TextCache::default();
        let Ok(_) = cache.look_up(&["a"], &tokens(2), encode);
        let cache = TextCache::with_limit(2 * cache.statistics().bytes);
        for prompt in ["a", "b", "a", "c"] {
            let Ok(_) = cache.look_up(&[prompt], &tokens(2), encode);
        }
        assert_eq!(cache.statistics().entries, 2);
        let Ok(_) = cache.look_up(&["a", "c"], &tokens(2), nothing);
        let Ok(_) = cache.look_up(&["b"], &tokens(2), encode);
        assert_eq!(cache.statistics().misses, 4);
    }

    #[test]
    fn without_room_everything_is_encoded_and_nothing_kept() {
        let cache = TextCache::with_limit(0);
        for _ in 0..2 {
            let Ok(found) = cache.look_up(&["a", "bb"], &tokens(2), encode);
            assert_eq!(found.pooled.data(), [1.0, 2.0]);
        }
        let statistics = cache.statistics();
        assert_eq!((statistics.misses, statistics.bytes), (4, 0));
    }
}
