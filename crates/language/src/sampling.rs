//! Which word follows: the scores of all words and a few settings to one id.

use std::collections::BTreeSet;

use crate::{Error, Random};

/// How words are chosen. The steps and their order are those of transformers
/// (generation/logits_process.py): penalty, temperature, top-k, top-p, min-p.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Scores are divided by it; 0 takes the best word always.
    pub temperature: f32,
    /// Only so many of the best words; 0 means all.
    pub top_k: usize,
    /// Only the best words that make up this share of the probability; 1 means all.
    pub top_p: f32,
    /// Only words of at least this share of the best one's probability; 0 means all.
    pub min_p: f32,
    /// Scores of words that were said or read are divided by it, negative ones multiplied; 1 leaves
    /// them.
    pub repetition_penalty: f32,
    /// Where the random numbers begin.
    pub seed: u64,
}

impl Default for Sampling {
    /// What Qwen3's makers recommend for answers without thoughts.
    fn default() -> Self {
        Self {
            temperature: 0.7,
            top_k: 20,
            top_p: 0.8,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Always the best word.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// # Errors
    /// A setting is out of its range.
    pub fn check(&self) -> Result<(), Error> {
        let unit = "between 0 and 1";
        let checks = [
            (
                "temperature",
                self.temperature,
                self.temperature >= 0.0 && self.temperature <= 100.0,
                "between 0 and 100",
            ),
            (
                "top_p",
                self.top_p,
                self.top_p > 0.0 && self.top_p <= 1.0,
                "above 0 and at most 1",
            ),
            ("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), unit),
            (
                "repetition_penalty",
                self.repetition_penalty,
                self.repetition_penalty > 0.0 && self.repetition_penalty <= 100.0,
                "above 0 and at most 100",
            ),
        ];
        let wrong = checks.into_iter().find(|(_, _, holds, _)| !holds);
        wrong.map_or(Ok(()), |(name, value, _, range)| {
            Err(Error::Option {
                name,
                value: value.to_string(),
                range,
            })
        })
    }
}

/// Chooses word after word.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    random: Random,
    /// Words that were read or said.
    seen: BTreeSet<u32>,
}

/// A word that may come, and its score.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    score: f32,
    id: u32,
}

/// The better one first; of equals the one with the smaller id.
fn better(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
}

impl Sampler {
    /// One that continues `prompt`.
    ///
    /// # Errors
    /// A setting is out of its range.
    pub fn new(sampling: Sampling, prompt: &[u32]) -> Result<Self, Error> {
        sampling.check()?;
        Ok(Self {
            sampling,
            random: Random::new(sampling.seed),
            seen: prompt.iter().copied().collect(),
        })
    }

    /// The next word, by the scores of all words.
    ///
    /// # Errors
    /// The best score is no finite number.
    pub fn choose(&mut self, scores: &[f32]) -> Result<u32, Error> {
        let id = if self.sampling.temperature == 0.0 {
            let candidates = self.candidates(scores);
            let best = candidates.into_iter().min_by(better);
            let best = best.filter(|best| best.score.is_finite());
            best.ok_or(Error::NotFinite)?.id
        } else {
            let unit = self.random.unit();
            let probabilities = self.probabilities(scores)?;
            let mut sum = 0.0;
            let found = probabilities.iter().find(|(_, probability)| {
                sum += probability;
                unit < sum
            });
            // Rounding may leave the sum a little below 1.
            found.or(probabilities.last()).ok_or(Error::NotFinite)?.0
        };
        self.seen.insert(id);
        Ok(id)
    }

    /// The words that may come, the likeliest first, with their probabilities.
    ///
    /// # Errors
    /// The best score is no finite number.
    pub fn probabilities(&self, scores: &[f32]) -> Result<Vec<(u32, f64)>, Error> {
        let Sampling {
            temperature, top_k, ..
        } = self.sampling;
        let mut candidates = self.candidates(scores);
        for candidate in &mut candidates {
            candidate.score /= temperature;
        }
        if (1..candidates.len()).contains(&top_k) {
            let (_, last, _) = candidates.select_nth_unstable_by(top_k - 1, better);
            // Equals of the last one stay, as there.
            let least = last.score;
            candidates.retain(|candidate| candidate.score >= least);
        }
        candidates.sort_unstable_by(better);
        let best = candidates.first().map(|best| best.score);
        let best = best
            .filter(|best| best.is_finite())
            .ok_or(Error::NotFinite)?;
        let weights = candidates.iter().map(|c| f64::from(c.score - best).exp());
        let mut weights: Vec<f64> = weights.collect();
        self.cut(&mut weights);
        let sum: f64 = weights.iter().sum();
        let ids = candidates.iter().map(|candidate| candidate.id);
        Ok(ids.zip(weights.iter().map(|weight| weight / sum)).collect())
    }

    /// All words, those that were seen penalised.
    fn candidates(&self, scores: &[f32]) -> Vec<Candidate> {
        let all = (0_u32..).zip(scores);
        let mut all: Vec<_> = all.map(|(id, &score)| Candidate { score, id }).collect();
        let penalty = self.sampling.repetition_penalty;
        if penalty != 1.0 {
            for &id in &self.seen {
                if let Some(Candidate { score, .. }) = all.get_mut(id as usize) {
                    let factor = if *score < 0.0 {
                        penalty
                    } else {
                        penalty.recip()
                    };
                    *score *= factor;
                }
            }
        }
        all
    }

    /// Cuts the tail of falling weights by top-p, then by min-p. The first one always stays.
    fn cut(&self, weights: &mut Vec<f64>) {
        let Sampling { top_p, min_p, .. } = self.sampling;
        if top_p < 1.0 {
            let share = f64::from(top_p) * weights.iter().sum::<f64>();
            let mut before = 0.0;
            let kept = weights.iter().take_while(|&&weight| {
                let keep = before < share;
                before += weight;
                keep
            });
            let kept = kept.count().max(1);
            weights.truncate(kept);
        }
        // The best one's weight is 1.
        weights.retain(|&weight| weight >= f64::from(min_p));
    }
}

#[cfg(test)]
mod tests {
    use super::{Sampler, Sampling};
    use crate::Error;

    #[test]
    fn settings_out_of_their_range_are_refused_by_name() {
        let good = Sampling::default();
        for (bad, named) in [
            (
                Sampling {
                    temperature: -0.1,
                    ..good
                },
                "temperature is -0.1",
            ),
            (
                Sampling {
                    temperature: f32::NAN,
                    ..good
                },
                "temperature is NaN",
            ),
            (Sampling { top_p: 0.0, ..good }, "top_p is 0"),
            (Sampling { top_p: 1.5, ..good }, "top_p is 1.5"),
            (
                Sampling {
                    min_p: -1.0,
                    ..good
                },
                "min_p is -1",
            ),
            (
                Sampling {
                    repetition_penalty: 0.0,
                    ..good
                },
                "repetition_penalty is 0",
            ),
        ] {
            let message = Sampler::new(bad, &[]).expect_err(named).to_string();
            assert!(message.contains(named), "{message}");
        }
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed() {
        let sampling = Sampling {
            temperature: 1.0,
            top_k: 3,
            top_p: 1.0,
            seed: 11,
            ..Sampling::default()
        };
        let scores = [0.1_f32, 0.4, 0.05, 0.3, 0.15].map(f32::ln);
        let draw = |sampling| {
            let mut sampler = Sampler::new(sampling, &[]).expect("good");
            let mut draws = Vec::new();
            for _ in 0..10_000 {
                draws.push(sampler.choose(&scores).expect("finite"));
            }
            draws
        };
        let draws = draw(sampling);
        assert_eq!(draws, draw(sampling));
        assert_ne!(
            draws,
            draw(Sampling {
                seed: 12,
                ..sampling
            })
        );
        for (id, share) in [(0, 0.0_f64), (1, 0.4), (2, 0.0), (3, 0.3), (4, 0.15)] {
            let expected = share / 0.85 * 10_000.0;
            let found = draws.iter().filter(|&&drawn| drawn == id).count() as f64;
            // Four standard deviations of a count.
            let bound = 4.0 * (expected * (1.0 - expected / 10_000.0)).sqrt();
            assert!(
                (found - expected).abs() <= bound,
                "{id}: {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn scores_that_are_no_numbers_are_an_error() {
        for sampling in [Sampling::default(), Sampling::greedy()] {
            let mut sampler = Sampler::new(sampling, &[]).expect("good");
            let error = sampler.choose(&[0.0, f32::NAN]).expect_err("NaN");
            assert!(matches!(error, Error::NotFinite));
            let error = sampler
                .choose(&[f32::NEG_INFINITY; 2])
                .expect_err("no word");
            assert!(matches!(error, Error::NotFinite));
        }
    }
}
