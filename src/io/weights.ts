// Weights as a safetensors file: one tensor per parameter and state under its path. Reading checks everything against the
// model before anything is changed.

import { readFile } from 'node:fs/promises'
import { fileError, GradlineError } from '../errors.js'
import { type Shape, sameShape, showShape, sizeOf } from '../shape.js'
import { writeFileAtomic } from './atomic.js'
import { decodeSafetensors, encodeSafetensors } from './safetensors.js'

export interface WeightFacts {
  readonly path: string
  readonly shape: Shape
}
export interface Weight extends WeightFacts {
  readonly data: Float32Array
}

/** Writes the file whole or not at all. */
export async function saveWeights(file: string, weights: readonly Weight[]): Promise<void> {
  const tensors = weights.map(({ path, shape, data }) => ({
    name: path,
    dtype: 'F32' as const,
    shape: [...shape],
    data,
  }))
  await writeFileAtomic(file, encodeSafetensors(tensors, { format: 'gradline' }))
}

/** The weights of the file in the order of `wanted`. Throws unless names, shapes and element types are exactly those. */
export async function loadWeights(file: string, wanted: readonly WeightFacts[]): Promise<Weight[]> {
  const bytes = await readFile(file).catch((error: unknown) => {
    throw fileError('read', file, error)
  })
  const { tensors } = decodeSafetensors(bytes, file)
  const names = new Set(wanted.map(({ path }) => path))
  const missing = wanted.filter(({ path }) => !tensors.has(path)).map(({ path }) => path)
  const unknown = [...tensors.keys()].filter((name) => !names.has(name))
  if (missing.length > 0 || unknown.length > 0) {
    const lists = [
      missing.length > 0 ? `it lacks ${missing.slice(0, 5).join(', ')}` : '',
      unknown.length > 0 ? `the model has no ${unknown.slice(0, 5).join(', ')}` : '',
    ]
    throw new GradlineError('data', `The file does not fit the model: ${lists.filter(Boolean).join('; ')}`, {
      where: file,
    })
  }
  return wanted.map(({ path, shape }) => {
    const found = tensors.get(path)
    if (found?.dtype !== 'F32' || !sameShape(found.shape, shape)) {
      throw new GradlineError(
        'data',
        `Expected F32 ${showShape(shape)} for ${path} but received ${found?.dtype} ${showShape(found?.shape ?? [])}`,
        { where: file },
      )
    }
    return { path, shape, data: (found.data as Float32Array).subarray(0, sizeOf(shape)) }
  })
}
