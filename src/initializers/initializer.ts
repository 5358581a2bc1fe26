// First values of parameters, written in ops, so that every device draws the same numbers from the same seed.
// Standard deviations: He sqrt(2 / fan in), Glorot sqrt(2 / (fan in + fan out)), LeCun sqrt(1 / fan in); a uniform
// distribution of the same variance reaches to sqrt(3) times the standard deviation.

import { checkFinite, checkOptions } from '../errors.js'
import { fill } from '../ops/move.js'
import { randomNormal, randomUniform } from '../ops/random.js'
import type { Shape } from '../shape.js'
import { checkShape, sizeOf } from '../shape.js'
import type { Tensor } from '../tensor.js'

export interface Fans {
  /** Inputs that reach one output unit; for a convolution channels per group times taps. */
  readonly in: number
  /** Outputs that one input unit reaches. */
  readonly out: number
}

export type Initializer = (shape: Shape, fans: Fans) => Tensor

/** Fans of a weight whose last two axes are [inputs, outputs] and whose axes before them are filter taps. */
export function fansOf(shape: Shape): Fans {
  checkShape('shape of fansOf', shape)
  const taps = sizeOf(shape.slice(0, -2))
  return { in: taps * (shape.at(-2) ?? 1), out: taps * (shape.at(-1) ?? 1) }
}

export interface SlopeOptions {
  /** Slope of a leaky ReLU that follows, which lets more variance through. Default 0. */
  slope?: number
}

const heStd = (fans: Fans, slope: number): number => Math.sqrt(2 / ((1 + slope * slope) * fans.in))
const glorotStd = (fans: Fans): number => Math.sqrt(2 / (fans.in + fans.out))
const lecunStd = (fans: Fans): number => Math.sqrt(1 / fans.in)

function normalOf(std: (fans: Fans) => number): Initializer {
  return (shape, fans) => randomNormal(shape, 0, std(fans))
}

function uniformOf(std: (fans: Fans) => number): Initializer {
  return (shape, fans) => {
    const limit = Math.sqrt(3) * std(fans)
    return randomUniform(shape, -limit, limit)
  }
}

/**
 * He et al. 2015, for ReLU and its relatives: normal, std sqrt(2 / ((1 + slope^2) fan in)).
 * PyTorch: torch.nn.init.kaiming_normal_; Keras: keras.initializers.HeNormal (truncated)
 */
export function heNormal(options: SlopeOptions = {}): Initializer {
  checkOptions('heNormal', options, ['slope'])
  const slope = checkFinite('slope of heNormal', options.slope ?? 0)
  return normalOf((fans) => heStd(fans, slope))
}

/**
 * Uniform within sqrt(6 / ((1 + slope^2) fan in)).
 * PyTorch: torch.nn.init.kaiming_uniform_; Keras: keras.initializers.HeUniform
 */
export function heUniform(options: SlopeOptions = {}): Initializer {
  checkOptions('heUniform', options, ['slope'])
  const slope = checkFinite('slope of heUniform', options.slope ?? 0)
  return uniformOf((fans) => heStd(fans, slope))
}

/**
 * Glorot & Bengio 2010 (Xavier), for sigmoid, tanh and linear units: normal, std sqrt(2 / (fan in + fan out)).
 * PyTorch: torch.nn.init.xavier_normal_; Keras: keras.initializers.GlorotNormal (truncated)
 */
export function glorotNormal(): Initializer {
  return normalOf(glorotStd)
}

/**
 * Uniform within sqrt(6 / (fan in + fan out)).
 * PyTorch: torch.nn.init.xavier_uniform_; Keras: keras.initializers.GlorotUniform
 */
export function glorotUniform(): Initializer {
  return uniformOf(glorotStd)
}

/**
 * LeCun et al. 1998, for SELU; also the "1 / sqrt(n)" rule: normal, std sqrt(1 / fan in).
 * PyTorch: torch.nn.init.kaiming_normal_(nonlinearity='linear'); Keras: keras.initializers.LecunNormal (truncated)
 */
export function lecunNormal(): Initializer {
  return normalOf(lecunStd)
}

/**
 * Uniform within sqrt(3 / fan in).
 * PyTorch: torch.nn.init.kaiming_uniform_(nonlinearity='linear'); Keras: keras.initializers.LecunUniform
 */
export function lecunUniform(): Initializer {
  return uniformOf(lecunStd)
}

/**
 * Every element the same number.
 * PyTorch: torch.nn.init.constant_; Keras: keras.initializers.Constant
 */
export function constant(value: number): Initializer {
  checkFinite('value of constant', value)
  return (shape) => fill(shape, value)
}

/**
 * Normal with a fixed standard deviation; mean 0 by default.
 * PyTorch: torch.nn.init.normal_; Keras: keras.initializers.RandomNormal
 */
export function normal(options: { std: number; mean?: number }): Initializer {
  checkOptions('normal', options, ['std', 'mean'])
  const std = checkFinite('std of normal', options?.std, { min: 0 })
  const mean = checkFinite('mean of normal', options.mean ?? 0)
  return (shape) => randomNormal(shape, mean, std)
}

/** An initializer, or 'auto': chosen by the activation that follows (see `autoInitializer`). */
export type InitializerChoice = Initializer | 'auto'

const reluFamily = new Set(['relu', 'relu6', 'leakyRelu', 'rrelu', 'prelu', 'elu', 'gelu', 'silu', 'mish'])

/**
 * The usual rule: He for ReLU and its relatives (relu6, leakyRelu, rrelu, prelu, elu, gelu, silu, mish), LeCun for SELU,
 * Glorot for everything else (sigmoid, tanh, softmax, linear outputs). Always the normal form.
 */
export function autoInitializer(following: string | undefined): Initializer {
  if (following === 'selu') return lecunNormal()
  return following !== undefined && reluFamily.has(following) ? heNormal() : glorotNormal()
}
