//! The tensors of a LoRA file, put together layer by layer and checked against a model.

use std::collections::{BTreeMap, HashMap};

use tintype_compute::Tensor;

use super::{
    Error, MAX_RANK, Targets,
    metadata::Configs,
    names::{Component, Key, Meaning, Names, Part},
};
use crate::{adapted::Target, weights::Weights};

/// A LoRA's matrices for one layer, or for several that it has as one; still in the file.
#[derive(Debug)]
pub(super) struct Pair {
    pub component: Component,
    pub meaning: Meaning,
    /// Input features.
    pub input: usize,
    /// Output features of each of the layers that it means.
    pub outputs: Vec<usize>,
    pub rank: usize,
    /// `alpha / rank`, or what the file says instead.
    pub scale: f32,
    down: String,
    up: String,
    up_bias: Option<String>,
}

impl Pair {
    /// Columns that it takes in a layer of the model: its rank, and one for a bias.
    pub fn columns(&self) -> usize {
        self.rank + usize::from(self.up_bias.is_some())
    }
}

/// The names of what belongs together, as found.
#[derive(Default)]
struct Found {
    down: Option<String>,
    up: Option<String>,
    up_bias: Option<String>,
    alpha: Option<String>,
}

impl Found {
    fn slot(&mut self, part: Part) -> &mut Option<String> {
        match part {
            Part::Down => &mut self.down,
            Part::Up => &mut self.up,
            Part::UpBias => &mut self.up_bias,
            Part::Alpha => &mut self.alpha,
        }
    }

    /// Any of its names.
    fn any(&self) -> &str {
        let all = [&self.down, &self.up, &self.up_bias, &self.alpha];
        all.into_iter().flatten().next().map_or("", String::as_str)
    }
}

/// What belongs to a layer of the file, in the order of the layers' names.
type Groups = BTreeMap<(Component, String), (Meaning, Found)>;

/// The matrices of a [`Pair`], read.
pub(super) struct Matrices {
    /// `(rank, in)`
    pub down: Tensor,
    /// `(out, rank)`: the outputs of all layers, one above the other.
    pub up: Tensor,
    /// `(out)`
    pub up_bias: Option<Tensor>,
}

/// A file on its way into a model.
pub(super) struct File {
    weights: Weights,
    name: String,
    shapes: HashMap<String, Vec<usize>>,
}

impl File {
    pub fn new(weights: Weights) -> Self {
        let shapes = weights.stored();
        let shapes = shapes.map(|(name, tensor)| (name.to_owned(), tensor.shape.clone()));
        let name = weights.files().next().map(|file| file.name.to_owned());
        Self {
            name: name.unwrap_or_default(),
            shapes: shapes.collect(),
            weights,
        }
    }

    /// All that the file has for this model.
    ///
    /// # Errors
    /// The first tensor, by name, that is unknown or does not fit.
    pub fn pairs(&mut self, targets: &Targets) -> Result<Vec<Pair>, Error> {
        let layers = Layers::of(targets);
        let names = Names::of(
            layers
                .0
                .iter()
                .map(|((component, name), _)| (*component, *name)),
        );
        let configs = Configs::of(&self.weights);
        let mut pairs = Vec::new();
        for ((component, _), (meaning, found)) in self.group(&names)? {
            pairs.push(self.pair(component, meaning, found, &layers, &configs)?);
        }
        if pairs.is_empty() {
            let file = self.name.clone();
            return Err(Error::Empty { file });
        }
        self.check_that_no_layer_comes_twice(&pairs)?;
        Ok(pairs)
    }

    /// Some files hold the same LoRA under two sets of names: both would be applied.
    fn check_that_no_layer_comes_twice(&self, pairs: &[Pair]) -> Result<(), Error> {
        let mut seen = HashMap::new();
        for pair in pairs {
            for layer in &pair.meaning.layers {
                if let Some(other) = seen.insert((pair.component, layer), &pair.down) {
                    let reason = format!("changes the layer {layer}, and so does `{other}`");
                    return Err(self.wrong(&pair.down, reason));
                }
            }
        }
        Ok(())
    }

    /// All names, by the layer that they belong to.
    fn group(&self, names: &Names) -> Result<Groups, Error> {
        let mut groups = Groups::new();
        let mut sorted: Vec<&String> = self.shapes.keys().collect();
        sorted.sort();
        for name in sorted {
            let wrong = |reason| self.wrong(name, reason);
            let key = Key::parse(name).map_err(wrong)?;
            let meaning = names.look_up(&key).map_err(wrong)?;
            let (_, found) = groups
                .entry((key.component, key.layer))
                .or_insert_with(|| (meaning.clone(), Found::default()));
            if let Some(earlier) = found.slot(key.part).replace(name.clone()) {
                return Err(wrong(format!(
                    "is there twice, the other time as `{earlier}`"
                )));
            }
        }
        Ok(groups)
    }

    fn pair(
        &mut self,
        component: Component,
        meaning: Meaning,
        found: Found,
        layers: &Layers<'_>,
        configs: &Configs,
    ) -> Result<Pair, Error> {
        let any = found.any().to_owned();
        let lacks = |what: &str| self.wrong(&any, format!("has no matrix {what} beside it"));
        let down = found
            .down
            .ok_or_else(|| lacks("down (`lora_A`, `lora_down`)"))?;
        let up = found.up.ok_or_else(|| lacks("up (`lora_B`, `lora_up`)"))?;
        let outputs: Vec<usize> = meaning
            .layers
            .iter()
            .map(|layer| layers.0.get(&(component, layer.as_str())))
            .map(|target| target.map_or(0, |target| target.width.output))
            .collect();
        let first = layers.0[&(component, meaning.layers[0].as_str())];
        let input = first.width.input;
        let rank = self.rank(&down, input)?;
        self.expect(&up, &[outputs.iter().sum(), rank])?;
        if let Some(bias) = &found.up_bias {
            self.expect(bias, &[outputs.iter().sum()])?;
        }
        let scale = match &found.alpha {
            Some(alpha) => self.alpha(alpha)? / rank as f32,
            None => configs.scale(component, &meaning.layers[0], rank),
        };
        if !scale.is_finite() {
            let reason = format!("is scaled by {scale}; expected a finite number");
            return Err(self.wrong(found.alpha.as_ref().unwrap_or(&down), reason));
        }
        Ok(Pair {
            component,
            meaning,
            input,
            outputs,
            rank,
            scale,
            down,
            up,
            up_bias: found.up_bias,
        })
    }

    /// The rank, by the matrix down, which is `(rank, input)`.
    fn rank(&self, down: &str, input: usize) -> Result<usize, Error> {
        match self.shapes[down][..] {
            [rank, width] if width == input && (1..=MAX_RANK).contains(&rank) => Ok(rank),
            [rank, width] if width == input => {
                Err(self.wrong(down, format!("has rank {rank}; expected 1 to {MAX_RANK}")))
            }
            ref found => Err(self.wrong(
                down,
                format!(
                    "has shape {found:?}, but this model's layer takes {input} features: expected \
                     [rank, {input}]; the LoRA was made for another model"
                ),
            )),
        }
    }

    fn expect(&self, tensor: &str, expected: &[usize]) -> Result<(), Error> {
        match &self.shapes[tensor] {
            found if found == expected => Ok(()),
            found => Err(self.wrong(
                tensor,
                format!(
                    "has shape {found:?}, but for this model {expected:?} is expected; the LoRA was made \
                     for another model"
                ),
            )),
        }
    }

    fn alpha(&mut self, name: &str) -> Result<f32, Error> {
        let shape = self.shapes[name].clone();
        if !matches!(shape[..], [] | [1]) {
            return Err(self.wrong(
                name,
                format!("has shape {shape:?}; expected a single number"),
            ));
        }
        let alpha = self.weights.take(name, &shape)?.data()[0];
        match alpha.is_finite() {
            true => Ok(alpha),
            false => Err(self.wrong(name, format!("is {alpha}; expected a finite number"))),
        }
    }

    /// Reads the matrices of a pair.
    ///
    /// # Errors
    /// If they are not finite, or stored in a type that is not supported.
    pub fn read(&mut self, pair: &Pair) -> Result<Matrices, Error> {
        let rows = pair.outputs.iter().sum();
        let mut up = self.finite(&pair.up, &[rows, pair.rank])?;
        let bias = pair.up_bias.as_ref();
        let mut up_bias = bias.map(|name| self.finite(name, &[rows])).transpose()?;
        if pair.meaning.swapped {
            for tensor in [Some(&mut up), up_bias.as_mut()].into_iter().flatten() {
                let half = tensor.data().len() / 2;
                tensor.data_mut().rotate_left(half);
            }
        }
        Ok(Matrices {
            down: self.finite(&pair.down, &[pair.rank, pair.input])?,
            up,
            up_bias,
        })
    }

    fn finite(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        let tensor = self.weights.take(name, shape)?;
        match tensor.data().iter().all(|value| value.is_finite()) {
            true => Ok(tensor),
            false => Err(self.wrong(name, "holds values that are not finite".to_owned())),
        }
    }

    /// Fails if something was not read.
    pub fn finish(self) -> Result<(), Error> {
        Ok(self.weights.finish()?)
    }

    fn wrong(&self, tensor: &str, reason: String) -> Error {
        Error::Tensor {
            file: self.name.clone(),
            tensor: tensor.to_owned(),
            reason,
        }
    }
}

/// A model's layers by diffusers' names.
struct Layers<'a>(HashMap<(Component, &'a str), &'a Target>);

impl<'a> Layers<'a> {
    fn of(targets: &'a Targets) -> Self {
        let both = [
            (Component::Transformer, &targets.transformer),
            (Component::Clip, &targets.clip),
        ];
        let layers = both.into_iter().flat_map(|(component, targets)| {
            let named = targets
                .iter()
                .flat_map(|t| t.names.iter().map(move |n| (n, t)));
            named.map(move |(name, target)| ((component, name.as_str()), target))
        });
        Self(layers.collect())
    }
}
