//! Which sizes pictures have: the two tables of the service's tools, scaled to a model.
//!
//! FLUX.1-class models were trained around one megapixel, on sides that are multiples of 16. A
//! model with another native area or multiple gets the same ratios at its own scale.

/// The area that the tables were made for.
const TABLE_AREA: u32 = 1024 * 1024;

/// Kontext's preferred sizes, portrait half; `PREFERRED_KONTEXT_RESOLUTIONS` in `diffusers`. The
/// mirror images belong to the table too.
const KONTEXT_PORTRAIT: [Size; 9] = [
    Size::new(672, 1568),
    Size::new(688, 1504),
    Size::new(720, 1456),
    Size::new(752, 1392),
    Size::new(800, 1328),
    Size::new(832, 1248),
    Size::new(880, 1184),
    Size::new(944, 1104),
    Size::new(1024, 1024),
];

/// FLUX1.1 \[pro\]'s sizes, landscape half: multiples of 32, sides of at most 1440.
const PRO_LANDSCAPE: [(Ratio, Size); 7] = [
    (Ratio::new(1, 1), Size::new(1024, 1024)),
    (Ratio::new(16, 9), Size::new(1376, 768)),
    (Ratio::new(4, 3), Size::new(1152, 864)),
    (Ratio::new(3, 2), Size::new(1248, 832)),
    (Ratio::new(5, 4), Size::new(1120, 896)),
    (Ratio::new(21, 9), Size::new(1408, 608)),
    (Ratio::new(2, 1), Size::new(1408, 704)),
];

/// Pixels of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

impl Size {
    /// A size in pixels: width, then height.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// The picture turned by a right angle.
    pub const fn mirrored(self) -> Self {
        Self::new(self.height, self.width)
    }

    /// Width over height.
    pub fn aspect(self) -> f64 {
        f64::from(self.width) / f64::from(self.height)
    }

    /// Number of pixels.
    pub fn area(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}", self.width, self.height)
    }
}

/// A ratio of width to height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    /// Width part.
    pub width: u32,
    /// Height part.
    pub height: u32,
}

impl Ratio {
    /// Width to height.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Width over height.
    pub fn aspect(self) -> f64 {
        f64::from(self.width) / f64::from(self.height)
    }
}

/// Where a ratio is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// The 17 preferred Kontext sizes: the one whose ratio is nearest.
    Kontext,
    /// FLUX1.1 \[pro\]'s sizes: the ratio's own; for other ratios the one that is nearest.
    Pro,
}

/// What a model draws best: the area that it was trained around, and what its sides are multiples of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Native {
    /// Pixels.
    pub area: u32,
    /// Pixels; both sides of every picture are multiples of it.
    pub multiple: u32,
}

impl Native {
    /// FLUX.1 itself.
    pub const FLUX: Self = Self {
        area: TABLE_AREA,
        multiple: 16,
    };

    /// The size for a ratio.
    pub fn size_for(self, ratio: Ratio, table: Table) -> Size {
        match table {
            Table::Kontext => self.kontext_bucket(ratio.aspect()),
            Table::Pro => self.scale(pro_size(ratio)),
        }
    }

    /// The Kontext size for a reference picture of the given size.
    pub fn bucket_of(self, reference: Size) -> Size {
        // diffusers rounds the sides down to the multiple before it compares ratios.
        self.kontext_bucket(self.round_down(reference).aspect())
    }

    /// The nearest size whose sides are multiples, not larger than the given one, but at least one
    /// multiple each way.
    pub fn round_down(self, size: Size) -> Size {
        let round = |side: u32| (side / self.multiple).max(1) * self.multiple;
        Size::new(round(size.width), round(size.height))
    }

    /// The Kontext size, at this model's scale, whose ratio is nearest; of two equally near ones
    /// the narrower, then the lower, as `diffusers` chooses.
    fn kontext_bucket(self, aspect: f64) -> Size {
        let distance = |size: &Size| (aspect - size.aspect()).abs();
        let mut sizes: Vec<Size> = kontext_sizes().map(|size| self.scale(size)).collect();
        sizes.sort();
        sizes
            .into_iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .unwrap_or(Size::new(self.multiple, self.multiple))
    }

    /// A size of the tables at this model's scale: each side to the nearest multiple.
    fn scale(self, size: Size) -> Size {
        if self == Self::FLUX {
            return size;
        }
        let factor = (f64::from(self.area) / f64::from(TABLE_AREA)).sqrt();
        let multiple = f64::from(self.multiple);
        let scale = |side: u32| {
            let multiples = (f64::from(side) * factor / multiple + 0.5).floor().max(1.0);
            multiples as u32 * self.multiple
        };
        Size::new(scale(size.width), scale(size.height))
    }
}

/// All 17 preferred Kontext sizes.
fn kontext_sizes() -> impl Iterator<Item = Size> {
    let landscape = KONTEXT_PORTRAIT.iter().rev().skip(1).map(|s| s.mirrored());
    KONTEXT_PORTRAIT.iter().copied().chain(landscape)
}

/// The size of FLUX1.1 \[pro\] whose ratio is nearest to the given one.
fn pro_size(ratio: Ratio) -> Size {
    let portrait = ratio.width < ratio.height;
    let aspect = ratio.aspect().max(1.0 / ratio.aspect());
    let distance = |entry: &&(Ratio, Size)| (aspect - entry.0.aspect()).abs();
    let (_, size) = PRO_LANDSCAPE
        .iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))
        .unwrap_or(&PRO_LANDSCAPE[0]);
    if portrait { size.mirrored() } else { *size }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the wire contract: ratio, Kontext, pro.
    const CONTRACT: [(Ratio, Size, Size); 7] = [
        (
            Ratio::new(1, 1),
            Size::new(1024, 1024),
            Size::new(1024, 1024),
        ),
        (
            Ratio::new(16, 9),
            Size::new(1392, 752),
            Size::new(1376, 768),
        ),
        (Ratio::new(4, 3), Size::new(1184, 880), Size::new(1152, 864)),
        (Ratio::new(3, 2), Size::new(1248, 832), Size::new(1248, 832)),
        (Ratio::new(5, 4), Size::new(1104, 944), Size::new(1120, 896)),
        (
            Ratio::new(21, 9),
            Size::new(1568, 672),
            Size::new(1408, 608),
        ),
        (Ratio::new(2, 1), Size::new(1456, 720), Size::new(1408, 704)),
    ];

    #[test]
    fn both_tables_say_what_the_contract_says() {
        for (ratio, kontext, pro) in CONTRACT {
            let turned = Ratio::new(ratio.height, ratio.width);
            for (table, size) in [(Table::Kontext, kontext), (Table::Pro, pro)] {
                assert_eq!(Native::FLUX.size_for(ratio, table), size);
                assert_eq!(Native::FLUX.size_for(turned, table), size.mirrored());
            }
        }
    }

    #[test]
    fn there_are_seventeen_kontext_sizes() {
        let mut sizes: Vec<Size> = kontext_sizes().collect();
        sizes.sort();
        sizes.dedup();
        assert_eq!(sizes.len(), 17);
        assert!(
            sizes
                .iter()
                .all(|s| s.width % 16 == 0 && s.height % 16 == 0)
        );
    }

    #[test]
    fn a_reference_takes_the_bucket_of_nearest_ratio() {
        let cases = [
            (Size::new(512, 512), Size::new(1024, 1024)),
            (Size::new(4000, 3000), Size::new(1184, 880)),
            (Size::new(1080, 1920), Size::new(752, 1392)),
            (Size::new(5000, 100), Size::new(1568, 672)),
            (Size::new(3, 4000), Size::new(672, 1568)),
        ];
        for (reference, bucket) in cases {
            assert_eq!(Native::FLUX.bucket_of(reference), bucket, "{reference}");
        }
    }

    #[test]
    fn a_small_model_keeps_the_ratios() {
        let native = Native {
            area: 128 * 128,
            multiple: 16,
        };
        for (ratio, ..) in CONTRACT {
            for table in [Table::Kontext, Table::Pro] {
                let size = native.size_for(ratio, table);
                assert_eq!((size.width % 16, size.height % 16), (0, 0));
                assert!(
                    (size.aspect() / ratio.aspect()).ln().abs() < 0.16,
                    "{ratio:?} {size}"
                );
                assert!(
                    (size.area() as f64 / 16384.0).ln().abs() < 0.2,
                    "{ratio:?} {size}"
                );
            }
        }
    }

    #[test]
    fn rounding_down_leaves_at_least_one_multiple() {
        let round = |w, h| Native::FLUX.round_down(Size::new(w, h));
        assert_eq!(round(1023, 31), Size::new(1008, 16));
        assert_eq!(round(1, 0), Size::new(16, 16));
    }
}
