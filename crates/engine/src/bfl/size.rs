//! FLUX1.1 \[pro\]'s sizes: the provider's API takes pixels, not a ratio.

use crate::Size;

/// Pixels of a side: what the API takes.
const SIDES: (u32, u32) = (256, 1440);

/// Both sides are multiples of it.
const MULTIPLE: u32 = 32;

/// A ratio and its size, width before height; the mirror images belong to the table too.
const LANDSCAPE: [((u32, u32), (u32, u32)); 7] = [
    ((1, 1), (1024, 1024)),
    ((16, 9), (1376, 768)),
    ((4, 3), (1152, 864)),
    ((3, 2), (1248, 832)),
    ((5, 4), (1120, 896)),
    ((21, 9), (1408, 608)),
    ((2, 1), (1408, 704)),
];

/// Width and height in pixels. Ratios that are not in the table take the nearest that is.
pub fn pixels(size: Size) -> (u32, u32) {
    match size {
        Size::MatchReference => LANDSCAPE[0].1,
        Size::Ratio { width, height } => of_ratio(width.max(1), height.max(1)),
        Size::Exact { width, height } => (side(width), side(height)),
    }
}

fn side(pixels: u32) -> u32 {
    let (least, most) = SIDES;
    pixels.clamp(least, most) / MULTIPLE * MULTIPLE
}

fn of_ratio(width: u32, height: u32) -> (u32, u32) {
    let aspect = |(width, height): (u32, u32)| (f64::from(width) / f64::from(height)).ln();
    let wanted = aspect((width.max(height), width.min(height)));
    let distance = |ratio| (aspect(ratio) - wanted).abs();
    let nearest = LANDSCAPE
        .iter()
        .min_by(|a, b| distance(a.0).total_cmp(&distance(b.0)));
    let (long, short) = nearest.map_or(LANDSCAPE[0].1, |(_, size)| *size);
    if width >= height {
        (long, short)
    } else {
        (short, long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(width: u32, height: u32) -> (u32, u32) {
        pixels(Size::Ratio { width, height })
    }

    #[test]
    fn all_thirteen_ratios_have_the_documented_size() {
        for ((width, height), (long, short)) in LANDSCAPE {
            assert_eq!(of(width, height), (long, short));
            assert_eq!(of(height, width), (short, long));
        }
        assert_eq!(of(9, 21), (608, 1408));
        assert_eq!(of(5, 3), (1376, 768), "the nearest");
    }

    #[test]
    fn every_size_is_one_that_the_api_takes() {
        let ratios = (1..50).flat_map(|width| (1..50).map(move |height| of(width, height)));
        let exact = [(1, 1), (333, 5000), (1440, 256)];
        let exact = exact.map(|(width, height)| pixels(Size::Exact { width, height }));
        for (width, height) in ratios.chain(exact).chain([pixels(Size::MatchReference)]) {
            for side in [width, height] {
                assert!((256..=1440).contains(&side) && side % 32 == 0, "{side}");
            }
        }
    }

    #[cfg(feature = "native")]
    #[test]
    fn sizes_are_those_of_the_native_engine() {
        use tintype_flux::size::{Native, Ratio, Table};
        for ((width, height), _) in LANDSCAPE {
            let native = Native::FLUX.size_for(Ratio::new(width, height), Table::Pro);
            assert_eq!(of(width, height), (native.width, native.height));
        }
    }
}
