// What the tests of the public face share: numbers without a generator, failures as values, weights as one text. No tests.
import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import { type Dataset, dataset, type ErrorCode, GradlineError, type Model, type Snapshot } from '../../src/index.js'

/** `count` numbers between -1 and 1 with no pattern, the same on every call (the fractional parts of a sine). */
export function numbers(count: number, salt = 1): number[] {
  return Array.from({ length: count }, (_, i) => {
    const s = Math.sin(i * 12.9898 + salt * 78.233) * 43758.5453
    return 2 * (s - Math.floor(s)) - 1
  })
}

/** Samples of `features` numbers; the class is decided by a fixed linear rule, so that it can be learned. */
export function classes(samples: number, features: number, kinds: number, salt = 1): Dataset {
  const inputs = Float32Array.from(numbers(samples * features, salt))
  const rule = numbers(features * kinds, 99)
  const labels = Int32Array.from({ length: samples }, (_, i) => {
    const scores = Array.from({ length: kinds }, (_, k) => {
      let score = 0
      for (let f = 0; f < features; f++) score += inputs[i * features + f]! * rule[f * kinds + k]!
      return score
    })
    return scores.indexOf(Math.max(...scores))
  })
  return dataset(inputs, labels, { shape: [samples, features], classes: kinds })
}

/** The error that `body` throws or rejects with. */
export async function failure(body: () => unknown): Promise<unknown> {
  try {
    await body()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

/** Expects an error of the library with this code whose message holds each of the texts. */
export async function expectError(code: ErrorCode, texts: readonly string[], body: () => unknown): Promise<void> {
  const error = await failure(body)
  expect(error).toBeInstanceOf(GradlineError)
  const { code: received, message } = error as GradlineError
  for (const text of texts) expect(message).toContain(text)
  expect(received).toBe(code)
}

/** A number for all bits of weights and state. */
export function fingerprint({ params, states }: Snapshot): string {
  const hash = createHash('sha256')
  for (const part of [params, states]) hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength))
  return hash.digest('hex')
}

export const fingerprintOf = async (net: Model): Promise<string> => fingerprint(await net.snapshot())
