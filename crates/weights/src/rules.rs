//! Tables of names: what files from elsewhere call the tensors that models ask for.
//!
//! Models ask for the names of diffusers and transformers. Other files have names of their own, and keep
//! as one tensor what models take as several (queries, keys and values, one above the other), or the
//! halves of one in another order. A table of [`Rule`]s says how; [`Rules::place`] says of each stored
//! tensor what becomes of its rows, and [`Rules::stored_name`] finds the way back, for messages.

use std::ops::Range;

/// One line of a table of names: what becomes of a tensor of a file.
///
/// Names are compared piece by piece between their dots. `#` stands for any number; the same number
/// stands in the place of the `#` of the wanted name, in order, and `~` there counts it from the other
/// end. A rule that names a module (`img_in`) holds for each of its tensors (`img_in.weight`,
/// `img_in.bias`).
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// As files have it.
    pub stored: &'static str,
    /// As models ask for it.
    pub wanted: Wanted,
}

/// What models ask for, out of one stored tensor.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// All of it, by this name.
    Whole(&'static str),
    /// Its rows, shared out from the first on: the share and the name of each.
    Rows(&'static [(usize, &'static str)]),
    /// All of it, with the second half of its rows first.
    HalvesSwapped(&'static str),
    /// All of it, a convolution with a 1 × 1 kernel, as the matrix that it is.
    Matrix(&'static str),
    /// Nothing: some writers store it beside the weights. Holds for everything below the name, too.
    Nothing,
}

/// A table of names for one component of one file.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Tried in order.
    pub table: &'static [Rule],
    /// How many levels there are, for `~`.
    pub levels: usize,
}

/// A tensor as a model asks for it, and where its rows lie within a stored one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The name that the model asks for.
    pub name: String,
    /// The shape that it has.
    pub shape: Vec<usize>,
    /// Ranges of the stored tensor's first axis, one above the other.
    pub rows: Vec<Range<usize>>,
}

impl Rules {
    /// What models ask for out of the stored tensor of this name and shape; `None` where no rule knows it.
    pub fn place(&self, stored: &str, shape: &[usize]) -> Option<Vec<Placed>> {
        let (wanted, numbers, leaf) = self.table.iter().find_map(|rule| {
            let below = matches!(rule.wanted, Wanted::Nothing);
            let (numbers, leaf) = matched(rule.stored, stored, below)?;
            Some((rule.wanted, numbers, leaf))
        })?;
        let rows = shape.first().copied().unwrap_or(1);
        let placed = |pattern: &str, shape: &[usize], rows: &[Range<usize>]| Placed {
            name: self.fill(pattern, &numbers, leaf),
            shape: shape.to_vec(),
            rows: rows.to_vec(),
        };
        let all = 0..rows;
        let all = std::slice::from_ref(&all);
        let whole = |pattern: &str| vec![placed(pattern, shape, all)];
        Some(match wanted {
            Wanted::Nothing => Vec::new(),
            Wanted::Whole(pattern) => whole(pattern),
            Wanted::Matrix(pattern) => match shape {
                [_, columns, 1, 1] => vec![placed(pattern, &[rows, *columns], all)],
                _ => whole(pattern),
            },
            Wanted::HalvesSwapped(pattern) => {
                let half = rows / 2;
                vec![placed(pattern, shape, &[half..rows, 0..half])]
            }
            Wanted::Rows(shares) => share_out(shares, shape)
                .into_iter()
                .map(|(pattern, rows)| {
                    let shape = [&[rows.len()], &shape[1..]].concat();
                    placed(pattern, &shape, std::slice::from_ref(&rows))
                })
                .collect(),
        })
    }

    /// What files call the tensor (or what holds its rows) that a model asks for, for messages.
    pub fn stored_name(&self, wanted: &str) -> Option<String> {
        self.table.iter().find_map(|rule| {
            let patterns: Vec<&str> = match rule.wanted {
                Wanted::Nothing => Vec::new(),
                Wanted::Whole(name) | Wanted::HalvesSwapped(name) | Wanted::Matrix(name) => {
                    vec![name]
                }
                Wanted::Rows(shares) => shares.iter().map(|(_, name)| *name).collect(),
            };
            let pattern = patterns.into_iter().find_map(|pattern| {
                let (mut numbers, leaf) = matched(pattern, wanted, false)?;
                if pattern.contains('~') {
                    numbers = self.reversed(pattern, &numbers);
                }
                Some((numbers, leaf))
            });
            let (numbers, leaf) = pattern?;
            Some(self.fill(rule.stored, &numbers, leaf))
        })
    }

    fn fill(&self, pattern: &str, numbers: &[usize], leaf: Option<&str>) -> String {
        let mut numbers = numbers.iter().copied();
        let mut filled = Vec::new();
        for piece in pattern.split('.') {
            filled.push(match piece {
                "#" => numbers.next().unwrap_or(0).to_string(),
                "~" => self.counted_back(numbers.next().unwrap_or(0)).to_string(),
                piece => piece.to_owned(),
            });
        }
        filled.extend(leaf.map(str::to_owned));
        filled.join(".")
    }

    fn reversed(&self, pattern: &str, numbers: &[usize]) -> Vec<usize> {
        let places = pattern.split('.').filter(|piece| is_number_place(piece));
        let pairs = places.zip(numbers);
        let turned = pairs.map(|(piece, &number)| match piece {
            "~" => self.counted_back(number),
            _ => number,
        });
        turned.collect()
    }

    /// A number beyond the last level stays what it is: the model then misses the level.
    fn counted_back(&self, number: usize) -> usize {
        self.levels.checked_sub(number + 1).unwrap_or(number)
    }
}

fn is_number_place(piece: &str) -> bool {
    matches!(piece, "#" | "~")
}

/// The numbers in a name that fits a pattern, and the piece that follows where the pattern names a module.
fn matched<'a>(pattern: &str, name: &'a str, below: bool) -> Option<(Vec<usize>, Option<&'a str>)> {
    let mut numbers = Vec::new();
    let mut rest = Some(name);
    for piece in pattern.split('.') {
        let (first, after) = match rest?.split_once('.') {
            Some((first, after)) => (first, Some(after)),
            None => (rest?, None),
        };
        match is_number_place(piece) {
            true => numbers.push(first.parse().ok()?),
            false if piece == first => {}
            false => return None,
        }
        rest = after;
    }
    match rest {
        Some(more) if more.contains('.') && !below => None,
        leaf => Some((numbers, leaf)),
    }
}

/// Rows in proportion to the shares. If they do not come out even the first name gets all, and the model
/// complains about its shape.
fn share_out(
    shares: &'static [(usize, &'static str)],
    shape: &[usize],
) -> Vec<(&'static str, Range<usize>)> {
    let rows = shape.first().copied().unwrap_or(1);
    let sum: usize = shares.iter().map(|(share, _)| share).sum();
    if shape.is_empty() || !rows.is_multiple_of(sum) {
        return shares[..1]
            .iter()
            .map(|(_, name)| (*name, 0..rows))
            .collect();
    }
    let unit = rows / sum;
    let mut start = 0;
    shares
        .iter()
        .map(|(share, name)| {
            let range = start..start + share * unit;
            start = range.end;
            (*name, range)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Placed, Rule, Rules, Wanted};

    const NAMES: Rules = Rules {
        table: &[
            Rule {
                stored: "img_in",
                wanted: Wanted::Whole("x_embedder"),
            },
            Rule {
                stored: "double.#.qkv",
                wanted: Wanted::Rows(&[(1, "blocks.#.q"), (1, "blocks.#.k"), (2, "blocks.#.up")]),
            },
            Rule {
                stored: "double.#.norm.scale",
                wanted: Wanted::Whole("blocks.#.norm.weight"),
            },
            Rule {
                stored: "final",
                wanted: Wanted::HalvesSwapped("norm_out"),
            },
            Rule {
                stored: "up.#.block.#",
                wanted: Wanted::Whole("up_blocks.~.resnets.#"),
            },
            Rule {
                stored: "mid.q",
                wanted: Wanted::Matrix("mid.to_q"),
            },
            Rule {
                stored: "vision_model",
                wanted: Wanted::Nothing,
            },
        ],
        levels: 4,
    };

    fn placed(name: &str, shape: &[usize], rows: &[[usize; 2]]) -> Placed {
        Placed {
            name: name.to_owned(),
            shape: shape.to_vec(),
            rows: rows.iter().map(|[from, to]| *from..*to).collect(),
        }
    }

    #[test]
    fn rules_place_rows() {
        let place = |name, shape: &[usize]| NAMES.place(name, shape);
        assert_eq!(
            place("img_in.weight", &[6, 5]),
            Some(vec![placed("x_embedder.weight", &[6, 5], &[[0, 6]])])
        );
        assert_eq!(
            place("double.12.qkv.bias", &[8]),
            Some(vec![
                placed("blocks.12.q.bias", &[2], &[[0, 2]]),
                placed("blocks.12.k.bias", &[2], &[[2, 4]]),
                placed("blocks.12.up.bias", &[4], &[[4, 8]]),
            ])
        );
        assert_eq!(
            place("double.0.norm.scale", &[3]),
            Some(vec![placed("blocks.0.norm.weight", &[3], &[[0, 3]])])
        );
        assert_eq!(
            place("final.weight", &[4, 2]),
            Some(vec![placed("norm_out.weight", &[4, 2], &[[2, 4], [0, 2]])])
        );
        assert_eq!(
            place("up.3.block.1.weight", &[2]),
            Some(vec![placed(
                "up_blocks.0.resnets.1.weight",
                &[2],
                &[[0, 2]]
            )])
        );
        assert_eq!(
            place("mid.q.weight", &[2, 3, 1, 1]),
            Some(vec![placed("mid.to_q.weight", &[2, 3], &[[0, 2]])])
        );
        assert_eq!(place("vision_model.layers.0.bias", &[2]), Some(Vec::new()));
    }

    #[test]
    fn what_fits_no_rule_is_left_alone() {
        for name in [
            "img_in",
            "img_inn.weight",
            "double.x.qkv.bias",
            "img_in.a.b",
            "double",
        ] {
            let found = NAMES.place(name, &[8]);
            // A module's own name is a tensor of that name.
            assert_eq!(found.is_some(), name == "img_in", "{name}");
        }
        let odd = NAMES.place("double.0.qkv.bias", &[7]);
        assert_eq!(odd, Some(vec![placed("blocks.0.q.bias", &[7], &[[0, 7]])]));
    }

    #[test]
    fn messages_find_the_way_back() {
        let stored = |wanted| NAMES.stored_name(wanted);
        assert_eq!(
            stored("blocks.7.k.weight").as_deref(),
            Some("double.7.qkv.weight")
        );
        assert_eq!(
            stored("blocks.7.norm.weight").as_deref(),
            Some("double.7.norm.scale")
        );
        assert_eq!(
            stored("up_blocks.0.resnets.1.bias").as_deref(),
            Some("up.3.block.1.bias")
        );
        assert_eq!(stored("nothing.weight"), None);
    }
}
