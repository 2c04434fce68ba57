//! Layers out of named tensors: what all models share when they load.

use tintype_compute::{Conv2d, ConvGeometry, Device, GroupNorm, Linear, Tensor};

use super::{Error, Table, Weights, taken::Taken};

/// Takes tensors by PyTorch's module names and packs them for one device.
pub struct Loader<'a> {
    /// Where they come from.
    pub weights: &'a mut Weights,
    /// What they are packed for.
    pub device: &'a dyn Device,
}

/// Input and output width of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// Features in.
    pub input: usize,
    /// Features out.
    pub output: usize,
}

/// A layer norm's parameters.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// `(width)`
    pub weight: Tensor,
    /// `(width)`
    pub bias: Tensor,
    /// Added to the variance.
    pub eps: f32,
}

impl LayerNorm {
    /// Over the last axis of `x`.
    pub fn forward(&self, device: &dyn Device, x: &Tensor) -> Tensor {
        device.layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

impl Loader<'_> {
    /// `name.weight` `(width)`
    pub fn vector(&mut self, name: &str, width: usize) -> Result<Tensor, Error> {
        self.weights.take(&format!("{name}.weight"), &[width])
    }

    /// `name.bias` `(width)`
    pub fn bias(&mut self, name: &str, width: usize) -> Result<Tensor, Error> {
        self.weights.take(&format!("{name}.bias"), &[width])
    }

    /// `torch.nn.Linear` with a bias.
    pub fn linear(&mut self, name: &str, width: Width) -> Result<Linear, Error> {
        self.joined(&[name.to_owned()], width, true)
    }

    /// `torch.nn.Linear` without a bias.
    pub fn linear_without_bias(&mut self, name: &str, width: Width) -> Result<Linear, Error> {
        self.joined(&[name.to_owned()], width, false)
    }

    /// A table as a linear layer without a bias: scores by the embeddings that they share. `name` is the
    /// layer's.
    pub fn linear_of_table(&mut self, name: &str, table: &Table) -> Linear {
        let weight = table.matrix();
        if let Some(meter) = &self.weights.meter {
            meter.add(self.device.linear_bytes(&weight));
            return Linear::new(weight.columns(), weight.rows(), ());
        }
        let cache = self.weights.cache.as_ref();
        if let Some(kept) = cache.and_then(|cache| cache.layer(self.device, name, None)) {
            return kept;
        }
        let layer = self.device.pack_stored_linear(&weight, None);
        table.release();
        if let Some(cache) = &mut self.weights.cache {
            cache.add(self.device, name, &layer);
        }
        layer
    }

    /// Several linear layers over one input as a single one, their outputs side by side; each of
    /// `width`. Queries, keys and values are computed by one product this way.
    pub fn joined(&mut self, names: &[String], width: Width, bias: bool) -> Result<Linear, Error> {
        let parts = names.iter().map(|name| (name.clone(), width.output));
        self.stacked(&parts.collect::<Vec<_>>(), width.input, bias)
    }

    /// The same of layers whose outputs have widths of their own, `(name, features out)`: grouped-query
    /// attention has fewer keys and values than queries.
    pub fn stacked(
        &mut self,
        parts: &[(String, usize)],
        input: usize,
        bias: bool,
    ) -> Result<Linear, Error> {
        let (mut taken, mut biases) = (Vec::new(), Vec::new());
        for (name, output) in parts {
            let name_of_weight = format!("{name}.weight");
            taken.push(self.weights.claim(&name_of_weight, &[*output, input])?);
            if bias {
                biases.extend_from_slice(self.bias(name, *output)?.data());
            }
        }
        let bias = bias.then(|| Tensor::from_vec([biases.len()], biases));
        if let Some(meter) = &self.weights.meter {
            let weight = self.weights.matrix(input, &taken);
            meter.add(self.device.linear_bytes(&weight));
            return Ok(Linear::new(input, weight.rows(), ()));
        }
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        let key = names.join(" ");
        let cache = self.weights.cache.as_ref();
        if let Some(kept) = cache.and_then(|c| c.layer(self.device, &key, bias.as_ref())) {
            return Ok(kept);
        }
        let weight = self.weights.matrix(input, &taken);
        let layer = self.device.pack_stored_linear(&weight, bias.as_ref());
        taken.iter().for_each(Taken::release);
        if let Some(cache) = &mut self.weights.cache {
            cache.add(self.device, &key, &layer);
        }
        Ok(layer)
    }

    /// `torch.nn.Conv2d` with a square kernel and a bias.
    pub fn conv(
        &mut self,
        name: &str,
        width: Width,
        kernel: usize,
        geometry: ConvGeometry,
    ) -> Result<Conv2d, Error> {
        let shape = [width.output, width.input, kernel, kernel];
        if let Some(meter) = self.weights.meter.clone() {
            let taken = self.weights.claim(&format!("{name}.weight"), &shape)?;
            self.bias(name, width.output)?;
            let weight = self.weights.matrix(kernel, [&taken]);
            meter.add(self.device.conv2d_bytes(&weight, shape, geometry));
            return Ok(Conv2d::new(shape, geometry, ()));
        }
        let weight = self.weights.take(&format!("{name}.weight"), &shape)?;
        let bias = self.bias(name, width.output)?;
        Ok(self.device.pack_conv2d(&weight, Some(&bias), geometry))
    }

    /// `torch.nn.LayerNorm` over `width` features.
    pub fn layer_norm(&mut self, name: &str, width: usize, eps: f32) -> Result<LayerNorm, Error> {
        Ok(LayerNorm {
            weight: self.vector(name, width)?,
            bias: self.bias(name, width)?,
            eps,
        })
    }

    /// `torch.nn.GroupNorm`
    pub fn group_norm(
        &mut self,
        name: &str,
        channels: usize,
        groups: usize,
        eps: f32,
    ) -> Result<GroupNorm, Error> {
        Ok(GroupNorm {
            groups,
            weight: self.vector(name, channels)?,
            bias: self.bias(name, channels)?,
            eps,
        })
    }
}
