//! Names that may have been meant.

/// Letters that a name may be wrong by and still be meant.
const NEAR_EDITS: usize = 3;

/// Names that are proposed at most.
const PROPOSALS: usize = 3;

/// The names of `candidates` that may be meant, the likeliest first: those that differ by a slip of the
/// finger, hold the name, or are held by it. Capital letters make no difference.
pub fn near<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let mut found: Vec<(usize, &str)> = candidates
        .filter_map(|candidate| {
            let known = candidate.to_lowercase();
            let contained = contains(&known, &name) || contains(&name, &known);
            let edits = strsim::levenshtein(&name, &known);
            (contained || is_slip(edits, &name, &known)).then_some((edits, candidate))
        })
        .collect();
    found.sort();
    found.truncate(PROPOSALS);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Shorter pieces stand in every other name.
fn contains(long: &str, short: &str) -> bool {
    short.chars().count() >= NEAR_EDITS && long.contains(short)
}

/// Of short names, another one is only a few letters away.
fn is_slip(edits: usize, one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|name| name.chars().count());
    edits <= NEAR_EDITS.min(one.min(other) / 2)
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let known = [
            "flux-dev",
            "flux-dev-q4",
            "flux-schnell",
            "qwen3-4b",
            "Stil",
            "a",
        ];
        let found = |name| near(name, known.into_iter());
        assert_eq!(found("flux-dve"), ["flux-dev"]);
        assert_eq!(found("schnell"), ["flux-schnell"]);
        assert_eq!(found("Flux-Dev"), ["flux-dev", "flux-dev-q4"]);
        assert_eq!(found("style"), ["Stil"]);
        assert!(found("something-else-entirely").is_empty());
        assert!(
            found("xyz").is_empty(),
            "three letters of three are no slip"
        );
    }

    #[test]
    fn of_many_only_the_nearest_are_proposed() {
        let known = ["style-1", "style-22", "style-333", "style-4444"];
        let found = near("style", known.into_iter());
        assert_eq!(found, ["style-1", "style-22", "style-333"]);
    }
}
