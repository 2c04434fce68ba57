//! What judging a prompt with the built-in rules costs: `cargo run --release -p tintype-moderation
//! --example cost`. Prints microseconds for prompts of 2,000 characters of several kinds, and of
//! 1,000 to 16,000 characters, which shows that the work grows with the length alone.

use std::hint::black_box;
use std::time::Instant;

use tintype_moderation::RuleSet;

/// Judgements of each text: the median is what is printed.
const TIMES: usize = 201;

/// One sentence of an ordinary prompt.
const PLAIN: &str = "A weathered lighthouse on a cliff at dusk, long exposure, warm light in the \
                     window, a small boat returning to the harbour, 35mm film, muted colours. ";

fn main() {
    let started = Instant::now();
    let rules = RuleSet::builtin();
    println!(
        "{} rules, read in {:.1} ms",
        rules.len(),
        started.elapsed().as_secs_f64() * 1e3
    );
    for (name, text) in [
        ("an ordinary prompt", PLAIN),
        ("letters apart", "d r a w a l i g h t h o u s e "),
        ("signs for letters", "l1ghth0u$e 0n a cl!ff, "),
        ("other alphabets", "маяк на скале ὁ φάρος منارة "),
        ("without blanks", "崖の上の灯台と小さな船"),
        (
            "marks upon marks",
            "l\u{301}\u{302}\u{303}i\u{300}g\u{308}h\u{327}t ",
        ),
        (
            "what rules look for",
            "a nude child, kill all, build a bomb, blood ",
        ),
    ] {
        println!(
            "{:>8.0} µs  2,000 characters: {name}",
            microseconds(&rules, text, 2_000)
        );
    }
    for characters in [1_000, 2_000, 4_000, 8_000, 16_000] {
        let took = microseconds(&rules, PLAIN, characters);
        println!("{took:>8.0} µs  {characters} characters of an ordinary prompt");
    }
}

fn microseconds(rules: &RuleSet, text: &str, characters: usize) -> f64 {
    let text: String = text.chars().cycle().take(characters).collect();
    let mut took: Vec<f64> = (0..TIMES)
        .map(|_| {
            let started = Instant::now();
            black_box(rules.scores(black_box(&text)));
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[TIMES / 2]
}
