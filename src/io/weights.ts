// Weights as a safetensors file: one tensor per parameter and state under its path. Reading checks everything against the
// model before anything is changed.

import { readFile, stat } from 'node:fs/promises'
import { checkOptions, checkText, fileError, GradlineError } from '../errors.js'
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

export interface LoadOptions {
  /**
   * Names in the file for paths of the model, where they differ: of a layer (`{ dense1: 'encoder.fc' }`) or of one entry, or
   * a function from a path to its name.
   */
  map?: Readonly<Record<string, string>> | ((path: string) => string)
  /** false: take what both have, and leave the rest of the model as it is. Shapes must fit all the same. Default true. */
  strict?: boolean
}

/** The weights of the file, in the order of `wanted`. Throws unless names, shapes and element types are exactly those. */
export async function loadWeights(
  file: string,
  wanted: readonly WeightFacts[],
  { map = {}, strict = true }: LoadOptions = {},
): Promise<Weight[]> {
  checkText('the file to load', file)
  if (typeof map !== 'function') checkOptions('map of load', map, Object.keys(map ?? {}))
  const nameOf = typeof map === 'function' ? map : (path: string) => mapped(path, map)
  const bytes = await readRegular(file)
  const { tensors } = decodeSafetensors(bytes, file)
  const names = new Set(wanted.map(({ path }) => nameOf(path)))
  const missing = [...names].filter((name) => !tensors.has(name))
  const unknown = [...tensors.keys()].filter((name) => !names.has(name))
  if (strict ? missing.length > 0 || unknown.length > 0 : missing.length === names.size) {
    const lists = [
      missing.length > 0 ? `it lacks ${missing.slice(0, 5).join(', ')}` : '',
      unknown.length > 0 ? `the model has no ${unknown.slice(0, 5).join(', ')}` : '',
    ]
    throw new GradlineError('data', `The file does not fit the model: ${lists.filter(Boolean).join('; ')}`, {
      where: file,
    })
  }
  return wanted.flatMap(({ path, shape }) => {
    const found = tensors.get(nameOf(path))
    if (!found && !strict) return []
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

async function readRegular(file: string): Promise<Uint8Array> {
  try {
    // A pipe or a device could keep the caller waiting for ever; of a folder the system says that it is one.
    const found = await stat(file)
    if (found.isFile() || found.isDirectory()) return await readFile(file)
  } catch (error) {
    throw fileError('read', file, error)
  }
  throw new GradlineError('file', `Cannot read ${file}: it is not a regular file.`)
}

// The entry of the map for the path itself or for the nearest layer around it.
function mapped(path: string, map: Readonly<Record<string, string>>): string {
  for (let end = path.length; end > 0; end = path.lastIndexOf('.', end - 1)) {
    const around = path.slice(0, end)
    if (Object.hasOwn(map, around)) return `${map[around]}${path.slice(end)}`
  }
  return path
}
