//! Pictures that ship with the program, so that the documented commands run on a fresh machine.
//! `tools/samples` draws them.

/// The sample input of this name.
pub(crate) fn find(name: &str) -> Option<&'static [u8]> {
    match name {
        "input-depth-to-image-4.jpg" => {
            Some(include_bytes!("../samples/input-depth-to-image-4.jpg"))
        }
        _ => None,
    }
}
