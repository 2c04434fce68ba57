//! A judge that goes by what a test says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use image::RgbImage;
use tintype_moderation::{Category, PictureModerator, Scores, TextModerator, Unjudged};

/// Sees in every picture of one colour, and in every text with one word, what it was told to.
#[derive(Debug, Default)]
pub struct StandInJudge {
    colours: Mutex<Vec<([u8; 3], Category, f32)>>,
    words: Mutex<Vec<(String, Category, f32)>>,
    failure: Mutex<Option<Unjudged>>,
    asked: Mutex<usize>,
}

impl StandInJudge {
    /// One that has nothing against anything.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A picture whose first pixel has this colour has this score.
    pub fn sees(&self, colour: [u8; 3], category: Category, score: f32) {
        lock(&self.colours).push((colour, category, score));
    }

    /// A text that has this word in it has this score.
    pub fn reads(&self, word: &str, category: Category, score: f32) {
        lock(&self.words).push((word.to_owned(), category, score));
    }

    /// From now on it cannot judge.
    pub fn fails(&self, why: Unjudged) {
        *lock(&self.failure) = Some(why);
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        *lock(&self.asked)
    }

    fn judge<T>(
        &self,
        known: &Mutex<Vec<(T, Category, f32)>>,
        is: impl Fn(&T) -> bool,
    ) -> Result<Scores, Unjudged> {
        *lock(&self.asked) += 1;
        if let Some(why) = lock(&self.failure).clone() {
            return Err(why);
        }
        let mut scores = Scores::NONE;
        for (what, category, score) in lock(known).iter() {
            if is(what) {
                scores.raise(*category, *score);
            }
        }
        Ok(scores)
    }
}

#[async_trait]
impl TextModerator for StandInJudge {
    async fn judge_text(&self, text: &str) -> Result<Scores, Unjudged> {
        self.judge(&self.words, |word| text.contains(word.as_str()))
    }
}

#[async_trait]
impl PictureModerator for StandInJudge {
    async fn judge_picture(&self, picture: &RgbImage) -> Result<Scores, Unjudged> {
        self.judge(&self.colours, |colour| picture.get_pixel(0, 0).0 == *colour)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
