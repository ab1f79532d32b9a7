//! The masked autoregressive flow on any device that candle knows, such as a
//! GPU: the same function as [`super::maf`] out of candle's own operations, to
//! rounding, and so not to the bit.

use super::LOG_SCALE_LIMIT;
use super::maf::{LAYERS, Maf, MafShape};
use super::{Flow, Layer};
use crate::coordinates::HALF_LN_TAU;
use crate::error::NpeError;
use crate::matmul::Level;
use candle_core::{Device, Tensor, Var};

/// A flow on a device, without its weights.
pub struct DeviceMaf {
    plain: Maf,
    dims: usize,
    context: usize,
    device: Device,
    /// Per block and layer: 1 where a weight exists, of the weights' own shape.
    masks: Vec<Tensor>,
}

impl DeviceMaf {
    /// The flow of a shape on a device.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(shape: MafShape, device: Device) -> Result<Self, NpeError> {
        let mut masks = Vec::new();
        for block in 0..shape.blocks {
            let mask = shape.mask(block);
            let d = shape.dims;
            for layer in 0..LAYERS {
                let (rows, cols) = shape.layer_shape(layer);
                let open = |i: usize, j: usize| match layer {
                    0 => i >= d || mask.input(i, j),
                    _ if i == rows - 1 => true,
                    1 => mask.hidden(i, j),
                    _ => mask.output(i, j % d),
                };
                let values: Vec<f32> = (0..rows * cols)
                    .map(|k| f32::from(u8::from(open(k / cols, k % cols))))
                    .collect();
                masks.push(Tensor::from_vec(values, (rows, cols), &device)?);
            }
        }
        let plain = Maf::new(shape, Level::detect());
        Ok(Self { plain, dims: shape.dims, context: shape.context, device, masks })
    }

    /// The nearest GPU.
    ///
    /// # Errors
    /// [`NpeError::Config`] when the program was built without CUDA or there is none.
    pub fn gpu() -> Result<Device, NpeError> {
        Device::new_cuda(0).map_err(|e| NpeError::Config {
            field: "device",
            found: format!("cuda ({e})"),
            mend: "a program built with `--features cuda` on a machine with an NVIDIA GPU, or cpu",
        })
    }

    /// -ln q(w) of each row, less the base's constant: [rows].
    fn negative_log_density(
        &self,
        vars: &[Var],
        w: &[f32],
        context: &[f32],
    ) -> Result<Tensor, NpeError> {
        let d = self.dims;
        let rows = w.len() / d;
        let mut state = Tensor::from_slice(w, (rows, d), &self.device)?;
        let context = Tensor::from_slice(context, (rows, self.context), &self.device)?;
        let one = Tensor::ones((rows, 1), state.dtype(), &self.device)?;
        let mut sum = Tensor::zeros(rows, state.dtype(), &self.device)?;
        for (vars, masks) in vars.chunks_exact(LAYERS).zip(self.masks.chunks_exact(LAYERS)) {
            let weight = |layer: usize| vars[layer].as_tensor().mul(&masks[layer]);
            let seen = Tensor::cat(&[&state, &context, &one], 1)?;
            let hidden = seen.matmul(&weight(0)?)?.relu()?;
            let hidden = Tensor::cat(&[&hidden, &one], 1)?.matmul(&weight(1)?)?.relu()?;
            let outputs = Tensor::cat(&[&hidden, &one], 1)?.matmul(&weight(2)?)?;
            let shift = outputs.narrow(1, 0, d)?;
            let limit = f64::from(LOG_SCALE_LIMIT);
            let log_scale = ((outputs.narrow(1, d, d)? / limit)?.tanh()? * limit)?;
            state = ((state - shift)? * log_scale.neg()?.exp()?)?;
            sum = (sum + log_scale.sum(1)?)?;
        }
        Ok(((state.sqr()?.sum(1)? * 0.5)? + sum)?)
    }
}

impl Flow for DeviceMaf {
    fn layers(&self) -> Vec<Layer> {
        self.plain.layers()
    }

    fn initial_weights(&self, seed: u64, part: u64) -> Vec<Vec<f32>> {
        self.plain.initial_weights(seed, part)
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn loss_and_gradient(
        &self,
        vars: &[Var],
        w: &[f32],
        context: &[f32],
        batch: usize,
    ) -> Result<(f64, Vec<Tensor>), NpeError> {
        let loss = (self.negative_log_density(vars, w, context)?.sum_all()? / batch as f64)?;
        let mut store = loss.backward()?;
        let mut gradient = Vec::with_capacity(vars.len());
        for var in vars {
            gradient.push(match store.remove(var.as_tensor()) {
                Some(tensor) => tensor.to_device(&Device::Cpu)?.contiguous()?,
                None => Tensor::zeros(var.shape(), var.dtype(), &Device::Cpu)?,
            });
        }
        let rows = w.len() / self.dims;
        let constant = HALF_LN_TAU * self.dims as f64 * rows as f64 / batch as f64;
        Ok((f64::from(loss.to_scalar::<f32>()?) + constant, gradient))
    }

    fn log_density(&self, vars: &[Var], w: &[f32], context: &[f32]) -> Result<Vec<f64>, NpeError> {
        let values = self.negative_log_density(vars, w, context)?.to_vec1::<f32>()?;
        let constant = HALF_LN_TAU * self.dims as f64;
        Ok(values.into_iter().map(|v| -f64::from(v) - constant).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::variables;
    use outshine_kernels::random::{Purpose, Stream};

    /// Both graphs give one function and one gradient, to the rounding of sums
    /// in single precision, which three blocks of exponentials amplify.
    #[test]
    fn a_device_gives_the_same_function() {
        let shape = MafShape { dims: 4, context: 6, blocks: 3, hidden: 20 };
        let plain = Maf::new(shape, Level::detect());
        let device = DeviceMaf::new(shape, Device::Cpu).unwrap();
        let mut s = Stream::new(11, Purpose::Weights, 0, 0);
        let mut weights = plain.initial_weights(3, 0);
        // Off the identity, where all masks count, and with biases, as the slope
        // of a relu at 0 itself is a matter of taste; masked weights stay 0.
        for (layer, weights) in plain.layers().iter().zip(&mut weights) {
            let biases = (layer.rows - 1) * layer.cols;
            for (k, w) in weights.iter_mut().enumerate() {
                if *w != 0.0 || k >= biases {
                    *w += 0.1 * s.normal() as f32;
                }
            }
        }
        let (rows, batch) = (50, 80);
        let w: Vec<f32> = (0..rows * 4).map(|_| s.normal() as f32).collect();
        let context: Vec<f32> = (0..rows * 6).map(|_| s.normal() as f32).collect();
        let vars = variables(&plain.layers(), &weights, &Device::Cpu).unwrap();
        let near = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-5 * scale.max(1.0);
        let (a, b) = (
            plain.log_density(&vars, &w, &context).unwrap(),
            device.log_density(&vars, &w, &context).unwrap(),
        );
        assert!(a.iter().zip(&b).all(|(a, b)| near(*a, *b, a.abs())));
        let (a, of_plain) = plain.loss_and_gradient(&vars, &w, &context, batch).unwrap();
        let (b, of_device) = device.loss_and_gradient(&vars, &w, &context, batch).unwrap();
        assert!(near(a, b, a.abs()), "{a} {b}");
        let mut moved = 0;
        for (a, b) in of_plain.iter().zip(&of_device) {
            let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (a, b) = (flat(a), flat(b));
            let largest = a.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
            assert!(apart <= 1e-4 * largest.max(1.0), "{apart} of {largest}");
            moved += a.iter().filter(|x| **x != 0.0).count();
        }
        assert!(moved > 500, "{moved}");
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_missing_gpu_is_named() {
        let error = DeviceMaf::gpu().unwrap_err().to_string();
        assert!(error.contains("device") && error.contains("--features cuda"), "{error}");
    }
}
