//! For how long things are kept: the `[retention]` part of the settings, in words for people.

use std::fmt;
use std::time::Duration;

use anyhow::bail;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tintype_service::janitor::Retention;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The units of a time, and the seconds in each.
const UNITS: [(char, u64); 5] = [
    ('s', 1),
    ('m', 60),
    ('h', 3600),
    ('d', 24 * 3600),
    ('w', 7 * 24 * 3600),
];

/// What stands for "for ever".
const OFF: &str = "off";

/// An uploaded file is used by a run that is submitted a moment later, and a record of bytes is
/// written a moment after them: less than this would be a trap.
const SHORTEST: Duration = HOUR;

/// A time to keep something, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep(Option<Duration>);

/// The `[retention]` part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSettings {
    /// The files of a task, from its end.
    pub outputs: Keep,
    /// An uploaded file, from its arrival.
    pub uploads: Keep,
    /// The whole record of a task, from its end.
    pub records: Keep,
    /// Bytes that no record points at.
    pub sweep_grace: Keep,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            outputs: Keep(None),
            uploads: Keep(None),
            records: Keep(None),
            sweep_grace: Keep(Some(DAY)),
        }
    }
}

impl RetentionSettings {
    /// The same for the janitor.
    ///
    /// # Errors
    /// A time that is too short to be meant.
    pub fn policy(&self) -> anyhow::Result<Retention> {
        if self.outputs.0 == Some(Duration::ZERO) || self.records.0 == Some(Duration::ZERO) {
            bail!(
                "retention: nothing can be kept for no time at all; write \"off\" to keep it for ever"
            );
        }
        if self.uploads.0.is_some_and(|keep| keep < SHORTEST) {
            bail!("retention.uploads must be at least an hour, such as \"1h\", or \"off\"");
        }
        match self.sweep_grace.0 {
            Some(sweep_grace) if sweep_grace >= SHORTEST => Ok(Retention {
                outputs: self.outputs.0,
                uploads: self.uploads.0,
                records: self.records.0,
                sweep_grace,
            }),
            _ => bail!("retention.sweep_grace must be at least an hour, such as \"24h\""),
        }
    }
}

impl Keep {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text == OFF {
            return Some(Self(None));
        }
        let unit = text.chars().next_back()?;
        let (_, seconds) = UNITS.into_iter().find(|(letter, _)| *letter == unit)?;
        let count: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        let keep = Duration::from_secs(count.checked_mul(seconds)?);
        // Beyond what the clock can count back.
        (keep <= 100_000 * DAY).then_some(Self(Some(keep)))
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(keep) = self.0 else {
            return f.write_str(OFF);
        };
        let seconds = keep.as_secs();
        let largest = UNITS
            .into_iter()
            .rev()
            .find(|(_, unit)| seconds % unit == 0);
        let (letter, unit) = largest.unwrap_or(UNITS[0]);
        write!(f, "{}{letter}", seconds / unit)
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeepVisitor)
    }
}

struct KeepVisitor;

impl Visitor<'_> for KeepVisitor {
    type Value = Keep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as \"30d\", \"12h\" or \"90m\", or \"off\" to keep it for ever")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Keep, E> {
        Keep::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_as_people_do() {
        for (text, seconds, again) in [
            ("45s", 45, "45s"),
            ("90 m", 5_400, "90m"),
            ("24h", 86_400, "1d"),
            (" 30d ", 2_592_000, "30d"),
            ("2w", 1_209_600, "2w"),
        ] {
            let keep = Keep::parse(text).expect("a time");
            assert_eq!(keep, Keep(Some(Duration::from_secs(seconds))), "{text}");
            assert_eq!(keep.to_string(), again);
        }
        assert_eq!(Keep::parse("off"), Some(Keep(None)));
        for wrong in [
            "",
            "d",
            "30",
            "-1d",
            "1.5h",
            "30 days",
            "99999999999999d",
            "no",
            "1y",
            "1é",
        ] {
            assert_eq!(Keep::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_that_cannot_be_meant_are_refused() {
        let refused = |change: fn(&mut RetentionSettings)| {
            let mut settings = RetentionSettings::default();
            change(&mut settings);
            settings.policy().expect_err("too short").to_string()
        };
        assert!(refused(|s| s.outputs = Keep(Some(Duration::ZERO))).contains("off"));
        assert!(refused(|s| s.uploads = Keep(Some(HOUR / 2))).contains("retention.uploads"));
        assert!(refused(|s| s.sweep_grace = Keep(None)).contains("retention.sweep_grace"));
        RetentionSettings::default().policy().expect("the default");
    }
}
