//! safetensors files. The `safetensors` crate checks that the tensors fill the file without holes or
//! overlaps, and that shapes and lengths agree.

use safetensors::{Dtype, SafeTensors};
use tintype_compute::Encoding;

use super::{Format, Header, Kind, StoredTensor, metadata::Entries};

/// The header is preceded by its length in eight bytes.
const LENGTH_BYTES: usize = 8;

pub fn read(bytes: &[u8]) -> Result<Header, String> {
    let (length, header) =
        SafeTensors::read_metadata(bytes).map_err(|error| reason(&error.to_string()))?;
    let end = LENGTH_BYTES + length;
    let tensors = header.tensors().into_iter().map(|(name, info)| {
        let (from, to) = info.data_offsets;
        let tensor = StoredTensor {
            shape: info.shape.clone(),
            kind: kind(info.dtype),
            bytes: end + from..end + to,
        };
        (name, tensor)
    });
    let texts = header.metadata().clone().unwrap_or_default();
    Ok(Header {
        format: Format::Safetensors,
        tensors: tensors.collect(),
        entries: Entries::Texts(texts.into_iter().collect()),
        end,
    })
}

fn reason(error: &str) -> String {
    format!("{error}; fetch it again if it should be whole")
}

fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Encoded(Encoding::F32),
        Dtype::F16 => Kind::Encoded(Encoding::F16),
        Dtype::BF16 => Kind::Encoded(Encoding::Bf16),
        Dtype::F8_E4M3 => Kind::Encoded(Encoding::F8E4m3),
        Dtype::F8_E5M2 => Kind::Encoded(Encoding::F8E5m2),
        other => Kind::Other(format!("{other:?}")),
    }
}
