//! Matrices that stay in their file: the embeddings of a language model, of which a few rows are read.

use std::fmt;

use tintype_compute::{Device, StoredMatrix, Tensor};

use super::{Error, Weights, taken::Taken};

/// A matrix that is read where it is stored, row by row: it takes no memory but the pages of the file
/// that were looked at.
pub struct Table {
    source: Taken,
    rows: usize,
    columns: usize,
    rounded: bool,
}

impl Weights {
    /// Takes the matrix `name` of `[rows, columns]` and leaves it in its file. Fails as
    /// [`Weights::take`] does.
    pub fn table(&mut self, name: &str, shape: [usize; 2]) -> Result<Table, Error> {
        let source = self.claim(name, &shape)?;
        let [rows, columns] = shape;
        Ok(Table {
            source,
            rows,
            columns,
            rounded: self.rounded,
        })
    }
}

impl Table {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All of it, to pack a layer from.
    pub fn matrix(&self) -> StoredMatrix<'_> {
        let matrix = StoredMatrix::new(self.columns, self.source.values());
        match self.rounded {
            true => matrix.rounded_to_bf16(),
            false => matrix,
        }
    }

    /// The rows `ids` as `(1, ids, columns)`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn look_up(&self, device: &dyn Device, ids: &[u32]) -> Tensor {
        let matrix = self.matrix();
        let mut output = device.tensor(&[1, ids.len(), self.columns]);
        let rows = output.data_mut().chunks_exact_mut(self.columns);
        for (row, &id) in rows.zip(ids) {
            matrix.read(id as usize, 0..self.columns, row);
        }
        output
    }

    /// Says that not all of it will be read again soon: its pages leave this process's memory, and
    /// come back one by one where rows are looked up.
    pub fn release(&self) {
        self.source.release();
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} rows of {})", self.rows, self.columns)
    }
}
