// AdamW: Adam with decoupled weight decay.

import { type AdamOptions, adamLike } from './adam.js'
import type { Optimizer } from './optimizer.js'

/**
 * Adam with decoupled weight decay, default 0.01: theta -= lr decay theta beside Adam's step, so that the decay is not
 * divided by the root of v as an L2 penalty would be (Loshchilov & Hutter 2019). Unlike PyTorch's, biases and norm scales
 * do not decay unless a group says so.
 *
 * PyTorch: torch.optim.AdamW; Keras: keras.optimizers.AdamW
 */
export function adamw(options: AdamOptions = {}): Optimizer {
  return adamLike('adamw', 0.01, options)
}
