//! Tensors on their way from a file to a device: taken by name, looked at where they lie, and given
//! back to the operating system once they are packed.

use std::{ops::Range, sync::Arc};

use tintype_compute::{Encoding, StoredMatrix, StoredValues, Tensor};

use super::{Bytes, Entry, Error, Kind, Part, Weights};

/// A tensor that was taken and not read yet.
pub(super) enum Taken {
    /// Bytes of files, one above the other.
    Stored(Vec<Piece>),
    /// Made up by a [`super::generated`] function.
    Made(Tensor),
}

/// Rows of one stored tensor.
#[derive(Clone)]
pub(super) struct Piece {
    file: Arc<Bytes>,
    bytes: Range<usize>,
    encoding: Encoding,
    scale: f32,
}

impl Piece {
    fn values(&self) -> StoredValues<'_> {
        StoredValues::Encoded {
            encoding: self.encoding,
            bytes: &self.file.get()[self.bytes.clone()],
            scale: self.scale,
        }
    }
}

impl Taken {
    /// The values, where they lie.
    pub fn values(&self) -> impl Iterator<Item = StoredValues<'_>> {
        let (pieces, made) = match self {
            Self::Stored(pieces) => (&pieces[..], None),
            Self::Made(tensor) => (&[][..], Some(StoredValues::Values(tensor.data()))),
        };
        pieces.iter().map(Piece::values).chain(made)
    }

    /// Says that it will not be read again soon: its pages of the file leave this process's memory.
    pub fn release(&self) {
        if let Self::Stored(pieces) = self {
            for piece in pieces {
                piece.file.release(piece.bytes.clone());
            }
        }
    }
}

/// What a model asks for.
#[derive(Clone, Copy)]
struct Request<'a> {
    name: &'a str,
    shape: &'a [usize],
}

impl Request<'_> {
    /// Sizes of a row.
    fn row(&self) -> &[usize] {
        self.shape.get(1..).unwrap_or(&[])
    }
}

impl Weights {
    /// Takes a tensor, converted to f32. Fails if it is not there, was taken before, or has another
    /// shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        let taken = self.claim(name, shape)?;
        if let Some(meter) = &self.meter {
            let values = Tensor::zeros(shape);
            meter.add(size_of_val(values.data()));
            return Ok(values);
        }
        // A vector may lie in pieces, so its values are rows.
        let width = match shape {
            [_, .., width] => *width,
            _ => 1,
        };
        let values = self.matrix(width, [&taken]).to_tensor().reshape(shape);
        taken.release();
        Ok(values)
    }

    /// Takes a tensor and leaves it where it lies. Fails as [`Weights::take`] does.
    pub(super) fn claim(&mut self, name: &str, shape: &[usize]) -> Result<Taken, Error> {
        if self.watched.is_some() {
            let parts = self.parts(name);
            let bytes = parts.iter().map(|part| self.part_bytes(part)).sum();
            if let Some(watched) = &mut self.watched {
                watched.tell(bytes)?;
            }
        }
        if let Some(generator) = &mut self.generator {
            return Ok(Taken::Made(generator.make(name, shape)));
        }
        let request = Request { name, shape };
        let parts = self.parts(name);
        if parts.is_empty() {
            return Err(self.missing(request, None));
        }
        let mut pieces = Vec::new();
        let mut shapes = Vec::new();
        for part in &parts {
            let (piece, shape) = self.claim_part(request, part)?;
            pieces.push(piece);
            shapes.push(shape);
        }
        self.check_shape(request, &parts, shapes)?;
        Ok(Taken::Stored(pieces))
    }

    /// Where a tensor lies.
    pub(super) fn parts(&self, name: &str) -> Vec<Part> {
        match &self.naming {
            Some(naming) => naming.parts(name),
            None => vec![Part::whole(name)],
        }
    }

    /// Bytes of a part as they are stored; 0 if it is not there.
    fn part_bytes(&self, part: &Part) -> usize {
        let entry = self.tensors.get(&part.tensor);
        entry.map_or(0, |entry| match &part.rows {
            None => entry.tensor.bytes.len(),
            Some(rows) => entry.bytes_of(rows.len()),
        })
    }

    /// One part, and its shape.
    fn claim_part(
        &mut self,
        request: Request<'_>,
        part: &Part,
    ) -> Result<(Piece, Vec<usize>), Error> {
        let scale = match &part.scale {
            Some(name) => self.scalar(request, name)?,
            None => 1.0,
        };
        let missing = self.missing(request, Some(&part.tensor));
        let Some(entry) = self.tensors.get_mut(&part.tensor) else {
            return Err(missing);
        };
        let mut shape = entry.tensor.shape.clone();
        let all = shape.first().copied().unwrap_or(1);
        let rows = part.rows.clone().unwrap_or(0..all);
        if rows.start > rows.end || rows.end > all {
            return Err(Error::Shape {
                file: self.files[entry.file].name.clone(),
                name: part.tensor.clone(),
                expected: [&[rows.end], request.row()].concat(),
                found: shape,
            });
        }
        if !entry.take(rows.clone()) {
            return Err(missing);
        }
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        let file = &self.files[entry.file];
        let error = |dtype: String| Error::Dtype {
            file: file.name.clone(),
            name: part.tensor.clone(),
            dtype,
        };
        let Kind::Encoded(encoding) = entry.tensor.kind else {
            return Err(error(entry.tensor.kind.name().to_owned()));
        };
        let sizes = entry.tensor.shape.iter().skip(1);
        let row = sizes.fold(1_usize, |product, &size| product.saturating_mul(size));
        let bytes = |rows: usize| encoding.size_bytes(rows.checked_mul(row)?);
        let (Some(start), Some(end)) = (bytes(rows.start), bytes(rows.end)) else {
            let block = encoding.block_values();
            return Err(error(format!(
                "{encoding} in blocks of {block} values, which its rows of {row} cut"
            )));
        };
        let from = entry.tensor.bytes.start;
        let piece = Piece {
            file: file.bytes.clone(),
            bytes: from + start..from + end,
            encoding,
            scale,
        };
        Ok((piece, shape))
    }

    /// The one value of a tensor, which may be asked for again.
    fn scalar(&mut self, request: Request<'_>, name: &str) -> Result<f32, Error> {
        let missing = self.missing(request, Some(name));
        let Some(entry) = self.tensors.get_mut(name) else {
            return Err(missing);
        };
        entry.used = true;
        let file = &self.files[entry.file];
        let mut value = [0.0];
        match entry.tensor.kind {
            Kind::Encoded(encoding) if entry.tensor.shape.iter().product::<usize>() == 1 => {
                let bytes = &file.bytes.get()[entry.tensor.bytes.clone()];
                let values = StoredValues::encoded(encoding, bytes);
                StoredMatrix::new(1, [values]).read(0, 0..1, &mut value);
            }
            Kind::Encoded(_) => {
                return Err(Error::Shape {
                    file: file.name.clone(),
                    name: name.to_owned(),
                    expected: Vec::new(),
                    found: entry.tensor.shape.clone(),
                });
            }
            Kind::Other(ref dtype) => {
                return Err(Error::Dtype {
                    file: file.name.clone(),
                    name: name.to_owned(),
                    dtype: dtype.clone(),
                });
            }
        }
        match value[0].is_finite() {
            true => Ok(value[0]),
            false => Err(Error::Format {
                file: file.name.clone(),
                reason: format!("the scale `{name}` is not finite"),
            }),
        }
    }

    fn check_shape(
        &self,
        request: Request<'_>,
        parts: &[Part],
        shapes: Vec<Vec<usize>>,
    ) -> Result<(), Error> {
        let expected = request.shape;
        if let [found] = &shapes[..] {
            let fits = match self.naming {
                None => found == expected,
                Some(_) => squeezed(found) == squeezed(expected),
            };
            return match fits {
                true => Ok(()),
                false => Err(self.misshapen(&parts[0], expected, found)),
            };
        }
        for (part, found) in parts.iter().zip(&shapes) {
            let row = found.get(1..).unwrap_or(&[]);
            if squeezed(row) != squeezed(request.row()) {
                let expected = [&found[..1.min(found.len())], request.row()].concat();
                return Err(self.misshapen(part, &expected, found));
            }
        }
        let rows = shapes.iter().map(|shape| shape.first().unwrap_or(&1)).sum();
        match expected.first() {
            Some(&first) if first == rows => Ok(()),
            _ => {
                let found = [&[rows], request.row()].concat();
                Err(self.misshapen(&parts[0], expected, &found))
            }
        }
    }

    fn misshapen(&self, part: &Part, expected: &[usize], found: &[usize]) -> Error {
        let entry = self.tensors.get(&part.tensor);
        Error::Shape {
            file: entry.map_or_else(String::new, |entry| self.files[entry.file].name.clone()),
            name: part.tensor.clone(),
            expected: expected.to_vec(),
            found: found.to_vec(),
        }
    }

    fn missing(&self, request: Request<'_>, stored: Option<&str>) -> Error {
        let name = match stored.filter(|&stored| stored != request.name) {
            Some(stored) => format!("{stored}` for `{}", request.name),
            None => request.name.to_owned(),
        };
        Error::Missing {
            component: self.component.clone(),
            name,
            expected: request.shape.to_vec(),
        }
    }

    /// Taken tensors of `columns` values a row, one above the other.
    pub(super) fn matrix<'a>(
        &self,
        columns: usize,
        parts: impl IntoIterator<Item = &'a Taken>,
    ) -> StoredMatrix<'a> {
        let parts = parts.into_iter().flat_map(Taken::values);
        let matrix = StoredMatrix::new(columns, parts);
        match self.rounded {
            true => matrix.rounded_to_bf16(),
            false => matrix,
        }
    }
}

/// Without the sizes of 1 at the end.
fn squeezed(shape: &[usize]) -> &[usize] {
    let end = shape.iter().rposition(|&size| size != 1);
    &shape[..end.map_or(0, |last| last + 1)]
}

impl Entry {
    /// Whether these rows, or all of them, are there and not taken.
    pub fn is_free(&self, rows: Option<Range<usize>>) -> bool {
        let rows = rows.unwrap_or(0..self.rows());
        let twice = |taken: &Range<usize>| taken.start < rows.end && rows.start < taken.end;
        !self.used && rows.end <= self.rows() && !self.taken.iter().any(twice)
    }

    /// Notes that these rows are taken; `false` if one was before.
    fn take(&mut self, rows: Range<usize>) -> bool {
        if !self.is_free(Some(rows.clone())) {
            return false;
        }
        self.taken.push(rows);
        let taken: usize = self.taken.iter().map(Range::len).sum();
        self.used = taken == self.rows();
        true
    }

    /// Rows of the whole tensor.
    fn rows(&self) -> usize {
        self.tensor.shape.first().copied().unwrap_or(1)
    }

    /// Bytes of so many rows.
    fn bytes_of(&self, rows: usize) -> usize {
        self.tensor.bytes.len() / self.rows().max(1) * rows
    }

    /// Bytes of the rows that were not taken.
    pub fn bytes_left(&self) -> usize {
        let taken: usize = self.taken.iter().map(Range::len).sum();
        match self.used {
            true => 0,
            false => self.tensor.bytes.len() - self.bytes_of(taken),
        }
    }

    /// The first rows that were not taken, if it was taken in parts.
    pub fn rest(&self) -> Option<Range<usize>> {
        let mut taken: Vec<_> = self.taken.iter().collect();
        taken.sort_by_key(|rows| rows.start);
        let mut start = 0;
        for rows in taken.into_iter() {
            if rows.start > start {
                return Some(start..rows.start);
            }
            start = rows.end;
        }
        (start > 0).then_some(start..self.rows())
    }
}
