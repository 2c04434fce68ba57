//! A LoRA's matrices as the model's layers want them: layers that the model has as one get one pair of
//! matrices, and one pair that means several layers is cut by its rows.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    sync::Arc,
};

use tintype_compute::{Device, Tensor};

use super::{
    Error, Targets,
    file::{File, Matrices, Pair},
    names::Component,
};
use crate::{
    adapted::{LowRank, Target},
    weights::Weights,
};

/// A whole LoRA for one device.
pub(super) struct Packed {
    /// By [`Target::key`].
    pub parts: HashMap<String, Arc<LowRank>>,
    /// Bytes of all matrices, were they kept in f32: what they take at most.
    pub bytes: usize,
}

/// Reads and packs all of a file.
///
/// # Errors
/// See [`Error`].
pub(super) fn pack(
    weights: Weights,
    targets: &Targets,
    device: &dyn Device,
) -> Result<Packed, Error> {
    let mut file = File::new(weights);
    let pairs = file.pairs(targets)?;
    let mut packed = Packed {
        parts: HashMap::new(),
        bytes: 0,
    };
    let mut read = ReadPairs::of(&pairs);
    let both = [
        (Component::Transformer, &targets.transformer),
        (Component::Clip, &targets.clip),
    ];
    for (component, targets) in both {
        for target in targets {
            let blocks = read.blocks(&mut file, component, target)?;
            if blocks.is_empty() {
                continue;
            }
            let joined = Joined::of(&blocks, target);
            packed.bytes += size_of::<f32>() * (joined.down.data().len() + joined.up.data().len());
            let part = Arc::new(joined.pack(device));
            packed.parts.insert(target.key().to_owned(), part);
        }
    }
    drop(read);
    file.finish()?;
    Ok(packed)
}

/// [`Packed::bytes`] of a file, by its headers.
///
/// # Errors
/// See [`Error`].
pub(super) fn measure(weights: Weights, targets: &Targets) -> Result<usize, Error> {
    let pairs = File::new(weights).pairs(targets)?;
    let read = ReadPairs::of(&pairs);
    let transformer = targets.transformer.iter();
    let transformer = transformer.map(|target| read.bytes(Component::Transformer, target));
    let clip = targets.clip.iter();
    let clip = clip.map(|target| read.bytes(Component::Clip, target));
    Ok(transformer.chain(clip).sum())
}

/// Pairs, read when they are first needed and forgotten after the last layer that they mean: a file is
/// never in memory as a whole.
struct ReadPairs<'a> {
    /// Which pair a layer has, and which of its layers that is.
    places: HashMap<(Component, &'a str), (usize, usize)>,
    pairs: &'a [Pair],
    read: BTreeMap<usize, Arc<Matrices>>,
    /// Layers that wait for each.
    waiting: Vec<usize>,
}

/// A pair as far as it belongs to one layer of the model.
struct Block<'a> {
    pair: &'a Pair,
    matrices: Arc<Matrices>,
    /// For each layer: where its rows begin in the pair, and in the model's layer.
    rows: Vec<(usize, usize)>,
}

impl<'a> ReadPairs<'a> {
    fn of(pairs: &'a [Pair]) -> Self {
        let places = pairs.iter().enumerate().flat_map(|(index, pair)| {
            let layers = pair.meaning.layers.iter().enumerate();
            layers.map(move |(part, layer)| ((pair.component, layer.as_str()), (index, part)))
        });
        Self {
            places: places.collect(),
            pairs,
            read: BTreeMap::new(),
            waiting: pairs.iter().map(|pair| pair.meaning.layers.len()).collect(),
        }
    }

    /// What the matrices for a layer of the model take.
    fn bytes(&self, component: Component, target: &Target) -> usize {
        let places = target.names.iter();
        let indices = places.filter_map(|name| self.places.get(&(component, name.as_str())));
        let indices: BTreeSet<usize> = indices.map(|(index, _)| *index).collect();
        let rank: usize = indices
            .iter()
            .map(|&index| self.pairs[index].columns())
            .sum();
        let output = target.width.output * target.names.len();
        size_of::<f32>() * rank * (target.width.input + output)
    }

    /// All that is there for a layer of the model.
    fn blocks(
        &mut self,
        file: &mut File,
        component: Component,
        target: &Target,
    ) -> Result<Vec<Block<'a>>, Error> {
        let mut blocks: BTreeMap<usize, Block<'a>> = BTreeMap::new();
        for (place, name) in target.names.iter().enumerate() {
            let Some(&(index, part)) = self.places.get(&(component, name.as_str())) else {
                continue;
            };
            let pair = &self.pairs[index];
            let matrices = match self.read.entry(index) {
                Entry::Occupied(read) => read.get().clone(),
                Entry::Vacant(place) => place.insert(Arc::new(file.read(pair)?)).clone(),
            };
            let block = blocks.entry(index).or_insert_with(|| Block {
                pair,
                matrices,
                rows: Vec::new(),
            });
            let from = pair.outputs[..part].iter().sum();
            block.rows.push((from, place * target.width.output));
            self.waiting[index] -= 1;
            if self.waiting[index] == 0 {
                self.read.remove(&index);
            }
        }
        Ok(blocks.into_values().collect())
    }
}

/// The two matrices for one layer of the model.
struct Joined {
    /// `(rank, in)`: those of all blocks, one above the other.
    down: Tensor,
    /// `(rank)`: 1 where a bias is added, which is a column of `up` behind a row of `down` that gives 1.
    down_bias: Vec<f32>,
    /// `(out, rank)`: those of all blocks side by side, zeros where a block has no rows.
    up: Tensor,
    scales: Vec<f32>,
}

impl Joined {
    fn of(blocks: &[Block<'_>], target: &Target) -> Self {
        let (input, part) = (target.width.input, target.width.output);
        let rank: usize = blocks.iter().map(Block::columns).sum();
        let output = part * target.names.len();
        let mut joined = Self {
            down: Tensor::zeros([rank, input]),
            down_bias: vec![0.0; rank],
            up: Tensor::zeros([output, rank]),
            scales: Vec::with_capacity(rank),
        };
        let mut column = 0;
        for block in blocks {
            let Matrices { down, up, up_bias } = &*block.matrices;
            let (own, end) = (block.pair.rank, column + block.columns());
            joined.down.data_mut()[column * input..][..own * input].copy_from_slice(down.data());
            joined.scales.resize(end, block.pair.scale);
            for &(from, to) in &block.rows {
                for row in 0..part {
                    let target = &mut joined.up.data_mut()[(to + row) * rank..][column..end];
                    target[..own].copy_from_slice(&up.data()[(from + row) * own..][..own]);
                    if let Some(bias) = up_bias {
                        target[own] = bias.data()[from + row];
                    }
                }
            }
            if up_bias.is_some() {
                joined.down_bias[end - 1] = 1.0;
            }
            column = end;
        }
        joined
    }

    fn pack(self, device: &dyn Device) -> LowRank {
        let biased = self.down_bias.contains(&1.0);
        let bias = biased.then(|| Tensor::from_vec([self.down_bias.len()], self.down_bias));
        LowRank {
            down: device.pack_linear(&self.down, bias.as_ref()),
            up: device.pack_linear(&self.up, None),
            scales: self.scales,
        }
    }
}

impl Block<'_> {
    /// Columns that it takes.
    fn columns(&self) -> usize {
        self.pair.columns()
    }
}
