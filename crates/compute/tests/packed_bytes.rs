//! What a device says that a layer will take is what the packed layer takes.

use tintype_compute::{
    CpuDevice, CpuOptions, Device, Encoding, Isa, StoredMatrix, StoredValues, WeightFormat,
};

/// Every instruction set of this machine, and tiles modelled in software, over every form of weights.
fn devices() -> impl Iterator<Item = CpuDevice> {
    let sets = Isa::available().into_iter().map(Some).chain([None]);
    let cases = sets.flat_map(|isa| WeightFormat::ALL.map(|weights| (isa, weights)));
    cases.map(|(isa, weights)| {
        let options = CpuOptions {
            threads: 1,
            isa,
            weights,
            ..CpuOptions::default()
        };
        let device = match isa {
            Some(_) => CpuDevice::with_options(options),
            None => CpuDevice::over_modelled_tiles(options),
        };
        device.expect("it is available")
    })
}

#[test]
fn the_bytes_of_a_layer_are_known_before_it_is_packed() {
    // bf16 ones: neither side is a whole number of panels, chunks or tiles.
    let (rows, columns) = (203, 777);
    let ones: Vec<u8> = (0..rows * columns).flat_map(|_| [0x80, 0x3f]).collect();
    let thirds = vec![1.0 / 3.0_f32; rows * columns];
    let [stored, exact] = [
        StoredValues::encoded(Encoding::Bf16, &ones),
        StoredValues::Values(&thirds),
    ]
    .map(|values| StoredMatrix::new(columns, [values]));
    for device in devices() {
        for matrix in [&stored, &exact] {
            let layer = device.pack_stored_linear(matrix, None);
            let said = device.linear_bytes(matrix);
            match device.linear_image(&layer) {
                Some(image) => assert_eq!(said, image.bytes.len(), "{device:?}"),
                None => {
                    // Tiles of bytes: steps of 64 under panels of 32 columns, and a scale for each column.
                    assert_eq!(device.weights(), WeightFormat::Int8, "{device:?}");
                    assert_eq!(said, 832 * 224 + 203 * 4, "{device:?}");
                }
            }
        }
    }
}
