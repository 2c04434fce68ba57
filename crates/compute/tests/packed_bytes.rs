//! What a device says that a layer will take is what the packed layer takes.

use tintype_compute::{
    CpuDevice, CpuOptions, Device, Encoding, Isa, StoredMatrix, StoredValues, WeightFormat,
};

#[test]
fn the_bytes_of_a_layer_are_known_before_it_is_packed() {
    // bf16 ones: neither side is a whole number of panels or chunks.
    let (rows, columns) = (203, 777);
    let ones: Vec<u8> = (0..rows * columns).flat_map(|_| [0x80, 0x3f]).collect();
    let thirds = vec![1.0 / 3.0_f32; rows * columns];
    let [stored, exact] = [
        StoredValues::encoded(Encoding::Bf16, &ones),
        StoredValues::Values(&thirds),
    ]
    .map(|values| StoredMatrix::new(columns, [values]));
    for (isa, weights) in Isa::available()
        .iter()
        .flat_map(|isa| WeightFormat::ALL.map(|weights| (*isa, weights)))
    {
        let device = CpuDevice::with_options(CpuOptions {
            threads: 1,
            isa: Some(isa),
            weights,
            ..CpuOptions::default()
        });
        let device = device.expect("it is available");
        for matrix in [&stored, &exact] {
            let layer = device.pack_stored_linear(matrix, None);
            let image = device.linear_image(&layer).expect("it makes images");
            let (expected, found) = (device.linear_bytes(matrix), image.bytes.len());
            // Tiles are padded in their own way.
            let slack = if isa == Isa::Amx { expected / 10 } else { 0 };
            assert!(
                expected.abs_diff(found) <= slack,
                "{isa}, {weights}: {expected}, {found}"
            );
        }
    }
}
